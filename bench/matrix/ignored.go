package main

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// varying are fields that differ from one run to the next of the same program.
var varying = []string{"time", "attempt", "seconds", "began", "ended", "*_seconds", "*_per_second", "memory_*", "sum",
	"log"} // of a state: how long the log was, whose lines have times

// said are fields that people read: their words may change. A list of sentences or a sentence; not numbers.
var said = []string{"message", "advice", "seen", "state", "on", "plan", "note", "notes", "reasons", "alarms", "verdict",
	"refused"}

// ofBuild are fields that name the program and the place, and not what was trained, and sums over the rest.
var ofBuild = []string{"version", "config_hash", "crc32c"}

// leftOut reports whether a field is not recorded.
func leftOut(key string, value any) bool {
	matches := func(pattern string) bool {
		ok, err := path.Match(pattern, key)
		return err == nil && ok
	}
	if slices.ContainsFunc(varying, matches) || slices.Contains(ofBuild, key) {
		return true
	}
	switch v := value.(type) {
	case string:
		return slices.Contains(said, key)
	case []any:
		for _, e := range v {
			if _, ok := e.(string); !ok {
				return false
			}
		}
		return len(v) > 0 && slices.Contains(said, key)
	}
	return false
}

// ofMachine reports whether a number of a check is the machine's: what is free just now.
func ofMachine(code any, key string) bool {
	switch code {
	case "P-MEMORY":
		return key == "free" || key == "held" || key == "plan"
	case "P-DISK":
		return key == "free"
	}
	return false
}

// excuse is a difference that is meant.
type excuse struct {
	scenario string // pattern of its name; "*" for all
	where    string // pattern of the place: "plan/guard/act", "event/W-OLD", "hashes/config.json", "eval/writing"
	reason   string
}

// excuses are all differences between the two sides that are meant, each with its reason. A pattern takes the whole
// subtree below the place with it.
var excuses = []excuse{
	{"*average*", "event/J-AVERAGE", noAverage},
	{"*average*", "why/chapters", noAverage},
	{"*average*", "files", noAverage},
	{"*average*", "hashes/averaged/*", noAverage},
	{"*average*", "averaged/*.json", noAverage},
	{"*average*", "checkpoints/*/state.json/average*", noAverage},
	{"*", "checkpoints/*/state.json/baseline/sample_*", sameTokens},
	{"*", "eval/baseline_loss", sameTokens},
	{"*", "why/chapters/*/baseline_loss", sameTokens},
	{"*", "compare/*/baseline/sample_*", sameTokens},
	{"*", "*/writing/samples*/Reasons*", aText},
	{"*", "hashes/post-mortem.md", aText},
	{"*", "checkpoints/*/state.json/stopped", aText},
	{"statistics", "data/split", aText},
	{"dry run", "train", "a dry run shows the plan and makes the checks of doctor: it trains nothing and has no result"},
}

const noAverage = "judge.average is gone: by its own report it gained nothing; the key is accepted and ignored"

const aText = "a text for people"

const sameTokens = "an evaluation stands beside the n-gram loss on the tokens that it scored, not on all that are held out"

// excused returns the index of the excuse for a place, or -1.
func excused(scenario, where string) int {
	return slices.IndexFunc(excuses, func(e excuse) bool {
		inScenario, err := path.Match(e.scenario, scenario)
		if err != nil {
			panic("matrix: a malformed pattern among the excuses")
		}
		inPlace, err := path.Match(e.where, where)
		if err != nil {
			panic("matrix: a malformed pattern among the excuses")
		}
		return inScenario && inPlace
	})
}

// printIgnored says what is not compared.
func printIgnored(w io.Writer) {
	fmt.Fprintf(w, "not compared: fields that vary (%s), texts (%s), the build (%s), free memory and disk\n",
		strings.Join(varying, ", "), strings.Join(said, ", "), strings.Join(ofBuild, ", "))
	for _, e := range excuses {
		fmt.Fprintf(w, "excused: %s in %s: %s\n", e.where, e.scenario, e.reason)
	}
}

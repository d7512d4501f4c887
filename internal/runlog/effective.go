package runlog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ofProcess reports whether a kind of record tells about a process and not about a step.
func ofProcess(kind string) bool {
	switch kind {
	case "start", "resume", "end", "plan", "probe", "preflight":
		return true
	}
	return false
}

// ofStep reports whether a kind of record tells what a step came to: there is one for each step.
func ofStep(kind string) bool { return kind == "step" || kind == "layers" || kind == "eval" }

// behind reports whether a record was written for what comes after the checkpoint that at describes. The batch decides:
// it only ever grows, while a rewind takes the step back. Records that know no batch are told by their step.
func behind(r Record, at At) bool {
	if at.Batch > 0 {
		return r.At.Batch > at.Batch
	}
	return r.At.Step > at.Step
}

// Effective returns the log as if the run had never been interrupted: of each step only the last attempt. A resume
// takes back all that was written for later batches, and a rewind of the guard what later steps came to. Records about
// processes all stay.
func (l *Log) Effective() *Log {
	type key struct {
		kind        string
		step, batch int64
	}
	// The last attempt at each step; a resume that was lost from the log shows in this too.
	attempt := map[key]int64{}
	var kept []Record
	for _, r := range l.Records {
		if r.Kind == "resume" {
			kept = slices.DeleteFunc(kept, func(k Record) bool { return !ofProcess(k.Kind) && behind(k, r.At) })
		}
		if r.Kind == "rewind" {
			kept = slices.DeleteFunc(kept, func(k Record) bool { return ofStep(k.Kind) && k.At.Step > r.At.Step })
		}
		kept = append(kept, r)
	}
	lastLine := map[key]int{}
	for _, r := range kept {
		if ofStep(r.Kind) {
			lastLine[key{kind: r.Kind, step: r.At.Step}] = r.Line
		}
		// What stands beside the steps belongs to its batch, and to the attempt that did it.
		k := key{r.Kind, r.At.Step, r.At.Batch}
		attempt[k] = max(attempt[k], r.At.Attempt)
	}
	kept = slices.DeleteFunc(kept, func(r Record) bool {
		switch {
		case ofProcess(r.Kind):
			return false
		case ofStep(r.Kind):
			return r.Line != lastLine[key{kind: r.Kind, step: r.At.Step}]
		case r.Kind == "event":
			step, refused := key{"step", r.At.Step, r.At.Batch}, key{"refused", r.At.Step, r.At.Batch}
			return r.At.Attempt < max(attempt[step], attempt[refused])
		}
		return r.At.Attempt < attempt[key{r.Kind, r.At.Step, r.At.Batch}]
	})
	return &Log{Records: kept, Garbled: l.Garbled, Torn: l.Torn}
}

// varies reports whether a field may differ between two runs that are identical: time, speed, memory, and the attempt.
func varies(field string) bool {
	return field == "time" || field == "attempt" || field == "seconds" || strings.HasSuffix(field, "_seconds") ||
		strings.HasSuffix(field, "_per_second") || strings.HasPrefix(field, "memory_")
}

// Identical returns nil if two logs tell of the same training, and otherwise an error that names the first difference.
//
// Compared are the last attempts of all steps, with the records about processes left out, and with the fields left out
// that tell time, speed, memory or the attempt (time, seconds, *_seconds, *_per_second, memory_*, attempt). Events
// about files (F-) and preflight (P-) belong to a process too. All other fields must have the same text, which
// for numbers is the same bits.
func Identical(a, b *Log) error {
	ra, rb := training(a), training(b)
	for _, kind := range slices.Sorted(maps.Keys(ra)) {
		if _, ok := rb[kind]; !ok {
			rb[kind] = nil
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(rb)) {
		la, lb := ra[kind], rb[kind]
		for i := range max(len(la), len(lb)) {
			switch {
			case i >= len(lb):
				return fmt.Errorf("runlog: %s of step %d (line %d) is only in the first log",
					kind, la[i].At.Step, la[i].Line)
			case i >= len(la):
				return fmt.Errorf("runlog: %s of step %d (line %d) is only in the second log",
					kind, lb[i].At.Step, lb[i].Line)
			}
			if err := sameRecord(la[i], lb[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// training returns the records to compare by kind, each kind in the order of steps.
func training(l *Log) map[string][]Record {
	kinds := map[string][]Record{}
	for _, r := range l.Effective().Records {
		e, ok := r.Value.(Event)
		if !ofProcess(r.Kind) && !(ok && (strings.HasPrefix(e.Code, "F-") || strings.HasPrefix(e.Code, "P-"))) {
			kinds[r.Kind] = append(kinds[r.Kind], r)
		}
	}
	for _, list := range kinds {
		slices.SortStableFunc(list, func(a, b Record) int {
			return cmp.Or(cmp.Compare(a.At.Batch, b.At.Batch), cmp.Compare(a.At.Step, b.At.Step))
		})
	}
	return kinds
}

func sameRecord(a, b Record) error {
	where := fmt.Sprintf("%s of step %d (lines %d and %d)", a.Kind, a.At.Step, a.Line, b.Line)
	if a.At.Step != b.At.Step {
		return fmt.Errorf("runlog: %s: the second log has step %d there", where, b.At.Step)
	}
	var fa, fb map[string]json.RawMessage
	if err := json.Unmarshal(a.Raw, &fa); err != nil {
		return fmt.Errorf("runlog: %s: %w", where, err)
	}
	if err := json.Unmarshal(b.Raw, &fb); err != nil {
		return fmt.Errorf("runlog: %s: %w", where, err)
	}
	fields := maps.Clone(fa)
	maps.Copy(fields, fb)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if !varies(field) && !bytes.Equal(fa[field], fb[field]) {
			return fmt.Errorf("runlog: %s: %s is %s in the first log and %s in the second",
				where, field, orNothing(fa[field]), orNothing(fb[field]))
		}
	}
	return nil
}

func orNothing(raw json.RawMessage) string {
	if raw == nil {
		return "nothing"
	}
	return string(raw)
}

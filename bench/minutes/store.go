package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// store keeps the costs of steps and what became of the runs, in a file that is rewritten after each.
type store struct {
	path  string
	Unit  cost               `json:"reference"` // a step of the default learner on the Go source, on a quiet machine
	Costs map[string]cost    `json:"costs"`
	Runs  map[string]outcome `json:"runs"`
}

// cost is what one step takes with two workers.
type cost struct {
	CPU   float64 `json:"cpu_seconds"`   // of both workers together
	Ratio float64 `json:"ratio"`         // to the reference: the median of a few windows
	Low   float64 `json:"low,omitempty"` // quartiles of the ratio
	High  float64 `json:"high,omitempty"`
	Load  string  `json:"load"` // of the machine, over the last minute, before it began
	When  string  `json:"when"`
	On    string  `json:"on"` // processor
}

// outcome is what became of one run.
type outcome struct {
	Candidate string        `json:"candidate"`
	Build     string        `json:"build"`
	Corpus    string        `json:"corpus"`
	Seed      int           `json:"seed"`
	Budget    time.Duration `json:"budget"`
	StepCost  float64       `json:"step_cpu_seconds"`
	Steps     int64         `json:"steps"`

	Bits       float64   `json:"bits_per_byte"`
	Loss       float64   `json:"val_loss"` // nats per token
	ValTokens  int64     `json:"val_tokens"`
	Tokens     int64     `json:"tokens"` // learned from
	Parameters int64     `json:"parameters"`
	Baseline   *baseline `json:"baseline,omitempty"` // n-grams of the same tokens; nil: a peer counts none
	CPU        float64   `json:"cpu_seconds"`        // of the whole process
	Wall       float64   `json:"wall_seconds"`
	With       string    `json:"with,omitempty"`    // versions, for a peer
	Stopped    string    `json:"stopped,omitempty"` // by whom, before the end: nothing was measured
}

type baseline struct {
	Bits float64 `json:"bits_per_byte"`
	Loss float64 `json:"loss"`
}

func openStore(path string) (*store, error) {
	s := &store{path: path, Costs: map[string]cost{}, Runs: map[string]outcome{}}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, s)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (s *store) save() error {
	raw, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path+".new", append(raw, '\n'), 0o666); err != nil {
		return err
	}
	return os.Rename(s.path+".new", s.path)
}

// key names a run: all that its result depends on, beside the texts. Names of candidates are not in it.
func (j job) key() string {
	return strings.Join([]string{j.build, strings.Join(j.what(), " "), j.corpus.name, fmt.Sprint("seed ", j.seed),
		j.budget.String()}, " | ")
}

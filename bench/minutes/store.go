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
	Costs map[string]cost    `json:"costs"`
	Runs  map[string]outcome `json:"runs"`
}

// cost is what one step takes with two workers.
type cost struct {
	CPU  float64 `json:"cpu_seconds"`  // of both workers together, in the quietest of a few windows
	Wall float64 `json:"wall_seconds"` // in the same window
	Load string  `json:"load"`         // of the machine, over the last minute, before it began
	When string  `json:"when"`
	On   string  `json:"on"` // processor
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

// key names a learner on a corpus: all that the cost of its step depends on, beside the machine. Names of candidates
// are not in it.
func (j job) key() string {
	if j.peer != "" {
		return strings.Join([]string{j.build, j.peer, j.corpus.name}, " | ")
	}
	return strings.Join([]string{j.build, strings.Join(j.settings(j.corpus.text), " "), j.corpus.name}, " | ")
}

// runKey names a run.
func (j job) runKey() string {
	return fmt.Sprintf("%s | seed %d | %s", j.key(), j.seed, j.budget)
}

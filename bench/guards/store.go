package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// store keeps what became of the arms, by what they are, in a file that is rewritten after each.
type store struct {
	mu      sync.Mutex
	path    string
	Results map[string]result `json:"results"`
}

type result struct {
	Arm     arm     `json:"arm"`
	Label   string  `json:"label"`
	Commit  string  `json:"commit"`
	Outcome outcome `json:"outcome"`
}

func openStore(path string, fresh bool) (*store, error) {
	s := &store{path: path, Results: map[string]result{}}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || fresh && err == nil {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it, or use -fresh", path, err)
	}
	return s, nil
}

func (s *store) get(a arm) (outcome, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.Results[a.key()]
	return r.Outcome, ok
}

func (s *store) put(a arm, o outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Results[a.key()] = result{a, a.label, commit(), o}
	raw, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path+".new", append(raw, '\n'), 0o666); err != nil {
		return err
	}
	return os.Rename(s.path+".new", s.path)
}

// commit is the short name of the commit of the working directory, with a plus where files differ from it.
var commit = sync.OnceValue(func() string {
	out, err := exec.Command("git", "describe", "--always", "--exclude=*", "--dirty=+").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
})

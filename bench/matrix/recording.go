package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// recording is one side.
type recording struct {
	Commit  string                        `json:"commit"`
	Go      string                        `json:"go"`
	CPU     string                        `json:"cpu"`
	Tiers   []string                      `json:"tiers"`
	Results map[string]map[string]outcome `json:"results"` // by tier and scenario
}

// result is what was recorded of a scenario; of no recording, nothing was.
func (r *recording) result(tier, scenario string) (o outcome, ok bool) {
	if r != nil {
		o, ok = r.Results[tier][scenario]
	}
	return o, ok
}

func (r *recording) put(tier, scenario string, o outcome) {
	if r.Results == nil {
		r.Results = map[string]map[string]outcome{}
	}
	if r.Results[tier] == nil {
		r.Results[tier] = map[string]outcome{}
	}
	r.Results[tier][scenario] = o
}

// against compares a scenario with its twin on the same side.
func (r *recording) against(tier string, s scenario) (wrong []string) {
	twin, ok := r.result(tier, s.twin)
	if !ok {
		return nil
	}
	o, _ := r.result(tier, s.name)
	if d := compare(s.name, twin.core(), o.core()); d != "" {
		wrong = append(wrong, fmt.Sprintf("NOT AS %q: %s", s.twin, d))
	}
	return wrong
}

func load(path string) (*recording, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &recording{}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (r *recording) save(path string) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o666)
}

// cpuName is the processor as Linux names it, and its architecture elsewhere.
func cpuName() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	_, name, _ := strings.Cut(string(raw), "model name")
	name, _, _ = strings.Cut(strings.TrimLeft(name, "\t: "), "\n")
	return name
}

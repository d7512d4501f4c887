package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const step1 = `{"kind":"step","step":1,"batch":1,"attempt":1,"time":"2026-01-02T03:04:05Z","tokens":9,` +
	`"loss":4.25,"grad_norm":1,"lr":0.1,"clip_scale":1,"tokens_per_second":7,"memory_bytes":1}`
const event1 = `{"kind":"event","step":1,"batch":1,"attempt":1,"code":"E1-OUTLIER","severity":"error",` +
	`"action":"skip","message":"told to people","documents":["ROOT/a.txt:3"],"numbers":{"loss":3}}`

// outcomeOf reads a run directory with these files.
func outcomeOf(t *testing.T, files map[string]string) outcome {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "ROOT", dir)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	o := outcome{Exits: []string{"train 0"}}
	if err := o.read(cleaner{[]string{dir}}, dir); err != nil {
		t.Fatal(err)
	}
	return o
}

func sampleRun() map[string]string {
	return map[string]string{
		"log.jsonl":                            step1 + "\n" + event1 + "\n",
		"checkpoints/marks.json":               `{"last": 1}`,
		"checkpoints/step-1/model.safetensors": "weights",
		"checkpoints/step-1/health.json":       `{"calm": true, "verdict": "no alarm"}`,
		"checkpoints/step-1/manifest.json":     `{"time": 1}`,
		"report.md":                            "prose",
	}
}

// Every difference that counts is found and named, and what may vary is not one.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		what     string
		file     string
		old, new string
		want     string // part of the difference; empty: none
	}{
		{"nothing", "log.jsonl", "", "", ""},
		{"the last digit of a loss", "log.jsonl", "4.25", "4.250000000000001",
			"step 1: step/loss: 4.25, now 4.250000000000001"},
		{"an action", "log.jsonl", `"skip"`, `"apply"`, `event/E1-OUTLIER/action: "skip", now "apply"`},
		{"a code", "log.jsonl", "E1-OUTLIER", "E1-OUTLIERS", "event/E1-OUTLIER of step 1, now event/E1-OUTLIERS of step 1"},
		{"a number of an event", "log.jsonl", `"loss":3`, `"loss":4`, "numbers/loss: 3, now 4"},
		{"a field that is gone", "log.jsonl", `"clip_scale":1,`, "", "step/clip_scale: 1, now nothing"},
		{"an event that is gone", "log.jsonl", event1 + "\n", "", "event/E1-OUTLIER of step 1 is there no more"},
		{"a message", "log.jsonl", "told to people", "said to people", ""},
		{"time, speed, memory", "log.jsonl",
			`"tokens_per_second":7,"memory_bytes":1`, `"tokens_per_second":8,"memory_bytes":2`, ""},
		{"a weight", "checkpoints/step-1/model.safetensors", "weights", "Weights", "step-1/model.safetensors: sha256"},
		{"a mark", "checkpoints/marks.json", "1", "2", "checkpoints/marks.json/last: 1, now 2"},
		{"a certificate", "checkpoints/step-1/health.json", "true", "false", "health.json/calm: true, now false"},
		{"its sentence", "checkpoints/step-1/health.json", "no alarm", "no alarms", ""},
		{"the report", "report.md", "prose", "other prose", ""},
	} {
		files := sampleRun()
		before := outcomeOf(t, files)
		files[c.file] = strings.Replace(files[c.file], c.old, c.new, 1)
		got := compare("x", before, outcomeOf(t, files))
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	files := sampleRun()
	before := outcomeOf(t, files)
	delete(files, "checkpoints/step-1/model.safetensors")
	if got := compare("x", before, outcomeOf(t, files)); !strings.Contains(got, "now nothing") {
		t.Errorf("a checkpoint that was not kept: %q", got)
	}
	after := outcomeOf(t, sampleRun())
	after.Exits = []string{"train 3"}
	if got := compare("x", before, after); !strings.Contains(got, "exit codes: train 0, now train 3") {
		t.Errorf("another exit code: %q", got)
	}
}

// An excuse takes its place out of the comparison, in its scenarios, and nothing else.
func TestExcuses(t *testing.T) {
	kept := excuses
	defer func() { excuses = kept }()
	excuses = []excuse{{"x*", "step/clip_scale", "gone"}, {"*", "event/E1-*", "gone"},
		{"*", "hashes/checkpoints/*/model.safetensors", "gone"}}
	files := sampleRun()
	before := outcomeOf(t, files)
	files["log.jsonl"] = strings.Replace(step1, `"clip_scale":1,`, "", 1) + "\n"
	files["checkpoints/step-1/model.safetensors"] = "other"
	after := outcomeOf(t, files)
	if got := compare("x1", before, after); got != "" {
		t.Error(got)
	}
	if got := compare("y", before, after); !strings.Contains(got, "clip_scale") {
		t.Errorf("excused in another scenario: %q", got)
	}
	files["log.jsonl"] = strings.Replace(step1, "4.25", "4.5", 1) + "\n"
	if got := compare("x1", before, outcomeOf(t, files)); !strings.Contains(got, "loss") {
		t.Errorf("excused with something else: %q", got)
	}
	for _, e := range kept {
		if e.reason == "" {
			t.Errorf("%s has no reason", e.where)
		}
	}
}

// Twins are there, names are unique, and no scenario is begun with nothing to do.
func TestScenarios(t *testing.T) {
	var names []string
	for _, s := range scenarios() {
		if slices.Contains(names, s.name) {
			t.Errorf("%q is there twice", s.name)
		}
		if s.twin != "" && !slices.Contains(names, s.twin) {
			t.Errorf("%q: its twin %q does not come before it", s.name, s.twin)
		}
		if len(s.commands) == 0 {
			t.Errorf("%q does nothing", s.name)
		}
		names = append(names, s.name)
	}
	if len(names) < 26 {
		t.Errorf("%d scenarios", len(names))
	}
}

// A packed run is unpacked as it was, and the texts are the same each time.
func TestFiles(t *testing.T) {
	texts, err := writeTexts(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	again, err := writeTexts(filepath.Dir(texts))
	if err != nil || again != texts {
		t.Errorf("%s, then %s: %v", texts, again, err)
	}
	packed, err := pack(texts)
	if err != nil {
		t.Fatal(err)
	}
	back := t.TempDir()
	if err := unpack(packed, back); err != nil {
		t.Fatal(err)
	}
	for name, text := range corpora() {
		got, err := os.ReadFile(filepath.Join(back, name))
		if err != nil || string(got) != text {
			t.Errorf("%s: %d bytes, want %d: %v", name, len(got), len(text), err)
		}
	}
}

// A recording survives its file: numbers keep their digits.
func TestRecording(t *testing.T) {
	r := &recording{Commit: "c", Tiers: []string{"generic"}}
	r.put("generic", "x", outcomeOf(t, sampleRun()))
	path := filepath.Join(t.TempDir(), "r.json")
	if err := r.save(path); err != nil {
		t.Fatal(err)
	}
	back, err := load(path)
	if err != nil {
		t.Fatal(err)
	}
	o, ok := back.result("generic", "x")
	if got := compare("x", outcomeOf(t, sampleRun()), o); !ok || got != "" {
		t.Errorf("%v, %q", ok, got)
	}
	var all bytes.Buffer
	if err := json.NewEncoder(&all).Encode(o); err != nil || !strings.Contains(all.String(), `"loss":4.25`) {
		t.Errorf("%s: %v", &all, err)
	}
}

func TestTierLine(t *testing.T) {
	for _, text := range []string{"gimbal 1\n2 processors; kernels: [avx2 generic] (GIMBAL_KERNEL chooses)\n",
		"gimbal 1\nkernels: avx2 of [avx2 generic]\n"} {
		if m := tierLine.FindStringSubmatch(text); m == nil || m[1] != "avx2 generic" {
			t.Errorf("%q: %q", text, m)
		}
	}
}

package main

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"gimbal/internal/exit"
)

// typed are what people and programs type as values.
var typed = []string{
	"", "0", "1", "-1", "2", "3", "7", "1000", "9223372036854775807", "-9223372036854775808", "1e308", "NaN",
	"Inf", "0.5", "a", "run", "texts", "texts/000.txt", "nowhere", ".", "..", "-", "--", "a=b", "model.width=-1",
	"train.steps=1", "train.context=1", "eval.every=1", "run/config.toml", "run/log.jsonl", "step-2", "last", "nano",
	"fp32",
	"never", "stable", "\x00", "\xff", "ü", "nan-grad@1", "bash", "help", "train"}

// slow are flags that make a command take long, and commands that take what they find.
var slow = []string{"seconds", "rounds", "max-tokens", "n", "texts", "tokens", "prompt", "batch", "vocab", "steps",
	"out",
	"remove", "yes"}

// TestNoLinePanics types random command lines over a run that is there: whatever they are, they end with one of the
// codes of the program, and say why unless they end well.
func TestNoLinePanics(t *testing.T) {
	texts(t, 20)
	gimbals(t, 0, append([]string{"train", "--data", "texts", "--steps", "2", "--out", "run"}, smallest...)...)
	var c cli
	leaves := kong.Must(&c, kong.Vars{"top_k": "", "temperature": "0", "max_tokens": "0", "which": ""}).Model.Leaves(false)
	r := rand.New(rand.NewPCG(7, 8))
	codes := map[int]int{}
	for range 250 {
		leaf := leaves[r.IntN(len(leaves))]
		if leaf.Parent.Name == "bench" || leaf.Name == "train" || leaf.Name == "resume" { // others draw those
			continue
		}
		line := strings.Fields(leaf.Path())
		for range r.IntN(3) {
			line = append(line, typed[r.IntN(len(typed))])
		}
		for range r.IntN(3) {
			if len(leaf.Flags) == 0 {
				break
			}
			f := leaf.Flags[r.IntN(len(leaf.Flags))]
			if slices.Contains(slow, f.Name) {
				continue
			}
			if line = append(line, "--"+f.Name); !f.IsBool() {
				line = append(line, typed[r.IntN(len(typed))])
			}
		}
		var stdout, stderr bytes.Buffer
		code := run(line, strings.NewReader("q\n"), &stdout, &stderr)
		codes[code]++
		if code == exit.Fault || strings.Contains(stderr.String(), "the program is wrong") {
			t.Fatalf("%q: %s", line, stderr.String())
		}
		if code != 0 && !strings.Contains(stderr.String(), "gimbal: error: ") {
			t.Errorf("%q: exit code %d without a word\n%s", line, code, stdout.String())
		}
	}
	for _, code := range []int{0, exit.Usage, exit.Checkpoint} {
		if codes[code] == 0 {
			t.Errorf("no line ended with %d, only with %v", code, codes)
		}
	}
}

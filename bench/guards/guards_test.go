package main

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The harness runs a fault from end to end, keeps its results, and does not run them again.
func TestQuick(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	out := filepath.Join(t.TempDir(), "proof")
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("before\n"+beginMark+"old\n"+endMark+"after\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "tinyshakespeare.txt")
	if err := os.WriteFile(text, []byte(grammar(800)), 0o666); err != nil {
		t.Fatal(err)
	}
	args := []string{"-quick", "-seeds=1", "-only=nan-grad", "-out=" + out, "-docs=" + page, "-data=" + filepath.Dir(text)}
	var log bytes.Buffer
	if err := run(context.Background(), args, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(got); !strings.HasPrefix(s, "before\n"+beginMark) || !strings.HasSuffix(s, endMark+"after\n") ||
		!strings.Contains(s, "| `nan-grad@250` | E0, tensor named | 1 of 1 | E0-NONFINITE") {
		t.Errorf("the page:\n%s", s)
	}
	log.Reset()
	if err := run(context.Background(), args, &log); err != nil || !strings.HasPrefix(log.String(), "0 runs to do") {
		t.Errorf("again: %v\n%s", err, &log)
	}
}

func TestRefuses(t *testing.T) {
	for _, args := range [][]string{{"-only=G99"}, {"-seeds=0"}, {"more"}} {
		if err := run(context.Background(), append([]string{"-out=" + filepath.Join(t.TempDir(), "x")}, args...),
			&bytes.Buffer{}); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

func TestGrammar(t *testing.T) {
	for line := range strings.Lines(grammar(50)) {
		if !right(line) {
			t.Errorf("%q is not right", line)
		}
	}
	for _, wrong := range []string{"", "3 kelo ruda", "2 kelo ruda mita", "4 kelo ruda mita bina", "2 kelo rud",
		"kelo ruda"} {
		if right(wrong) {
			t.Errorf("%q is right", wrong)
		}
	}
}

func TestStatistics(t *testing.T) {
	if mean, sd := meanSD([]float64{1, 2, 3}); mean != 2 || math.Abs(sd-1) > 1e-12 {
		t.Errorf("%v ± %v", mean, sd)
	}
	if got := spread([]float64{1, math.NaN()}, 2); got != "no finite weights" {
		t.Error(got)
	}
	saved := []*outcome{{Reason: "failed: x"}}
	for want, gain := range map[string][]float64{"**gain**": {0.1, 0.11, 0.09}, "no gain here": {0.1, -0.1, 0.02},
		"loss": {-0.1, -0.11, -0.1}, "saves": {math.NaN(), 1}} {
		if got := verdict(gain, saved); !strings.Contains(got, want) {
			t.Errorf("%v: %s", gain, got)
		}
	}
}

// Every arm has its own name, and its settings are settings.
func TestArms(t *testing.T) {
	labels := map[string]string{}
	for _, q := range parts() {
		for _, a := range q.arms(3) {
			if other, ok := labels[a.label]; ok && other != a.key() {
				t.Errorf("%s: two arms of one name", a.label)
			}
			labels[a.label] = a.key()
		}
	}
	if len(cleanCases) < 20 || len(faultCases) != 14 {
		t.Errorf("%d clean runs, %d faults", len(cleanCases), len(faultCases))
	}
}

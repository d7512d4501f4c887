package screen

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gimbal"
)

// played is a progress that has heard of thirty of a hundred steps, of two seconds each, with losses that fall by a
// nat for each e-fold of the tokens.
func played(t *testing.T, l Level) *Progress {
	t.Helper()
	p := NewProgress(&bytes.Buffer{}, l)
	now := p.began
	p.now = func() time.Time { return now }
	p.Tell(&gimbal.Plan{Dir: "runs/x", Steps: 100, EvalEvery: 5, Evaluations: 20, BatchTokens: 1000, Epochs: 1,
		PeakLR: 0.01, Parameters: 1000})
	p.Tell(gimbal.Look{Step: 1, Bottom: 1e-3, Top: 2e-3})
	for n := int64(1); n <= 30; n++ {
		now = now.Add(2 * time.Second)
		p.Tell(gimbal.Step{Step: n, Steps: 100, Tokens: 1000 * n, Loss: 4, Duration: 2 * time.Second,
			TokensPerSecond: 500})
		if n%5 == 0 {
			loss := 3.5 - math.Log(float64(n)/30)
			p.Tell(gimbal.Evaluation{Step: n, Loss: loss, BaselineLoss: 3.2,
				Metrics: gimbal.Numbers{"val_loss_sample": loss}})
		}
	}
	return p
}

func output(p *Progress) string { return p.screen.w.(*bytes.Buffer).String() }

// TestEventsTold wants an event that comes again and again in a few lines, one that asks nothing in none, and one that
// the checks have told not twice; and all of them where everything is told.
func TestEventsTold(t *testing.T) {
	for l, want := range map[Level]string{
		Quiet:   "E1-OUTLIER 3, I-NUDGE 0, P-DUPLICATES 0, W-CLIP-REGIME 0, W-FROZEN-WEIGHTS 0",
		Normal:  "E1-OUTLIER 3, I-NUDGE 0, P-DUPLICATES 0, W-CLIP-REGIME 0, W-FROZEN-WEIGHTS 1",
		Verbose: "E1-OUTLIER 9, I-NUDGE 1, P-DUPLICATES 1, W-CLIP-REGIME 1, W-FROZEN-WEIGHTS 1",
	} {
		p := NewProgress(&bytes.Buffer{}, l)
		p.Tell(gimbal.Checks{{Code: "P-DUPLICATES", Result: "warning"}})
		for range 9 {
			p.Tell(gimbal.Event{Step: 7, Code: "E1-OUTLIER", Severity: "error"})
		}
		for _, code := range []string{"W-CLIP-REGIME", "I-NUDGE", "W-FROZEN-WEIGHTS", "P-DUPLICATES"} {
			p.Tell(gimbal.Event{Step: 7, Code: code, Severity: "warning"})
		}
		var got []string
		for _, code := range []string{"E1-OUTLIER", "I-NUDGE", "P-DUPLICATES", "W-CLIP-REGIME", "W-FROZEN-WEIGHTS"} {
			got = append(got, fmt.Sprintf("%s %d", code, strings.Count(output(p), code+" at step 7")))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("level %d: %s, want %s\n%s", l, strings.Join(got, ", "), want, output(p))
		}
		if p.events["E1-OUTLIER"] != 9 {
			t.Errorf("counted %v", p.events)
		}
	}
}

// TestVerdict wants a loss told beside that of the n-grams only where both are of the same tokens.
func TestVerdict(t *testing.T) {
	p := played(t, Normal)
	base := gimbal.Baseline{Loss: 3.2, Tokens: 500}
	for name, c := range map[string]struct {
		r     gimbal.Result
		words string
		steps int64
	}{
		"better": {gimbal.Result{Reason: "done", ValLoss: 2.79, ValTokens: 500},
			"better than counting n-grams by 0.41 nats", 0},
		"equal": {gimbal.Result{Reason: "done", ValLoss: 3.201, ValTokens: 500}, "as good as counting n-grams", 0},
		"other": {gimbal.Result{Reason: "done", ValLoss: 2.79, ValTokens: 400}, "", 0},
		"heard": {gimbal.Result{Reason: "interrupted", ValLoss: 3.5, ValTokens: 400},
			"worse than counting n-grams by 0.30 nats", 0},
		"longer": {gimbal.Result{Reason: "done", Step: 30, ValLoss: 3.5, ValTokens: 500}, // 0.3 nats are 35 % more tokens
			"worse than counting n-grams by 0.30 nats: train longer, about 80 seconds on this machine", 41},
		"far": {gimbal.Result{Reason: "done", Step: 30, ValLoss: 6, ValTokens: 500},
			"worse than counting n-grams by 2.80 nats", 0},
	} {
		c.r.Baseline = base
		words, steps := p.verdict(&c.r, p.run.beside(&c.r))
		if words != c.words || steps != c.steps {
			t.Errorf("%s: %q, %d steps; want %q, %d", name, words, steps, c.words, c.steps)
		}
	}
	for _, e := range p.run.evals { // a loss that rises
		e.Metrics["val_loss_sample"] = float64(e.Step)
	}
	if ratio := p.run.longer(0.3); ratio != 0 {
		t.Errorf("a loss that rises falls in %g times the tokens", ratio)
	}
}

// TestEvaluationWithoutBaseline wants a dash for what is not known.
func TestEvaluationWithoutBaseline(t *testing.T) {
	p := played(t, Normal)
	p.Tell(gimbal.Look{Step: 30, Bottom: 1e-5, Top: 2e-3})
	p.Tell(gimbal.Evaluation{Step: 30, Loss: 2.5, BaselineLoss: math.NaN(),
		Metrics: gimbal.Numbers{"rep4": 0.14, "rep4_lo": 0.1, "rep4_human": 0.04}})
	lines := strings.Split(strings.TrimSpace(output(p)), "\n")
	want := []string{"    30   2.500       -     500    1m00s   2m20s  1.0e-05 2.0e-03 starved",
		"        repeats 14.0 % of 4-grams; people repeat 4.0 %"}
	if got := lines[len(lines)-2:]; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", got)
	}
}

// TestLinesFit wants clipped and wrapped lines to fit, to keep their words, and to be safe on a terminal.
func TestLinesFit(t *testing.T) {
	for _, s := range []string{"", "short", strings.Repeat("words of a sentence ", 9), strings.Repeat("x", 99),
		strings.Repeat("天地玄黄", 20), "é́́́" + strings.Repeat("é", 60), "a\x1b[2Jb \u202e c\xff " + strings.Repeat("y ", 50)} {
		for width := 12; width < 90; width += 7 {
			if line := clip(s, width); widthOf(line) > width {
				t.Errorf("%q is wider than %d", line, width)
			}
			wrapped := wrap(s, width, 2, 0)
			for line := range strings.Lines(wrapped) {
				if widthOf(strings.TrimSuffix(line, "\n")) > width {
					t.Errorf("%q is wider than %d", line, width)
				}
			}
			if strings.ContainsAny(wrapped, "\x1b\u202e") || !utf8.ValidString(wrapped) {
				t.Errorf("%q is not escaped", wrapped)
			}
			if n := strings.Count(wrap(s, width, 2, 3), "\n"); n > 2 {
				t.Errorf("%d lines of %q", n+1, s)
			}
			if strings.Join(strings.Fields(wrapped), "") != strings.Join(strings.Fields(wrap(s, 9999, 2, 0)), "") {
				t.Errorf("%q lost words of %q", wrapped, s)
			}
		}
	}
}

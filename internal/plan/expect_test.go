package plan

import (
	"math"
	"testing"
)

// The runs that the law of short runs was fitted to: the default model with Muon, batches of 2,048 tokens, and one of a
// faster machine with 3,755. Each loss is within the range that the plan would have told, but for one text that is far
// smaller than the others. What names how it was held out is of bench/minutes, a default run is one without flags.
func TestLaw(t *testing.T) {
	out := 0
	for _, r := range []struct {
		text                         string
		tokens, ngram, unigram, loss float64
	}{
		{"Go", 494_700, 3.783, 6.795, 4.453}, {"Go", 991_000, 3.783, 6.795, 3.991},
		{"Go", 1_980_000, 3.783, 6.795, 3.581},
		{"Go, held out by hash", 1_556_000, 3.783, 6.795, 3.722},
		{"Go, default run", 1_510_000, 3.783, 6.795, 3.743}, {"Go, default run", 1_880_000, 3.783, 6.795, 3.617},
		{"Go, default run", 1_860_000, 3.783, 6.795, 3.624}, {"Go, batches of 3,755", 3_450_000, 3.783, 6.795, 3.214},
		{"Shakespeare, the end held out", 2_214_000, 1.669, 3.347, 1.516},
		{"poems, held out by hash", 1_714_000, 5.676, 7.259, 5.164},
		{"Shakespeare", 307_000, 1.515, 3.342, 1.813}, {"Shakespeare", 614_200, 1.515, 3.342, 1.615},
		{"Shakespeare", 1_230_000, 1.515, 3.342, 1.481},
		{"poems", 1_200_000, 5.676, 7.259, 5.358}, {"speeches", 609_700, 4.117, 6.581, 4.523},
		{"questions", 365_200, 3.082, 5.450, 3.256},
	} {
		loss, ok := law(r.tokens, r.ngram, r.unigram)
		if !ok {
			t.Errorf("%s, %.0f tokens: the law says nothing", r.text, r.tokens)
		}
		if off := math.Abs(loss-r.loss) / r.loss; off > lawRange {
			out++
			t.Logf("%s, %.0f tokens: %.3f, and it was %.3f", r.text, r.tokens, loss, r.loss)
		}
	}
	if out > 1 {
		t.Errorf("%d runs lie outside of the range", out)
	}
	for _, bad := range [][3]float64{{1e3, 3.783, 6.795}, {1e12, 3.783, 6.795}, {1e6, math.NaN(), 6}, {1e6, 3, math.NaN()},
		{1e6, 7, 6}, {1e6, 0, 6}} {
		if loss, ok := law(bad[0], bad[1], bad[2]); ok {
			t.Errorf("the law says %g of %v", loss, bad)
		}
	}
}

// Nothing is expected of runs of another kind than the law was fitted to.
func TestExpect(t *testing.T) {
	expect := func(settings ...string) Expected {
		p := made(t, machine{}, append([]string{"optim.kind=muon", "optim.lr=auto",
			"train.batch_tokens=2048"}, settings...)...)
		p.Text.Epochs = 1 // the text of tests is small
		return p.Expect(1.5, 3)
	}
	e := expect("train.steps=400")
	if want, _ := law(400*2048, 1.5, 3); e.Value != want || !(e.Low < e.Value && e.Value < e.High) {
		t.Errorf("%+v, want %g", e, want)
	}
	for what, settings := range map[string][]string{"AdamW": {"train.steps=400", "optim.kind=adamw"},
		"a short run": {"train.steps=10"}, "a large model": {"train.steps=400", "model.width=512", "model.layers=4"},
		"a rate of somebody's": {"train.steps=400", "optim.lr=0.01"},
		"small batches":        {"train.steps=3000", "train.batch_tokens=256"}} {
		if e := expect(settings...); e != (Expected{}) {
			t.Errorf("%s: %+v", what, e)
		}
	}
}

package evaluate

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"gimbal/internal/engine"
	"gimbal/internal/runlog"
)

// The whole validation part is scored label by label, each once; the sample is as large as it was asked to be.
func TestLossIsThatOfTheLabels(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	f := newFake(t, text)
	f.nats = func(label int32) float64 { return float64(label) }
	l, err := New(options(f, text)).Loss(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	nats, bytes := 0.0, int64(0)
	var labels, scored []int32 // in the order of the text
	for ids := range text.Val.Labels() {
		labels = append(labels, ids...)
		for _, id := range ids {
			nats += float64(id)
			bytes += int64(len(text.Tok.Bytes(id)))
		}
	}
	r := l.Reported
	if r.Nats != nats || r.Tokens != text.Val.Tokens() || r.Bytes != bytes {
		t.Errorf("%+v; the labels have %v nats in %d tokens of %d bytes", r, nats, text.Val.Tokens(), bytes)
	}
	if got, want := r.BitsPerByte(), nats/math.Ln2/float64(bytes); math.Abs(got-want) > 1e-12*want {
		t.Errorf("%v bits per byte, not %v", got, want)
	}
	if s := l.Sample; s.Tokens < 500 || s.Tokens >= 500+128 || s.Loss() == r.Loss() {
		t.Errorf("the sample of 500 has %d tokens and a loss of %v; all have %v", s.Tokens, s.Loss(), r.Loss())
	}
	sampled := f.holding(l.Sample.sequences)
	for i, in := range f.passes {
		if len(in.Tokens) > 128 || in.Scale != 0 {
			t.Errorf("a pass of %d tokens, scale %v", len(in.Tokens), in.Scale)
		}
		if i >= sampled {
			scored = append(scored, in.Labels...)
		}
	}
	if !slices.Equal(scored, labels) {
		t.Error("all of it is not scored from first to last")
	}
}

// Evaluations are compared by their sample, so it is the same sequences in the same order, whether all is scored too
// or not. Another seed takes others.
func TestSampleIsTheSameAtEveryEvaluation(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	f := newFake(t, text)
	e := New(options(f, text))
	seen := func(e *Evaluator, whole bool) []int32 {
		t.Helper()
		f.passes = nil
		l, err := e.Loss(t.Context(), whole)
		if err != nil {
			t.Fatal(err)
		}
		var tokens []int32
		for _, in := range f.passes[:f.holding(l.Sample.sequences)] {
			tokens = append(tokens, in.Tokens...)
		}
		return tokens
	}
	first := seen(e, false)
	if !slices.Equal(first, seen(e, true)) || !slices.Equal(first, seen(New(options(f, text)), false)) {
		t.Error("the sample changes from evaluation to evaluation")
	}
	other := options(f, text)
	other.Seed++
	if slices.Equal(first, seen(New(other), false)) {
		t.Error("another seed takes the same sample")
	}
}

// Where the sample is all there is, it is not scored again. In a conversation only the answers count.
func TestWholeIsScoredOnce(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	f := newFake(t, text)
	opt := options(f, text)
	opt.SampleSize = 1 << 40
	l, err := New(opt).Loss(t.Context(), true)
	if err != nil || l.Sample != l.Reported || len(f.passes) != f.holding(l.Sample.sequences) {
		t.Errorf("%+v after %d passes, %v", l, len(f.passes), err)
	}

	text = openText(t, chats(t, 60), 0.2)
	f = newFake(t, text)
	opt = options(f, text)
	opt.SampleSize = 1 << 40
	if l, err = New(opt).Loss(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if n := text.Val.Counted(); l.Reported.Tokens != n || l.Reported.Nats != float64(n) || n >= text.Val.Tokens() {
		t.Errorf("%+v; %d of %d labels count", l.Reported, n, text.Val.Tokens())
	}
}

// A context that is done ends an evaluation between two passes, and an engine that fails ends it too.
func TestScoringStops(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	broken := errors.New("the device is gone")
	for _, whole := range []bool{false, true} {
		for at := range 2 {
			f := newFake(t, text)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			f.onPass = func(n int) error {
				if n == at {
					cancel()
				}
				return nil
			}
			l, err := New(options(f, text)).Loss(ctx, whole)
			if !errors.Is(err, context.Canceled) || len(f.passes) != at+1 || l != (Loss{}) {
				t.Errorf("cancelled in pass %d: %v after %d passes, %+v", at, err, len(f.passes), l)
			}
			f = newFake(t, text)
			f.onPass = func(n int) error {
				if n == at {
					return broken
				}
				return nil
			}
			if _, err := New(options(f, text)).Loss(t.Context(), whole); !errors.Is(err, broken) {
				t.Errorf("an engine that fails in pass %d: %v", at, err)
			}
		}
	}
}

// A cancelled evaluation leaves nothing behind: asked again, it scores the same.
func TestScoringAfterACancel(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	f := newFake(t, text)
	e := New(options(f, text))
	want, err := e.Loss(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f.onPass = func(int) error { cancel(); return nil }
	if _, err := e.Loss(ctx, true); err == nil {
		t.Fatal("not cancelled")
	}
	f.onPass = nil
	if got, err := e.Loss(t.Context(), true); err != nil || got != want {
		t.Errorf("%+v, then %+v, %v", want, got, err)
	}
}

// scoreOf adds sequences.
func scoreOf(sequences [][2]float64) (s Score) {
	for _, p := range sequences {
		s.add(p[0], int(p[1]), 0)
		s.Nats += p[0]
		s.Tokens += int64(p[1])
	}
	return s
}

func TestInterval(t *testing.T) {
	if lo, hi := scoreOf([][2]float64{{20, 10}}).Interval(); !math.IsInf(lo, -1) || !math.IsInf(hi, 1) {
		t.Errorf("of one sequence: [%v, %v]", lo, hi)
	}
	// Sequences of one size: the interval of a mean.
	lo, hi := scoreOf([][2]float64{{10, 10}, {20, 10}, {30, 10}, {40, 10}}).Interval()
	half := 1.96 * math.Sqrt((2.25+0.25+0.25+2.25)/3/4)
	if math.Abs(lo-(2.5-half)) > 1e-12 || math.Abs(hi-(2.5+half)) > 1e-12 {
		t.Errorf("[%v, %v], want 2.5 ± %v", lo, hi, half)
	}
	// The same loss in every sequence, however long: nothing varies.
	if lo, hi = scoreOf([][2]float64{{10, 5}, {20, 10}, {80, 40}}).Interval(); lo != 2 || hi != 2 {
		t.Errorf("[%v, %v] where every sequence has a loss of 2", lo, hi)
	}
}

// A change is measured on each sequence: however much these differ, one that is the same for all has no error.
func TestChangeError(t *testing.T) {
	before := scoreOf([][2]float64{{10, 5}, {90, 10}, {20, 20}})
	if se := scoreOf([][2]float64{{5, 5}, {80, 10}, {0, 20}}).ChangeError(before.Groups()); se != 0 {
		t.Errorf("every token gained a nat, with a standard error of %v", se)
	}
	// Gains of 1, 2 and 3 nats a token: the standard error of a mean of three.
	before = scoreOf([][2]float64{{100, 10}, {50, 10}, {70, 10}})
	after := scoreOf([][2]float64{{90, 10}, {30, 10}, {40, 10}})
	if se, want := after.ChangeError(before.Groups()), 1/math.Sqrt(3); math.Abs(se-want) > 1e-12 {
		t.Errorf("a standard error of %v, want %v", se, want)
	}
	if se := scoreOf([][2]float64{{5, 5}}).ChangeError(make([]runlog.Float, groups)); !math.IsNaN(se) {
		t.Errorf("one sequence has a standard error of %v", se)
	}
}

// Sequences of one document are alike, so they count as one where there are enough documents.
func TestDocumentsAreUnits(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	const documents, each, tokens = 50, 8, 10
	sequences, whole := Score{Tokens: documents * each * tokens}, Score{byDocument: true}
	for d := range documents {
		mean := 3 + r.NormFloat64()
		for range each {
			sequences.add(mean*tokens, tokens, d)
			whole.add(mean*tokens, tokens, d)
		}
	}
	zero := make([]runlog.Float, groups)
	got, want := whole.ChangeError(zero), 1/math.Sqrt(documents)
	if math.Abs(got/want-1) > 0.3 {
		t.Errorf("a standard error of %v with documents as units, want about %v", got, want)
	}
	if alike := sequences.ChangeError(zero); alike > 0.7*got {
		t.Errorf("sequences as units: %v, documents: %v: no difference", alike, got)
	}
}

// The interval holds the loss of the population in 95 of 100 samples. One that takes tokens for independent, when
// those of a sequence are alike, must not pass the same check.
func TestIntervalCovers(t *testing.T) {
	const truth, trials, sequences = 3.0, 2000, 40
	r := rand.New(rand.NewPCG(1, 1))
	holds, naive := 0, 0
	for range trials {
		var sample [][2]float64
		variance, tokens := 0.0, 0.0
		for range sequences {
			n := float64(20 + r.IntN(60))
			mean := truth + 0.5*r.NormFloat64() // of the document
			nats := 0.0
			for range int(n) {
				x := mean + r.NormFloat64()
				nats += x
				variance += (x - truth) * (x - truth)
			}
			tokens += n
			sample = append(sample, [2]float64{nats, n})
		}
		s := scoreOf(sample)
		if lo, hi := s.Interval(); lo < truth && truth < hi {
			holds++
		}
		if half := 1.96 * math.Sqrt(variance) / tokens; math.Abs(s.Loss()-truth) < half {
			naive++
		}
	}
	within := func(n int) bool { share := float64(n) / trials; return share > 0.92 && share < 0.97 }
	if !within(holds) {
		t.Errorf("the interval holds the loss in %d of %d samples", holds, trials)
	}
	if within(naive) {
		t.Errorf("the planted interval of single tokens passes: %d of %d", naive, trials)
	}
}

// The record has the loss of all, the interval around it, and the loss of the sample.
func TestRecord(t *testing.T) {
	l := Loss{Sample: scoreOf([][2]float64{{30, 10}, {32, 10}}), Reported: scoreOf([][2]float64{{20, 10}, {24, 10}})}
	l.Reported.Bytes = 40
	rec := l.Record(runlog.At{Step: 5, Batch: 6}, runlog.Baseline{Loss: 4.5, Tokens: 20, Sample: 9, SampleTokens: 7})
	lo, hi := l.Reported.Interval()
	want := runlog.Eval{
		Kind: "eval", At: runlog.At{Step: 5, Batch: 6}, BaselineLoss: 4.5, ValLoss: 2.2, BitsPerByte: 44 / math.Ln2 / 40,
		Metrics: map[string]runlog.Float{
			"val_tokens": 20, "val_loss_sample": 3.1, "val_loss_lo": runlog.Float(lo), "val_loss_hi": runlog.Float(hi),
		},
	}
	if !reflect.DeepEqual(rec, want) || !(lo < 2.2 && 2.2 < hi) {
		t.Errorf("%+v, want %+v", rec, want)
	}
}

var _ engine.Engine = (*fakeEngine)(nil)

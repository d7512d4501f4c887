//go:build planted

package faults

import (
	"context"
	"math"
	"slices"
	"testing"

	"gimbal/internal/data"
	"gimbal/internal/engine"
)

func init() {
	for spec, e := range map[string]effect{
		"padding-in-loss@1": {}, "lost-eos@2": {}, "shifted-label@1": {}, "document-leak@1": {}, "one-paragraph@1": {},
		"shuffled-labels@70": {}, "random-tokens@70": {},
		"mean-of-means@3": {scale: true}, "bf16-weights@2": {update: "harm round"},
	} {
		effects[spec] = e
	}
}

// Every mistake in a batch is made as it is defined.
func TestMistakesInBatches(t *testing.T) {
	x := text(t)
	var clean data.Batch
	source(t, x)(70, &clean, data.Cursor{})
	eos := x.Tok.EOS()
	for name, check := range map[string]func(t *testing.T, b *data.Batch){
		"padding-in-loss": func(t *testing.T, b *data.Batch) {
			if len(b.Tokens) != len(b.Spans)*testContext || b.Counted != len(b.Tokens) ||
				len(b.Spans) != len(clean.Spans) {
				t.Errorf("%d positions, %d counted, %d sequences", len(b.Tokens), b.Counted, len(b.Spans))
			}
			for i, s := range b.Spans {
				old := clean.Spans[i]
				if !slices.Equal(b.Labels[s.Start:s.Start+old.Len], clean.Labels[old.Start:old.Start+old.Len]) ||
					old.Len < s.Len && b.Labels[s.Start+s.Len-1] != eos {
					t.Errorf("sequence %d is not the old one with EOS behind it", i)
				}
			}
		},
		"lost-eos": func(t *testing.T, b *data.Batch) {
			lost := 0
			for i, label := range b.Labels {
				if (label == eos) == b.Counts[i] {
					t.Errorf("label %d counts: %v", label, b.Counts[i])
				}
				if label == eos {
					lost++
				}
			}
			if lost == 0 || b.Counted != clean.Counted-lost {
				t.Errorf("%d of %d count, %d lost", b.Counted, clean.Counted, lost)
			}
		},
		"shifted-label": func(t *testing.T, b *data.Batch) {
			if !slices.Equal(b.Labels, clean.Tokens) {
				t.Error("the labels are not the inputs")
			}
		},
		"document-leak": func(t *testing.T, b *data.Batch) {
			end, most := 0, 0
			for _, s := range b.Spans {
				if s.Start != end {
					t.Fatal("a gap")
				}
				end, most = s.Start+s.Len, max(most, s.Len)
			}
			if end != len(clean.Tokens) || most > testContext || len(b.Spans) >= len(clean.Spans) {
				t.Errorf("%d sequences of at most %d, to %d", len(b.Spans), most, end)
			}
		},
		"one-paragraph": func(t *testing.T, b *data.Batch) {
			var one data.Batch
			x.Train.Read(&one, 0)
			for _, s := range b.Spans {
				if !slices.Equal(b.Tokens[s.Start:s.Start+s.Len], one.Tokens) {
					t.Fatal("another text")
				}
			}
			if len(b.Spans) != len(clean.Spans) || b.Counted != len(b.Spans)*one.Counted {
				t.Errorf("%d sequences, %d counted", len(b.Spans), b.Counted)
			}
		},
		"shuffled-labels": func(t *testing.T, b *data.Batch) {
			got, want := slices.Clone(b.Labels), slices.Clone(clean.Labels)
			if slices.Equal(got, want) {
				t.Error("not shuffled")
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Error("other labels")
			}
		},
		"random-tokens": func(t *testing.T, b *data.Batch) {
			if slices.Equal(b.Labels, clean.Labels) || slices.Equal(b.Tokens, b.Labels) ||
				len(b.Tokens) != len(clean.Tokens) {
				t.Error("not random")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b data.Batch
			set(t, x, newRecorder().info, name+"@70").Source(source(t, x))(70, &b, data.Cursor{})
			check(t, &b)
		})
	}
}

// The mean of means has the weight of a pass in it, and one denominator has not.
func TestMeanOfMeans(t *testing.T) {
	x, e := text(t), openCPU(t)
	s := set(t, x, e.Info(), "mean-of-means@1")
	scales := &scaleRecorder{Engine: e}
	r := newRun(t, s.Source(source(t, x)), s.Engine(scales))
	r.step(1)
	n := len(r.acc.Passes)
	var sum float64
	same := true
	for i, m := range r.acc.Passes {
		sum += scales.list[i] * float64(m.CountedLabels())
		same = same && math.Abs(scales.list[i]*float64(r.batch.Counted)-1) < 1e-9
	}
	if same || math.Abs(sum-1) > 1e-9 || n < 2 || len(scales.list) != n+1 || scales.list[n] != engine.Scale(&r.batch) {
		t.Errorf("%d passes with a summed weight of %v; all alike: %v; scales %v", n, sum, same, scales.list)
	}
}

// Without masters every weight is a bfloat16, the nearest.
func TestRoundedWeights(t *testing.T) {
	x, e, clean := text(t), openCPU(t), openCPU(t)
	s := set(t, x, e.Info(), "bf16-weights@1")
	newRun(t, s.Source(source(t, x)), s.Engine(e)).step(1)
	newRun(t, source(t, x), clean).step(1)
	got, want := weights(t, e), weights(t, clean)
	for i, w := range got {
		if math.Float32bits(w)&0xffff != 0 || math.Abs(float64(w-want[i])) > math.Abs(float64(want[i]))/256 {
			t.Fatalf("%v from %v", w, want[i])
		}
	}
	if differ(got, want) == 0 {
		t.Error("nothing was rounded")
	}
}

// scaleRecorder is an engine that remembers the scales of its passes with Gradient.
type scaleRecorder struct {
	engine.Engine
	list []float64
}

func (r *scaleRecorder) Pass(ctx context.Context, in engine.Input, want engine.Want) (engine.Values, error) {
	if want&engine.Gradient != 0 {
		r.list = append(r.list, in.Scale)
	}
	return r.Engine.Pass(ctx, in, want)
}

func (r *scaleRecorder) Plant(f ...engine.Fault) { r.Engine.(engine.Planter).Plant(f...) }
func (r *scaleRecorder) Harm(f engine.Fault)     { r.Engine.(engine.Planter).Harm(f) }

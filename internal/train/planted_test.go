//go:build planted

package train

import (
	"math"
	"slices"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/runlog"
)

// planter is a trainer of its own, a batch in it, and how to make the mistakes of a name in it.
func planter(t *testing.T, name string) *trainer {
	t.Helper()
	tr := newTrainer(t, shortDocuments(t))
	if err := tr.plantFaults([]string{name + "@1"}); err != nil {
		t.Fatal(err)
	}
	tr.state.Faults[0].Begun = 1
	tr.loader.Next(&tr.batch, tr.cursor())
	return tr
}

// shortDocuments is a run in which many documents are shorter than half of the context.
func shortDocuments(t *testing.T) *config.Config {
	return tiny(t, "train.context=256", "train.batch_tokens=1024", "train.micro_tokens=256", "train.steps=2", "checkpoint.every=1")
}

// Every mistake is made as it is defined.
func TestPlantedBatches(t *testing.T) {
	clean := planter(t, "lost-eos").batch
	eos := int32(-1)
	for name, check := range map[string]func(t *testing.T, tr *trainer){
		"padding-in-loss": func(t *testing.T, tr *trainer) {
			if b := &tr.batch; len(b.Tokens) != len(b.Spans)*tr.cfg.Train.Context || b.Counted != len(b.Tokens) || len(b.Spans) != len(clean.Spans) {
				t.Errorf("%d positions, %d counted, %d sequences", len(b.Tokens), b.Counted, len(b.Spans))
			}
			for i, s := range tr.batch.Spans {
				old := clean.Spans[i]
				if !slices.Equal(tr.batch.Labels[s.Start:s.Start+old.Len], clean.Labels[old.Start:old.Start+old.Len]) || old.Len < s.Len && tr.batch.Labels[s.Start+s.Len-1] != eos {
					t.Errorf("sequence %d is not the old one with EOS behind it", i)
				}
			}
		},
		"lost-eos": func(t *testing.T, tr *trainer) {
			lost := 0
			for i, label := range tr.batch.Labels {
				if (label == eos) == tr.batch.Counts[i] {
					t.Errorf("label %d counts: %v", label, tr.batch.Counts[i])
				}
				if label == eos {
					lost++
				}
			}
			if lost == 0 || tr.batch.Counted != clean.Counted-lost {
				t.Errorf("%d of %d count, %d lost", tr.batch.Counted, clean.Counted, lost)
			}
		},
		"shifted-label": func(t *testing.T, tr *trainer) {
			if !slices.Equal(tr.batch.Labels, clean.Tokens) {
				t.Error("the labels are not the inputs")
			}
		},
		"document-leak": func(t *testing.T, tr *trainer) {
			end, most := 0, 0
			for _, s := range tr.batch.Spans {
				if s.Start != end {
					t.Fatal("a gap")
				}
				end, most = s.Start+s.Len, max(most, s.Len)
			}
			if end != len(clean.Tokens) || most > tr.cfg.Train.Context || len(tr.batch.Spans) >= len(clean.Spans) {
				t.Errorf("%d sequences of at most %d, to %d", len(tr.batch.Spans), most, end)
			}
		},
		"one-paragraph": func(t *testing.T, tr *trainer) {
			var one data.Batch
			tr.corpus.train.Read(&one, 0)
			for _, s := range tr.batch.Spans {
				if !slices.Equal(tr.batch.Tokens[s.Start:s.Start+s.Len], one.Tokens) {
					t.Fatal("another text")
				}
			}
		},
		"shuffled-labels": func(t *testing.T, tr *trainer) {
			a, b := slices.Clone(tr.batch.Labels), slices.Clone(clean.Labels)
			if slices.Equal(a, b) {
				t.Error("not shuffled")
			}
			slices.Sort(a)
			slices.Sort(b)
			if !slices.Equal(a, b) {
				t.Error("other labels")
			}
		},
		"random-tokens": func(t *testing.T, tr *trainer) {
			if slices.Equal(tr.batch.Labels, clean.Labels) || slices.Equal(tr.batch.Tokens, tr.batch.Labels) {
				t.Error("not random")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := name
			if faultKinds[name].earliest > 1 {
				spec = "lost-eos" // its steps are too many for a tiny run; the mistake is the same
			}
			tr := planter(t, spec)
			eos = tr.corpus.tok.EOS()
			tr.misbuild(name)
			check(t, tr)
		})
	}
}

// The mean of means has the weight of a pass in it, and one denominator has not.
func TestPlantedWeights(t *testing.T) {
	tr := planter(t, "mean-of-means")
	tr.micros = data.SplitMicro(nil, &tr.batch, 256)
	var sum float64
	same := true
	for _, m := range tr.micros {
		w := tr.misweigh(m, 1/float64(tr.batch.Counted))
		sum += w * float64(counted(m))
		same = same && math.Abs(w*float64(tr.batch.Counted)-1) < 1e-9
	}
	if same || math.Abs(sum-1) > 1e-9 || len(tr.micros) < 2 {
		t.Errorf("%d passes with a summed weight of %v; all alike: %v", len(tr.micros), sum, same)
	}
}

// Without masters every weight is a bfloat16, the nearest.
func TestPlantedRounding(t *testing.T) {
	tr := planter(t, "bf16-weights")
	before := slices.Clone(tr.model.Params().Flat)
	tr.misround(1)
	moved := 0
	for i, w := range tr.model.Params().Flat {
		if math.Float32bits(w)&0xffff != 0 || math.Abs(float64(w-before[i])) > math.Abs(float64(before[i]))/256 {
			t.Fatalf("%v from %v", w, before[i])
		}
		if w != before[i] {
			moved++
		}
	}
	if moved == 0 {
		t.Error("nothing was rounded")
	}
}

// Planted runs are marked as such, and differ from the clean one from the first step.
func TestPlantedRuns(t *testing.T) {
	cfg := shortDocuments(t)
	clean := run(t, cfg, Options{})
	for _, name := range []string{"padding-in-loss", "lost-eos", "shifted-label", "mean-of-means", "document-leak", "bf16-weights", "one-paragraph"} {
		r := run(t, cfg, Options{Inject: []string{name + "@1"}})
		if weights(t, r.Dir, 1) == weights(t, clean.Dir, 1) {
			t.Errorf("%s: the weights of step 1 are those of the clean run", name)
		}
		if s := runlog.All[runlog.Step](readLog(t, r.Dir)); !s[0].Injected {
			t.Errorf("%s: not marked", name)
		}
	}
}

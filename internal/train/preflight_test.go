package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/model"
	"gimbal/internal/runlog"
)

// newChecked returns the preflight of a fresh run.
func newChecked(t *testing.T, settings ...string) *preflight {
	t.Helper()
	tr := newTrainer(t, tiny(t, settings...))
	tr.weights = freshWeights
	return checked(t, tr)
}

func checked(t *testing.T, tr *trainer) *preflight {
	t.Helper()
	p, err := newPreflight(tr, filepath.Join(t.TempDir(), "run"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// spoken returns the codes of the checks with a warning or an error.
func spoken(rec *runlog.Preflight) (codes []string) {
	for _, c := range rec.Checks {
		if c.Result == resultWarning || c.Result == resultError {
			codes = append(codes, c.Code)
		}
	}
	return codes
}

func TestPreflightOfCleanRuns(t *testing.T) {
	for _, settings := range [][]string{
		{}, {"model.shape=llama"}, {"model.shape=gpt2"}, {"model.shape=qwen2", "model.tie=false"}, {"numeric.mode=fp32", "model.dropout=0.1"},
		{"numeric.mode=bf16", "model.width=64", "model.heads=2", "model.layers=4"}, {"numeric.mode=fp32", "train.context=128", "train.micro_tokens=256"},
		{"data.start=none"}, {"train.steps=1"}, {"train.context=1", "train.micro_tokens=1"},
	} {
		p := newChecked(t, settings...)
		rec, err := p.run()
		if err != nil || len(spoken(rec)) > 0 {
			t.Errorf("%v: %v, %+v", settings, err, rec.Checks)
		}
		for i, c := range rec.Checks {
			if c.Code != checks[i].code || c.Message == "" || c.Result == "" {
				t.Errorf("%v: check %d is %+v", settings, i, c)
			}
			if c.Result == resultSkipped && len(settings) == 0 {
				t.Errorf("%s is skipped: %s", c.Code, c.Message)
			}
		}
	}
}

// Every fault that a check is there for is planted, and exactly that check must speak.
func TestPreflightFindsPlantedFaults(t *testing.T) {
	same := func(result string, codes ...string) (string, []string) { return result, codes }
	for _, tt := range []struct {
		name     string
		settings []string
		plant    func(p *preflight)
		want     func() (result string, codes []string)
		exit     int
	}{
		{"the forward pass reads its answers", nil, func(p *preflight) {
			p.loss = func(in model.Input) float64 { in.Tokens = ahead(in); return p.model.Loss(in) }
		}, func() (string, []string) { return same(resultError, "P-LEAK") }, 3},
		{"the forward pass reads far ahead", nil, func(p *preflight) {
			p.loss = func(in model.Input) float64 {
				in.Tokens = slices.Clone(in.Tokens)
				for s := range in.Bounds[1:] {
					in.Tokens[in.Bounds[s]] = in.Tokens[in.Bounds[s+1]-1]
				}
				return p.model.Loss(in)
			}
		}, func() (string, []string) { return same(resultError, "P-LEAK") }, 3},
		{"the backward pass reads its answers", nil, func(p *preflight) {
			p.backward = func(in model.Input, scale float64) float64 {
				whole := in
				whole.Tokens = ahead(in)
				return p.model.Backward(whole, scale)
			}
			p.accumulate = func(b *data.Batch) float64 { return p.backward(whole(b), 1/float64(b.Counted)) }
		}, func() (string, []string) { return same(resultError, "P-LEAK-GRADIENT") }, 3},
		{"a gradient reaches the embedding of a later token", nil, func(p *preflight) {
			p.backward = func(in model.Input, scale float64) float64 {
				last := int(in.Tokens[len(in.Tokens)-1])
				p.model.Grads()[last*p.arch.Width] += float32(scale) * 1e-6
				return p.model.Backward(in, scale)
			}
			p.accumulate = func(b *data.Batch) float64 { return p.backward(whole(b), 1/float64(b.Counted)) }
		}, func() (string, []string) { return same(resultError, "P-LEAK-GRADIENT") }, 3},
		{"documents see their neighbours", []string{"train.context=128"}, func(p *preflight) {
			p.loss = func(in model.Input) float64 {
				if len(in.Tokens) <= p.arch.Context {
					in.Bounds = []int32{0, int32(len(in.Tokens))}
				}
				return p.model.Loss(in)
			}
		}, func() (string, []string) { return same(resultError, "P-INVARIANCE") }, 3},
		{"mean of means", nil, func(p *preflight) {
			p.accumulate = func(b *data.Batch) (loss float64) {
				micros := data.SplitMicro(nil, b, p.cfg.Train.MicroTokens)
				for _, m := range micros {
					loss += p.model.Backward(input(m), 1/float64(len(m.Tokens)*len(micros)))
				}
				return loss
			}
		}, func() (string, []string) { return same(resultError, "P-INVARIANCE") }, 3},
		{"initial weights ten times too large", nil, func(p *preflight) {
			for i := range p.model.Params().Flat {
				p.model.Params().Flat[i] *= 10
			}
			p.model.Refresh()
		}, func() (string, []string) { return same(resultError, "P-START-LOSS") }, 3},
		{"labels shifted by one", nil, func(p *preflight) {
			p.read = func(sp *data.Split, b *data.Batch, i int64) { sp.Read(b, i); copy(b.Labels, b.Tokens) }
		}, func() (string, []string) { return same(resultError, "P-LABELS", "P-EOS") }, 4},
		{"no label counts", nil, func(p *preflight) {
			p.read = func(sp *data.Split, b *data.Batch, i int64) { sp.Read(b, i); clear(b.Counts) }
		}, func() (string, []string) { return same(resultError, "P-LABELS") }, 4},
		{"the ends of documents are lost", nil, func(p *preflight) {
			p.read = func(sp *data.Split, b *data.Batch, i int64) {
				sp.Read(b, i)
				if last := len(b.Labels) - 1; b.Labels[last] == p.corpus.tok.EOS() {
					b.Labels[last] = 'x'
				}
			}
		}, func() (string, []string) { return same(resultError, "P-EOS") }, 4},
		{"an end in the middle of a document", nil, func(p *preflight) {
			p.read = func(sp *data.Split, b *data.Batch, i int64) {
				sp.Read(b, i)
				if len(b.Labels) > 8 {
					b.Labels[5], b.Tokens[6] = p.corpus.tok.EOS(), p.corpus.tok.EOS()
				}
			}
		}, func() (string, []string) { return same(resultError, "P-EOS") }, 4},
		{"a sampler that repeats itself", nil, func(p *preflight) {
			p.next = func(b *data.Batch, cur data.Cursor) data.Cursor {
				after := p.loader.Next(b, data.Cursor{Batch: cur.Batch})
				after.Seq += cur.Seq
				return after
			}
		}, func() (string, []string) { return same(resultError, "P-SAMPLER") }, 3},
		{"a rate of zero", nil, func(p *preflight) {
			p.rate = func(step int64) float64 { return p.plan.rateAt(step) * float64(step-1) / float64(step) }
		}, func() (string, []string) { return same(resultError, "P-LR-TRACE") }, 2},
		{"a rate that is no number", nil, func(p *preflight) {
			p.rate = func(step int64) float64 {
				if step == 7 {
					return math.NaN()
				}
				return p.plan.rateAt(step)
			}
		}, func() (string, []string) { return same(resultError, "P-LR-TRACE") }, 2},
		{"a run that does not end at its floor", nil, func(p *preflight) {
			p.rate = func(int64) float64 { return p.sched.Peak }
		}, func() (string, []string) { return same(resultError, "P-LR-TRACE") }, 2},
		{"an exact warmup of half the run", []string{"schedule.warmup=6", "schedule.warmup_exact=true"}, nil,
			func() (string, []string) { return same(resultWarning, "W-WARMUP-SHARE") }, 0},
		{"no warmup", []string{"schedule.warmup=0"}, nil, func() (string, []string) { return same(resultWarning, "P-WARMUP-SHORT") }, 0},
		{"a restart shortly before the end", []string{"train.steps=100", "schedule.period=15"}, nil,
			func() (string, []string) { return same(resultError, "P-RESTART-LATE") }, 2},
		{"the same, on purpose", []string{"train.steps=100", "schedule.period=15", "schedule.late_restart=true"}, nil,
			func() (string, []string) { return same(resultWarning, "P-RESTART-LATE") }, 0},
		{"a kernel with a wrong element", nil, func(p *preflight) {
			right := p.multiply
			p.multiply = func(w, x, dy []float32, n, out, in int) (y, dx, dw []float32) {
				y, dx, dw = right(w, x, dy, n, out, in)
				dw[len(dw)-1] += 1.0 / 64
				return y, dx, dw
			}
		}, func() (string, []string) { return same(resultError, "P-KERNEL") }, 3},
		{"a full disk", nil, func(p *preflight) {
			p.space = func(string) (uint64, error) { return 1000, nil }
		}, func() (string, []string) { return same(resultError, "P-DISK") }, 6},
		{"a disk with room for one checkpoint", nil, func(p *preflight) {
			p.space = func(string) (uint64, error) { return uint64(12*p.plan.Params + stateOverhead), nil }
		}, func() (string, []string) { return same(resultWarning, "P-DISK") }, 0},
		{"memory that is gone", nil, func(p *preflight) {
			p.plan.Writing += 1 << 40
			p.free = func() int64 { return 1 << 39 }
		}, func() (string, []string) { return same(resultError, "P-MEMORY") }, 6},
		{"memory that is nearly gone", nil, func(p *preflight) {
			p.plan.Writing += 1 << 40
			p.free = func() int64 { return 9 << 37 }
		}, func() (string, []string) { return same(resultWarning, "P-MEMORY") }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newChecked(t, tt.settings...)
			if tt.plant != nil {
				tt.plant(p)
			}
			rec, err := p.run()
			result, codes := tt.want()
			if got := spoken(rec); !slices.Equal(got, codes) {
				t.Fatalf("%v speak, not %v: %+v", got, codes, rec.Checks)
			}
			for _, c := range rec.Checks {
				if slices.Contains(codes, c.Code) && (c.Result != result || c.Advice == "") {
					t.Errorf("%+v", c)
				}
			}
			if got := ExitCode(err); got != tt.exit {
				t.Errorf("exit code %d, want %d: %v", got, tt.exit, err)
			}
		})
	}
}

// ahead is the tokens of an input, each the one that follows it: what a leaking model reads.
func ahead(in model.Input) []int32 {
	tokens := slices.Clone(in.Tokens)
	for s := range in.Bounds[1:] {
		copy(tokens[in.Bounds[s]:in.Bounds[s+1]-1], in.Tokens[in.Bounds[s]+1:in.Bounds[s+1]])
	}
	return tokens
}

// Corpora with the faults that a check of the data is there for.
func TestPreflightFindsFaultyText(t *testing.T) {
	text := func(t *testing.T, kind string, files map[string]string) *preflight {
		t.Helper()
		cfg := tiny(t, "tokenizer.kind="+kind)
		dir := t.TempDir()
		for name, body := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := cfg.SetPlanned("data.paths", []string{dir}, "test"); err != nil {
			t.Fatal(err)
		}
		tr := newTrainer(t, cfg)
		tr.weights = freshWeights
		return checked(t, tr)
	}
	speaks := func(p *preflight, want ...string) {
		t.Helper()
		rec, err := p.run()
		if got := spoken(rec); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v speak, not %v: %v %+v", got, want, err, rec.Checks)
		}
	}
	var half strings.Builder
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		fmt.Fprintf(&half, "%c%c%c ", 'a'+r.IntN(26), 'a'+r.IntN(5), 'a'+r.IntN(26))
	}
	speaks(text(t, "bpe", map[string]string{"a.txt": half.String()}))
	speaks(text(t, "bpe", map[string]string{"a.txt": half.String() + half.String()}), "P-OVERLAP")
	speaks(text(t, "bytes", map[string]string{"a.txt": half.String() + half.String()})) // a run of letters says little

	files := map[string]string{}
	for i := range 26 {
		files[string(rune('a'+i))+".txt"] = strings.Repeat(string(rune('a'+i)), 40+i)
	}
	speaks(text(t, "bytes", files))
	for i := range 13 {
		files[string(rune('a'+i))+"-copy.txt"] = files[string(rune('a'+i))+".txt"]
	}
	speaks(text(t, "bytes", files), "P-DUPLICATES")
	// Split by position, and a copy on each side.
	speaks(text(t, "bytes", map[string]string{"a.txt": strings.Repeat("one two three four five ", 20), "b.txt": strings.Repeat("six seven eight nine ten ", 100),
		"c.txt": strings.Repeat("one two three four five ", 20)}), "P-DUPLICATES")
}

// A run with the preflight is, to the bit, the run without.
func TestPreflightChangesNothing(t *testing.T) {
	for _, settings := range [][]string{nil, {"model.dropout=0.2", "model.shape=gpt2"}} {
		cfg := tiny(t, settings...)
		with := run(t, cfg, Options{})
		without := run(t, cfg, Options{unchecked: true})
		sameRun(t, with.Dir, without.Dir, 12)
		var records, checked int
		for _, r := range runlog.All[runlog.Preflight](readLog(t, with.Dir)) {
			records, checked = records+1, len(r.Checks)
		}
		if records != 1 || checked != len(checks) || len(runlog.All[runlog.Preflight](readLog(t, without.Dir))) != 0 {
			t.Errorf("%d records, the last of %d checks", records, checked)
		}
	}
}

// What is refused leaves nothing behind; what is a warning is told as an event, and a resume does not tell it again.
func TestPreflightRefusesAndTells(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	late := []string{"train.steps=100", "schedule.period=15", "eval.every=50"}
	var refused *PreflightError
	if _, err := Run(context.Background(), tiny(t, late...), Options{Out: out}); !errors.As(err, &refused) || ExitCode(err) != 2 || !strings.Contains(err.Error(), "schedule.period") {
		t.Errorf("error %v", err)
	}
	if exists(out) {
		t.Error("a run directory was made")
	}
	cfg := tiny(t, append(late, "schedule.late_restart=true", "schedule.warmup=40", "schedule.warmup_exact=true")...)
	interruptAfter(t, out, 60, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{Out: out, Hooks: h})
		return err
	})
	if _, err := Resume(context.Background(), out, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, e := range runlog.All[runlog.Event](readLog(t, out)) {
		counts[e.Code]++
	}
	if counts["P-RESTART-LATE"] != 2 || counts["W-WARMUP-SHARE"] != 1 {
		t.Errorf("events %v", counts)
	}
	sameRun(t, run(t, cfg, Options{}).Dir, out, 100)

	// A run that is made longer is planned anew, and refused where its new end comes too soon after a restart.
	short := run(t, tiny(t, "train.steps=40", "schedule.period=30", "eval.every=50"), Options{}).Dir
	if _, err := Resume(context.Background(), short, ResumeOptions{Steps: 56}); err != nil {
		t.Errorf("to 56 steps: %v", err)
	}
	if _, err := Resume(context.Background(), short, ResumeOptions{Steps: 330}); !errors.As(err, &refused) || refused.Failed[0].Code != "P-RESTART-LATE" {
		t.Errorf("to 330 steps: %v", err)
	}
}

// A resume meets the preflight, too: weights that are spoiled are refused before a step is made.
func TestPreflightOfAResume(t *testing.T) {
	tr := newTrainer(t, tiny(t))
	tr.weights = savedWeights
	clear(tr.model.Params().Flat)
	tr.model.Refresh()
	rec, err := checked(t, tr).run()
	if got := spoken(rec); ExitCode(err) != 3 || !slices.Contains(got, "P-LEAK") || !slices.Contains(got, "P-LEAK-GRADIENT") {
		t.Errorf("weights of zero: %v, %v", got, err)
	}
	var faults *config.Error
	tr.cfg.Optim.LR = config.Rule{Name: "probe"}
	if err := tr.probe(context.Background()); !errors.As(err, &faults) {
		t.Errorf("a probe of a run that has begun: %v", err)
	}
}

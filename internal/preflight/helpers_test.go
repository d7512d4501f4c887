package preflight

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/corpus"
	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/optim"
	"gimbal/internal/plan"
	"gimbal/internal/runlog"
	"gimbal/internal/tokenizer"
)

// grammar writes documents of a small language: enough structure to learn in a few steps.
func grammar(t testing.TB, documents int) string {
	t.Helper()
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range documents {
		var b strings.Builder
		for range 3 + r.IntN(12) {
			n := 1 + r.IntN(5)
			fmt.Fprintf(&b, "%s sees %d %s. ", []string{"ann", "bob", "eve"}[r.IntN(3)], n,
				[]string{"cat", "dog"}[r.IntN(2)]+strings.Repeat("s", min(1, n-1)))
		}
		name := filepath.Join(dir, fmt.Sprintf("doc%03d.txt", i))
		if err := os.WriteFile(name, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tiny is a configuration whose run takes a moment.
func tiny(t testing.TB, dir string, settings ...string) *config.Config {
	t.Helper()
	all := append([]string{"data.paths=" + dir, "data.val_fraction=0.2", "tokenizer.kind=bytes", "model.layers=2",
		"model.width=16", "model.heads=2", "model.mlp=32", "train.context=32", "train.batch_tokens=256",
		"train.steps=12", "train.micro_tokens=128", "optim.lr=0.0008"}, settings...)
	var sets []config.Assignment
	for _, s := range all {
		sets = append(sets, config.Set(s))
	}
	cfg, err := config.Load("", sets)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// textOf prepares what a configuration names.
func textOf(t testing.TB, cfg *config.Config) *data.Text {
	t.Helper()
	ctx := context.Background()
	docs, err := corpus.Discover(cfg.Data.Paths, corpus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tok := tokenizer.NewBytes()
	if cfg.Tokenizer.Kind == "bpe" {
		if tok, _, err = tokenizer.TrainBPE(ctx, docs.Texts(ctx), tokenizer.TrainOptions{VocabSize: 512}); err != nil {
			t.Fatal(err)
		}
	}
	set, err := data.Prepare(ctx, docs, tok, data.PrepareOptions{CacheDir: t.TempDir(), Start: cfg.Data.Start,
		ValFraction: cfg.Data.ValFraction})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	return &data.Text{Docs: docs, Tok: tok, Set: set, Train: set.Train(cfg.Train.Context), Val: set.Val(cfg.Train.Context)}
}

// planOf is a plan as it is made of a configuration whose sizes and peak are given.
func planOf(t testing.TB, cfg *config.Config, vocab int, o engine.Opener) *plan.Plan {
	t.Helper()
	arch, err := cfg.Arch(vocab)
	if err != nil {
		t.Fatal(err)
	}
	c, h, mode := cfg.Optim, o.Hardware(), cfg.Numeric.Mode
	if mode == "auto" {
		mode = "fp32"
	}
	p := &plan.Plan{Config: cfg, Hardware: h, Spec: engine.Spec{Arch: arch, MicroTokens: cfg.Train.MicroTokens,
		Checkpointing: "none", Mode: mode, Optim: optim.Options{Beta1: c.Beta1,
			Beta2: c.Beta2At(cfg.Train.BatchTokens), Eps: c.Eps, WeightDecay: c.WeightDecay}}}
	p.Params, p.Multiplied = arch.Params()
	p.Memory.Memory = o.Estimate(p.Spec)
	s, want := cfg.Schedule, int64(cfg.Schedule.Warmup.Value)
	if s.Warmup.Name != "" {
		want = optim.ArticleWarmup(cfg.Train.Steps)
	}
	p.Rate.Schedule = optim.Schedule{Kind: s.Kind, Peak: c.LR.Value, Steps: cfg.Train.Steps, Period: s.Period,
		Floor: s.Floor}
	p.Rate.Schedule.Warmup, p.Rate.Capped = optim.Warmup(want, cfg.Train.Steps, s.WarmupExact)
	return p
}

// newRun returns a fresh run that is about to begin.
func newRun(t testing.TB, settings ...string) *Run {
	t.Helper()
	return runOf(t, tiny(t, grammar(t, 60), settings...))
}

func runOf(t testing.TB, cfg *config.Config) *Run {
	t.Helper()
	opener, err := engine.CPU(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opener.Close)
	r := &Run{Opener: opener, Text: textOf(t, cfg), Weights: Fresh, Out: filepath.Join(t.TempDir(), "run")}
	r.Plan = planOf(t, cfg, r.Text.Tok.VocabSize(), opener)
	if r.Engine, err = opener.Open(r.Plan.Spec); err != nil {
		t.Fatal(err)
	}
	if err := r.Engine.Init(cfg.Train.Seed); err != nil {
		t.Fatal(err)
	}
	return r
}

// checked returns the checker of a run.
func checked(t testing.TB, r *Run) *checker {
	t.Helper()
	c, err := newChecker(r)
	if err != nil {
		t.Fatal(err)
	}
	return c
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

// faulty is an engine with faults: functions that change what goes in and what comes out. nil changes nothing.
type faulty struct {
	engine.Engine
	input   func(in *engine.Input, want engine.Want)
	values  func(v *engine.Values)
	report  func(r *engine.Report)
	discard func()
}

func (f *faulty) Pass(ctx context.Context, in engine.Input, want engine.Want) (engine.Values, error) {
	if f.input != nil {
		f.input(&in, want)
	}
	v, err := f.Engine.Pass(ctx, in, want)
	if f.values != nil {
		f.values(&v)
	}
	return v, err
}

func (f *faulty) Propose(ctx context.Context, p engine.Proposal) (engine.Report, error) {
	r, err := f.Engine.Propose(ctx, p)
	if f.report != nil {
		f.report(&r)
	}
	return r, err
}

func (f *faulty) Discard() {
	if f.discard != nil {
		f.discard()
		return
	}
	f.Engine.Discard()
}

// broken is an opener whose multiplies are wrong.
type broken struct{ engine.Opener }

func (broken) SelfTest(engine.Spec) string {
	return "element (0, 1) of dyᵀ·x is 2 on avx2 fp32 and 1 in plain Go"
}

// ahead is the tokens of an input, each the one that follows it: what a leaking model reads.
func ahead(in *engine.Input) []int32 {
	tokens := slices.Clone(in.Tokens)
	for s := range in.Bounds[1:] {
		copy(tokens[in.Bounds[s]:in.Bounds[s+1]-1], in.Tokens[in.Bounds[s]+1:in.Bounds[s+1]])
	}
	return tokens
}

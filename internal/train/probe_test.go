package train

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/optim"
	"gimbal/internal/runlog"
)

// A run whose learning rate was probed is the run that was given the number: weights, moments and log, also through a
// resume, which does not probe again. Dropout takes part, as its masks are keyed by the step.
func TestProbeLeavesNoTrace(t *testing.T) {
	cfg := tiny(t, "train.steps=3000", "optim.lr=probe", "model.dropout=0.1", "eval.every=1500", "numeric.mode=fp32")
	dir := filepath.Join(t.TempDir(), "probed")
	interruptAfter(t, dir, 30, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{Out: dir, Hooks: h})
		return err
	})
	var plan *Plan
	interruptAfter(t, dir, 60, func(ctx context.Context, h Hooks) error {
		h.Plan = func(p *Plan) { plan = p }
		_, err := Resume(ctx, dir, ResumeOptions{Hooks: h})
		return err
	})
	probes := runlog.All[runlog.Probe](readLog(t, dir))
	if len(probes) != 1 {
		t.Fatalf("%d probes in the log", len(probes))
	}
	p := probes[0]
	lr := float64(p.LR)
	if n := len(p.Rates); p.Planned != 150 || n < 50 || n > 150 || len(p.Losses) != n || len(p.Smoothed) != n || !(lr > 0 && lr <= optim.MaxAutoLR && lr <= float64(p.Argmin)/2) {
		t.Errorf("probe of %d steps: rate %g, argmin %g: %+v", n, lr, float64(p.Argmin), p)
	}
	if i := slices.IndexFunc(plan.Rates, func(r optim.Rate) bool { return r.Rule == "probe" }); i < 0 || plan.Rates[i].LR != lr || plan.Schedule.Peak != lr {
		t.Errorf("the plan after the resume: peak %g, rates %+v", plan.Schedule.Peak, plan.Rates)
	}
	given := cfg.Clone()
	if err := given.SetPlanned("optim.lr", lr, "test"); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "given")
	interruptAfter(t, other, 60, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, given, Options{Out: other, Hooks: h})
		return err
	})
	sameRun(t, dir, other, 60)

	a, b := readLog(t, dir).Records[0].Value.(runlog.Start), readLog(t, other).Records[0].Value.(runlog.Start)
	if a.ConfigHash != b.ConfigHash {
		t.Error("the configurations differ in more than an origin")
	}
	again, err := config.Load(filepath.Join(dir, configName), nil)
	if err != nil || again.Optim.LR.Value != lr {
		t.Errorf("config.toml holds %v, %v", again.Optim.LR, err)
	}
	c, _, err := newest(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := readState(c)
	if err != nil || s.RateLimit != float64(p.Argmin) {
		t.Errorf("the saved limit is %g, the argmin %g, %v", s.RateLimit, float64(p.Argmin), err)
	}
}

// The range test learns, and takes back all it did, also when it is interrupted.
func TestRangeTestIsUndone(t *testing.T) {
	cfg := tiny(t, "train.steps=800", "optim.lr=probe", "eval.every=800")
	tr := newTrainer(t, tiny(t, "train.steps=800"))
	before := [][]float32{slices.Clone(tr.model.Params().Flat), slices.Clone(tr.adam.M), slices.Clone(tr.adam.V)}
	tr.cfg = cfg
	r, _, err := tr.rangeTest(context.Background(), 40)
	if err != nil {
		t.Fatal(err)
	}
	for i, now := range [][]float32{tr.model.Params().Flat, tr.adam.M, tr.adam.V} {
		if !slices.Equal(now, before[i]) {
			t.Errorf("slice %d was changed", i)
		}
	}
	if tr.state.Step != 0 {
		t.Errorf("stands at step %d", tr.state.Step)
	}
	if r.Losses[0] == r.Losses[len(r.Losses)-1] {
		t.Error("nothing was learned: the range test made no update")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := tr.rangeTest(ctx, 40); !errors.Is(err, context.Canceled) || !slices.Equal(tr.model.Params().Flat, before[0]) {
		t.Errorf("an interrupt: %v", err)
	}
}

// Where no probe can be made the rule auto stands in, and it is said aloud and written down.
func TestProbeStandIn(t *testing.T) {
	for name, tt := range map[string]struct {
		steps string
		opt   Options
		want  string
	}{
		"a short run": {"train.steps=60", Options{}, "fewer than the 150"},
		"a dry run":   {"train.steps=4000", Options{DryRun: true}, "up to 200 steps"},
	} {
		var plan *Plan
		var notes []string
		tt.opt.Hooks = Hooks{Plan: func(p *Plan) { plan = p }, Note: func(text string) { notes = append(notes, text) }}
		run(t, tiny(t, tt.steps, "optim.lr=probe", "eval.every=60"), tt.opt)
		if origin := plan.Config.Origin("optim.lr"); !strings.Contains(origin, tt.want) || !strings.HasPrefix(origin, "rule auto in place of probe") {
			t.Errorf("%s: origin %q", name, origin)
		}
		if !slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, "warning: no range test") }) {
			t.Errorf("%s: nothing is said: %q", name, notes)
		}
		_, multiplied := plan.Arch.Params()
		if want := optim.AutoLR(multiplied, 256); plan.Schedule.Peak != want {
			t.Errorf("%s: peak %g, not %g", name, plan.Schedule.Peak, want)
		}
	}
}

func TestNudgeCeiling(t *testing.T) {
	tr := &trainer{sched: optim.Schedule{Peak: 1e-2}}
	for limit, want := range map[float64]float64{0: maxNudge, 1.2e-2: 1.2, 2e-2: maxNudge, 5e-3: 1} {
		tr.state.RateLimit = limit
		if got := tr.nudgeCeiling(); got != want {
			t.Errorf("argmin %g: %g, not %g", limit, got, want)
		}
	}
}

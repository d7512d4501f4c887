package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/optim"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runstate"
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
	var planned *plan.Plan
	interruptAfter(t, dir, 60, func(ctx context.Context, h Hooks) error {
		h.Plan = func(p *plan.Plan, _ string, _ plan.Expected) { planned = p }
		_, err := Resume(ctx, dir, ResumeOptions{Hooks: h})
		return err
	})
	probes := runlog.All[runlog.Probe](readLog(t, dir))
	if len(probes) != 1 {
		t.Fatalf("%d probes in the log", len(probes))
	}
	p := probes[0]
	lr := float64(p.LR)
	if n := len(p.Rates); p.Planned != 150 || n < 50 || n > 150 || len(p.Losses) != n || len(p.Smoothed) != n ||
		!(lr > 0 && lr <= optim.Sizes{Muon: planned.Spec.Optim.Muon}.MaxLR() && lr <= float64(p.Argmin)/2) {
		t.Errorf("probe of %d steps: rate %g, argmin %g: %+v", n, lr, float64(p.Argmin), p)
	}
	if i := slices.IndexFunc(planned.Rate.Rules, func(r optim.Rate) bool { return r.Rule == "probe" }); i < 0 ||
		planned.Rate.Rules[i].LR != lr || planned.Rate.Schedule.Peak != lr {
		t.Errorf("the plan after the resume: peak %g, rates %+v", planned.Rate.Schedule.Peak, planned.Rate.Rules)
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
	again, err := config.Load(filepath.Join(dir, rundir.ConfigFile), nil)
	if err != nil || again.Optim.LR.Value != lr {
		t.Errorf("config.toml holds %v, %v", again.Optim.LR, err)
	}
	s, err := runstate.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Model.Close()
	if s.State.RateLimit != float64(p.Argmin) {
		t.Errorf("the saved limit is %g, the argmin %g", s.State.RateLimit, float64(p.Argmin))
	}
}

// The range test learns, and takes back all it did: weights, moments and gradients.
func TestRangeTestIsUndone(t *testing.T) {
	cfg := tiny(t, "train.steps=3000", "eval.every=3000", "numeric.mode=fp32")
	probed := cfg.Clone()
	if err := probed.SetPlanned("optim.lr", config.Rule{Name: "probe"}, "test"); err != nil {
		t.Fatal(err)
	}
	snapshot := func(r *run) string {
		s, err := r.engine.Get()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(s.Params, s.Slots)
	}
	opt := Options{seams: seams{unchecked: true}}
	r, err := prepare(context.Background(), probed, opt, false)
	defer r.close()
	if err != nil {
		t.Fatal(err)
	}
	test := r.plan.Rate.Test
	if test == nil || test.RangeTest == nil || test.Losses[0] == test.Losses[len(test.Losses)-1] {
		t.Fatalf("nothing was learned: the range test made no update: %+v", test)
	}
	if snapshot(r) != snapshot(newRun(t, cfg, Options{})) {
		t.Error("weights or moments are not those of a fresh run")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r, err := prepare(ctx, probed, opt, false); !errors.Is(err, context.Canceled) {
		r.close()
		t.Errorf("an interrupt: %v", err)
	}
}

// Where no probe can be made the rule auto stands in, and it is said aloud and written down.
func TestProbeStandIn(t *testing.T) {
	for name, tt := range map[string]struct {
		steps string
		dry   bool
		want  string
	}{
		"a short run": {"train.steps=60", false, "fewer than the 150"},
		"a dry run":   {"train.steps=4000", true, "up to 200 steps"},
	} {
		var notes []string
		opt := Options{Hooks: Hooks{Note: func(text string) { notes = append(notes, text) }}, seams: seams{unchecked: true}}
		r, err := prepare(context.Background(), tiny(t, tt.steps, "optim.lr=probe", "eval.every=60"), opt, tt.dry)
		if err != nil {
			t.Fatal(err)
		}
		p := r.plan
		r.close()
		if origin := p.Config.Origin("optim.lr"); !strings.Contains(origin, tt.want) ||
			!strings.HasPrefix(origin, "rule auto in place of probe") {
			t.Errorf("%s: origin %q", name, origin)
		}
		if !slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, "warning: no range test") }) {
			t.Errorf("%s: no warning: %q", name, notes)
		}
		if want := 2 * optim.AutoLR(p.Multiplied, 256); p.Rate.Schedule.Peak != want {
			t.Errorf("%s: peak %g, not %g", name, p.Rate.Schedule.Peak, want)
		}
	}
}

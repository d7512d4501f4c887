package plan

import (
	"math"
	"strings"
	"testing"
	"time"

	"gimbal/internal/config"
)

// A size that nobody chose grows with the tokens that the time allows, and no further than the text reaches.
func TestLargerWithTime(t *testing.T) {
	begun := func(settings ...string) (*trial, *config.Config) {
		sets := []config.Assignment{config.Set("data.paths=" + asked(t).Data.Paths[0]), config.Set("tokenizer.kind=bytes")}
		for _, s := range settings {
			sets = append(sets, config.Set(s))
		}
		cfg, err := config.Load("", sets)
		if err != nil {
			t.Fatal(err)
		}
		d := draft(t, cfg)
		before := d.Config.Clone()
		tr, err := d.begin(t.Context(), Request{Opener: machine{}})
		if err != nil {
			t.Fatal(err)
		}
		return tr, before
	}
	tr, before := begun()
	text := tr.draft.Text.Train.Tokens()
	if tr.plan.Config.Model.Preset != "nano" || plannedEpochs*text > 1e6 {
		t.Fatalf("it begins with %s on %d tokens", tr.plan.Config.Model.Preset, text)
	}
	if name, err := tr.larger(before, pace{token: 1e-9}, time.Hour); name != "" || err != nil {
		t.Errorf("for a text of %d tokens: %q, %v", text, name, err)
	}
	sizes := sizes[:]
	defer func(old int64) { sizes[0].weights = old }(sizes[0].weights)
	sizes[0].weights = plannedEpochs * text / tokensPerWeight / 2 // the text is enough for the first
	if name, err := tr.larger(before, pace{token: 1e-9}, time.Hour); name != sizes[0].name || err != nil {
		t.Errorf("with time: %q, %v", name, err)
	}
	tr.plan.Hardware.Free = 1 << 20
	if name, err := tr.larger(before, pace{token: 1e-9}, time.Hour); name != "" || err != nil {
		t.Errorf("without memory: %q, %v", name, err)
	}
	tr.plan.Hardware.Free = 0
	if name, err := tr.larger(before, pace{token: 1e-3}, time.Second); name != "" || err != nil {
		t.Errorf("without time: %q, %v", name, err)
	}
	tr, before = begun("model.preset=nano")
	if name, err := tr.larger(before, pace{token: 1e-9}, time.Hour); name != "" || err != nil {
		t.Errorf("a size that was chosen: %q, %v", name, err)
	}
}

// Muon is planned where its update is a small part of a step, and for new weights only.
func TestOptimizer(t *testing.T) {
	for _, tt := range []struct{ batch, want string }{{"4096", "muon"}, {"256", "muon"}, {"16", "adamw"}} {
		p := made(t, machine{}, "train.batch_tokens="+tt.batch, "train.context=16")
		if c := p.Config; c.Optim.Kind != tt.want || p.Spec.Optim.Muon != (tt.want == "muon") ||
			!strings.HasPrefix(c.Origin("optim.kind"), "planned: ") {
			t.Errorf("%s tokens a batch: %s (%s), %+v", tt.batch, c.Optim.Kind, c.Origin("optim.kind"), p.Spec.Optim)
		}
	}
	if p := made(t, machine{}, "optim.kind=muon", "train.batch_tokens=16", "train.context=16"); !p.Spec.Optim.Muon {
		t.Error("Muon that was asked for was not planned")
	}
	rate := func(kind string) float64 {
		return made(t, machine{}, "optim.kind="+kind, "optim.lr=auto", "model.width=128").Rate.Schedule.Peak
	}
	if muon, adamw := rate("muon"), rate("adamw"); muon != 2*adamw {
		t.Errorf("rates %g for Muon and %g for AdamW", muon, adamw)
	}
}

// Short runs have a moment that forgets sooner, unless somebody chose it or the weights are trained already.
func TestMomentum(t *testing.T) {
	for _, tt := range []struct {
		settings []string
		trained  bool
		want     float64
	}{
		{settings: []string{"train.steps=1499"}, want: shortMomentum},
		{settings: []string{"train.steps=1500"}, want: 0.95},
		{settings: []string{"train.steps=400"}, trained: true, want: 0.95},
		{settings: []string{"train.steps=400", "optim.momentum=0.95"}, want: 0.95},
		{settings: []string{"train.steps=400", "optim.momentum=0.8"}, want: 0.8},
		{settings: []string{"train.steps=400", "optim.kind=adamw"}, want: 0.95},
		{settings: []string{"train.steps=auto", "train.budget=2.5"}, want: shortMomentum},
		{settings: []string{"train.steps=auto", "train.budget=3"}, want: 0.95},
	} {
		cfg := asked(t, append([]string{"optim.kind=muon"}, tt.settings...)...)
		if err := chooseMomentum(cfg, tt.trained); err != nil || cfg.Optim.Momentum != tt.want {
			t.Errorf("%v, trained %v: %v, %v", tt.settings, tt.trained, cfg.Optim.Momentum, err)
		}
		if tt.want == shortMomentum && !strings.HasPrefix(cfg.Origin("optim.momentum"), "planned: ") {
			t.Errorf("%v: the origin is %q", tt.settings, cfg.Origin("optim.momentum"))
		}
	}
	if p := made(t, machine{}, "optim.kind=muon", "train.steps=400"); p.Spec.Optim.Momentum != shortMomentum {
		t.Errorf("%+v", p.Spec.Optim)
	}
}

// The operations of an update by Muon are those of its multiplies.
func TestMuonWork(t *testing.T) {
	p := made(t, machine{}, "optim.kind=muon", "model.layers=1", "model.width=64", "model.heads=1", "model.mlp=128")
	want := 0.0
	for _, m := range [][2]float64{{64, 64}, {64, 64}, {64, 64}, {64, 64}, {128, 64}, {128, 64}, {64, 128}} {
		n, long := min(m[0], m[1]), max(m[0], m[1])
		want += 5 * (n*n*long + n*n*n + 2*n*n*long) // Gram matrix, its square, and what they are applied to
	}
	if got := p.muonWork(); math.Abs(got-want) > 1e-6*want {
		t.Errorf("%g operations, want %g", got, want)
	}
	if batch := float64(p.leastBatch()); math.Abs(want/(6*float64(p.Multiplied)*batch)-muonShare) > 0.1*muonShare {
		t.Errorf("a batch of at least %g tokens", batch)
	}
}

// A budget beside a number of steps does nothing, and the plan says so.
func TestBudgetBesideSteps(t *testing.T) {
	told := func(settings ...string) bool {
		warnings := strings.Join(made(t, machine{}, settings...).Warnings, "\n")
		return strings.Contains(warnings, "train.budget (--set) is not used")
	}
	if told() || !told("train.budget=5") {
		t.Error("a budget that is not used is not told, or one that was not given is")
	}
}

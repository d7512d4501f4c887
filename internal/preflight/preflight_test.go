package preflight

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/runlog"
)

func TestCleanRuns(t *testing.T) {
	for _, settings := range [][]string{
		{}, {"model.shape=llama"}, {"model.shape=gpt2"}, {"model.shape=qwen2", "model.tie=false"},
		{"numeric.mode=fp32", "model.dropout=0.1"},
		{"numeric.mode=bf16", "model.width=64", "model.heads=2", "model.layers=4"},
		{"numeric.mode=fp32", "train.context=128", "train.micro_tokens=256"},
		{"data.start=none"}, {"train.steps=1"}, {"train.context=1", "train.micro_tokens=1"},
	} {
		rec, err := newRun(t, settings...).Check(context.Background())
		if err != nil || len(spoken(rec)) > 0 {
			t.Errorf("%v: %v, %+v", settings, err, rec)
			continue
		}
		if len(rec.Checks) != len(checks)+1 {
			t.Fatalf("%v: %d checks", settings, len(rec.Checks))
		}
		for i, c := range rec.Checks {
			code := "P-DATA" // the last
			if i < len(checks) {
				code = checks[i].code
			}
			if c.Code != code || c.Message == "" || c.Result == "" {
				t.Errorf("%v: check %d is %+v", settings, i, c)
			}
			if c.Result == resultSkipped && len(settings) == 0 {
				t.Errorf("%s is skipped: %s", c.Code, c.Message)
			}
		}
	}
}

// snapshot is all that a preflight must leave as it is.
type snapshot struct {
	toml     string
	plan     any
	weights  [][]float32 // parameters, and slots behind them
	gradient float64
	batches  []data.Batch
}

// see returns what the run r is, as e holds it.
func see(t *testing.T, r *Run, e engine.Engine) (s snapshot) {
	t.Helper()
	s.toml, s.plan = string(r.Plan.Config.TOML()), *r.Plan
	report, err := e.Propose(context.Background(), engine.Proposal{Step: 1, Clip: 1, Detail: engine.NoUpdate})
	if err != nil {
		t.Fatal(err)
	}
	s.gradient = report.GradNorm
	state, err := e.Get()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range slices.Concat(state.Params, state.Slots) {
		s.weights = append(s.weights, slices.Clone(entry.Data))
	}
	loader, err := data.NewLoader(r.Text.Train, r.Plan.Config.Train.Seed, 256)
	if err != nil {
		t.Fatal(err)
	}
	s.batches = make([]data.Batch, 8)
	cur := data.Cursor{}
	for i := range s.batches {
		cur = loader.Next(&s.batches[i], cur)
	}
	return s
}

// A preflight leaves the run as it is. Engines and functions that do change something are found.
func TestChangesNothing(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings []string
		plant    func(c *checker)
		same     bool
	}{
		{"sound", nil, nil, true},
		{"sound, with dropout", []string{"model.dropout=0.2", "model.shape=gpt2"}, nil, true},
		{"an update", nil, func(c *checker) {
			inner := c.Engine
			c.Engine = &faulty{Engine: inner, report: func(*engine.Report) {
				inner.Commit(engine.Update{Step: 3, LR: 1e-9, Scale: 1})
			}}
		}, false},
		{"a gradient that is left", nil, func(c *checker) {
			c.Engine = &faulty{Engine: c.Engine, discard: func() {}}
		}, false},
		{"a configuration that is written to", nil, func(c *checker) {
			right := c.rate
			c.rate = func(step int64) float64 { c.Plan.Config.Train.MicroTokens = 64; return right(step) }
		}, false},
	} {
		r := newRun(t, tt.settings...)
		train(t, r, 2)
		e := r.Engine
		before := see(t, r, e)
		if before.gradient != 0 || len(before.weights) != 3*len(e.Info().Tensors) {
			t.Fatalf("%s: gradient %g, %d tensors", tt.name, before.gradient, len(before.weights))
		}
		c := checked(t, r)
		if tt.plant != nil {
			tt.plant(c)
		}
		if _, err := c.run(context.Background()); err != nil && tt.same {
			t.Errorf("%s: %v", tt.name, err)
		}
		if same := reflect.DeepEqual(before, see(t, r, e)); same != tt.same {
			t.Errorf("%s: same is %v", tt.name, same)
		}
	}
}

// train makes a few updates, so that no slot is zero.
func train(t *testing.T, r *Run, steps int64) {
	t.Helper()
	ctx := context.Background()
	loader, err := data.NewLoader(r.Text.Train, 1, 256)
	if err != nil {
		t.Fatal(err)
	}
	var b data.Batch
	cur := data.Cursor{}
	acc := engine.Accumulator{MicroTokens: r.Plan.Spec.MicroTokens}
	for step := int64(1); step <= steps; step++ {
		cur = loader.Next(&b, cur)
		r.Engine.Discard()
		if err := acc.Gradient(ctx, r.Engine, &b, step); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Engine.Commit(engine.Update{Step: step, LR: r.Plan.RateAt(step), Scale: 1}); err != nil {
			t.Fatal(err)
		}
	}
	r.Engine.Discard()
}

// What is refused leaves nothing behind. A run that is made longer is planned anew, and refused where its new end comes
// too soon after a restart.
func TestRefusal(t *testing.T) {
	r := newRun(t, "train.steps=100", "schedule.period=15")
	rec, err := r.Check(context.Background())
	var refused *Refusal
	if !errors.As(err, &refused) || refused.Exit != 2 || len(refused.Failed) != 1 {
		t.Fatalf("error %v", err)
	}
	for _, part := range []string{"refused before its first step", "P-RESTART-LATE: the last", "; choose another sched"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %v lacks %q", err, part)
		}
	}
	if rec == nil || len(rec.Checks) != len(checks)+1 {
		t.Errorf("record %+v", rec)
	}
	if _, err := os.Lstat(r.Out); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something lies at %s: %v", r.Out, err)
	}

	for steps, want := range map[string]bool{"56": false, "330": true} {
		longer := newRun(t, "train.steps="+steps, "schedule.period=30")
		longer.Weights = Saved
		if _, err := longer.Check(context.Background()); errors.As(err, &refused) != want {
			t.Errorf("to %s steps: %v", steps, err)
		}
	}
}

// Warnings become events; the share of the warmup is not told again when a run goes on.
func TestEvents(t *testing.T) {
	r := newRun(t, "train.steps=100", "schedule.period=15", "schedule.late_restart=true", "schedule.warmup=40",
		"schedule.warmup_exact=true")
	rec, err := r.Check(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	codes := func(events []runlog.Event) (all []string) {
		for _, e := range events {
			if e.Severity != "warning" || e.Action != "none" || !strings.Contains(e.Message, "; ") || len(e.Numbers) == 0 {
				t.Errorf("%+v", e)
			}
			all = append(all, e.Code)
		}
		return all
	}
	if got := codes(Events(rec, false)); !slices.Equal(got, []string{"W-WARMUP-SHARE", "P-RESTART-LATE"}) {
		t.Errorf("a new run: %v", got)
	}
	if got := codes(Events(rec, true)); !slices.Equal(got, []string{"P-RESTART-LATE"}) {
		t.Errorf("a run that goes on: %v", got)
	}
}

func TestSummary(t *testing.T) {
	rec := &runlog.Preflight{Seconds: 1.26}
	for _, result := range []string{resultOK, resultWarning, resultOK, resultInfo, resultSkipped, resultWarning} {
		rec.Checks = append(rec.Checks, runlog.Check{Result: result})
	}
	if got, want := Summary(rec), "preflight: 6 checks, 2 warnings, 1 note, 1 skipped, 1.3 s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A resume is checked, too: weights that are no use are refused before a step is made.
func TestWeightsOfZero(t *testing.T) {
	r := newRun(t)
	zero, err := r.Opener.Open(r.Plan.Spec) // its weights are zero until they are set
	if err != nil {
		t.Fatal(err)
	}
	r.Engine, r.Weights = zero, Saved
	rec, err := r.Check(context.Background())
	var refused *Refusal
	if !errors.As(err, &refused) || refused.Exit != 3 {
		t.Fatal(err)
	}
	if got := spoken(rec); !slices.Contains(got, "P-LEAK") || !slices.Contains(got, "P-LEAK-GRADIENT") {
		t.Errorf("%v speak", got)
	}
}

// Weights that became NaN in memory change no bit of anything, and are refused as well.
func TestWeightsThatAreNotFinite(t *testing.T) {
	r := newRun(t)
	s, err := r.Engine.Get()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.Params { // which are the engine's own; Set takes no such weights
		for i := range e.Data {
			e.Data[i] = float32(math.NaN())
		}
	}
	var refused *Refusal
	if rec, err := r.Check(context.Background()); !errors.As(err, &refused) || refused.Exit != 3 {
		t.Errorf("%v, %+v", err, rec)
	}
}

// An engine that fails ends the checks, and its error is passed on.
func TestEngineFails(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var refused *Refusal
	r := newRun(t)
	if rec, err := r.Check(ctx); rec != nil || !errors.Is(err, context.Canceled) || errors.As(err, &refused) {
		t.Errorf("%v, %+v", err, rec)
	}
	lost, inner := errors.New("lost"), r.Engine
	for call := 1; ; call++ {
		e := &losing{Engine: inner, left: call, err: lost}
		r.Engine = e
		if _, err := r.Check(context.Background()); e.left > 0 {
			if err != nil || call < 20 {
				t.Errorf("%d calls: %v", call, err)
			}
			break
		} else if !errors.Is(err, lost) || !strings.HasPrefix(err.Error(), "preflight: P-") {
			t.Errorf("call %d: %v", call, err)
		}
	}
}

// losing is an engine whose calls fail from one on.
type losing struct {
	engine.Engine
	left int // calls; the last of them fails, and all behind it
	err  error
}

func (l *losing) Pass(ctx context.Context, in engine.Input, want engine.Want) (engine.Values, error) {
	if l.left--; l.left <= 0 {
		return engine.Values{}, l.err
	}
	return l.Engine.Pass(ctx, in, want)
}

func (l *losing) Propose(ctx context.Context, p engine.Proposal) (engine.Report, error) {
	if l.left--; l.left <= 0 {
		return engine.Report{}, l.err
	}
	return l.Engine.Propose(ctx, p)
}

package train

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"gimbal/internal/engine"
	"gimbal/internal/runlog"
)

// paced is an engine that takes its time, and no processor: other programs do not change its pace much.
type paced struct {
	engine.Engine
	update time.Duration
}

const tokenPace = 80 * time.Microsecond // of a gradient; a pass without one takes a third

func (p paced) Pass(ctx context.Context, in engine.Input, want engine.Want) (engine.Values, error) {
	pause := time.Duration(len(in.Tokens)) * tokenPace
	if want&engine.Gradient == 0 {
		pause /= 3
	}
	time.Sleep(pause)
	return p.Engine.Pass(ctx, in, want)
}

func (p paced) Propose(ctx context.Context, q engine.Proposal) (engine.Report, error) {
	time.Sleep(p.update)
	return p.Engine.Propose(ctx, q)
}

// pacedOpens opens a scripted engine of such a pace.
type pacedOpens struct {
	opens
	update time.Duration
}

func (o pacedOpens) Open(s engine.Spec) (engine.Engine, error) {
	e, err := o.opens.Open(s)
	return paced{e, o.update}, err
}

// A run that is planned by time ends when its plan says, and uses the time: preparing, evaluations and saves count.
// Dear updates are planned for, too: a plan that left them out would take twice the time here.
func TestBudgetIsKept(t *testing.T) {
	const budget = 4 * time.Second
	for _, update := range []time.Duration{0, 60 * time.Millisecond} {
		cfg := tiny(t, "train.budget=0.0666667", "train.steps=auto", "numeric.mode=fp32", "judge.early_stop=off",
			"optim.kind=adamw", "eval.prompts=1", "eval.samples=1")
		began := time.Now()
		r := finished(t, cfg, Options{Out: filepath.Join(t.TempDir(), "run"), seams: seams{unchecked: true,
			opener: pacedOpens{opens{&scripted{loss: falling, norm: steady}}, update}}})
		took := time.Since(began)
		if took < budget*5/10 || took > budget*16/10 {
			t.Errorf("updates of %v: %d steps took %v of %v", update, r.Step, took, budget)
		}
		if p := runlog.All[runlog.Plan](readLog(t, r.Dir)); len(p) != 1 || p[0].Steps != r.Step {
			t.Errorf("updates of %v: %d steps of the plan %+v", update, r.Step, p)
		}
		t.Logf("updates of %v: %d steps, %v", update, r.Step, took)
	}
}

package train

import (
	"context"

	"gimbal/internal/config"
	"gimbal/internal/runlog"
)

// Diagnosis is what the preflight says about a run that is not begun, or not continued.
type Diagnosis struct {
	*runlog.Preflight
	Plan *Plan `json:"-"`
}

// Doctor makes the checks of the preflight for the run that cfg and opt describe, and begins nothing. With an error of
// the preflight the diagnosis is there, too; the other errors are those of Run.
func Doctor(ctx context.Context, cfg *config.Config, opt Options) (d *Diagnosis, err error) {
	opt.DryRun = true // no range test: it would take as long as the start of the run
	opt.checked = func(p *Plan) { d = &Diagnosis{p.Preflight, p} }
	_, err = Run(ctx, cfg, opt)
	return d, err
}

// DoctorRun makes the checks of the preflight for going on with the run in dir, and only reads it: it may be in progress.
func DoctorRun(ctx context.Context, dir string, opt ResumeOptions) (*Diagnosis, error) {
	cfg, err := runConfig(dir)
	if err != nil {
		return nil, err
	}
	c, refused, saved, err := newestState(dir)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	opt.Hooks.note("checking %s at step %d of %d", dir, saved.Step, cfg.Train.Steps)
	text, arch, err := reprepare(ctx, cfg, c, saved, opt.Workers)
	if err != nil {
		return nil, err
	}
	defer text.set.Close()
	t, err := assemble(cfg, text, Options{Workers: opt.Workers, Hooks: opt.Hooks, arch: arch})
	if err != nil {
		return nil, err
	}
	defer t.close()
	if err := t.finishPlan(ctx); err != nil {
		return nil, err
	}
	if err := t.restore(c); err != nil {
		return nil, err
	}
	err = t.preflight(dir)
	d := &Diagnosis{t.plan.Preflight, t.plan}
	for _, r := range refused {
		d.Checks = append(d.Checks, runlog.Check{Code: "F-CHECKPOINT-REFUSED", Result: resultWarning, Message: r, Advice: "a resume takes the newest that verifies, " + c.Path()})
	}
	return d, err
}

package train

import (
	"cmp"
	"context"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/device"
	"gimbal/internal/exit"
	"gimbal/internal/hub"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// planFor makes the plan of a run on a card that is not there. Nothing can be checked on it.
func planFor(ctx context.Context, cfg *config.Config, opt Options) (d *Diagnosis, err error) {
	defer func() { err = exit.Preparing(ctx, err, exit.NothingBegun) }()
	rec, began := &recorder{hooks: opt.Hooks}, time.Now()
	var base *hub.Model
	if opt.From != "" {
		if base, err = hub.OpenModel(opt.From, ""); err != nil {
			return nil, err
		}
		defer base.Close()
		cfg = plan.Anew(cfg)
	}
	draft, err := plan.OpenText(ctx, cfg, plan.TextOptions{Model: base, Out: opt.Out, Workers: opt.Workers,
		Spare: cmp.Or(opt.Out, rundir.Parent), Note: rec.detail})
	if err != nil {
		return nil, err
	}
	defer draft.Close()
	o, err := device.Target(ctx, draft.Config.Numeric, opt.Target, rec.note)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	p, err := draft.Make(ctx, plan.Request{Opener: o, Began: began, Dry: true, Note: rec.note})
	if err != nil {
		return nil, err
	}
	for _, w := range p.Warnings {
		rec.note("warning: %s", w)
	}
	return &Diagnosis{&runlog.Preflight{}, p}, nil
}

package measure

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/device"
	"gimbal/internal/exit"
	"gimbal/internal/hub"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
)

// PlanOptions say what is planned.
type PlanOptions struct {
	Target  string // a card that is not there, one of device.Targets
	Out     string // directory of the run; empty: one below rundir.Parent
	From    string // run or checkpoint to take weights and tokenizer from; empty: fresh weights
	Workers int
	Note    func(text string) // told what a person should read
}

// Plan makes the plan of a run on a card that is not there: memory is that of programs that are compiled for it.
// Nothing is opened or checked.
func Plan(ctx context.Context, cfg *config.Config, opt PlanOptions) (p *plan.Plan, err error) {
	defer func() { err = exit.Preparing(ctx, err, exit.NothingBegun) }()
	began, say := time.Now(), func(format string, args ...any) { opt.Note(fmt.Sprintf(format, args...)) }
	var base *hub.Model
	if opt.From != "" {
		if base, err = hub.OpenModel(opt.From, ""); err != nil {
			return nil, err
		}
		defer base.Close()
		cfg = plan.Anew(cfg)
	}
	draft, err := plan.OpenText(ctx, cfg, plan.TextOptions{Model: base, Out: opt.Out, Workers: opt.Workers,
		Spare: cmp.Or(opt.Out, rundir.Parent)})
	if err != nil {
		return nil, err
	}
	defer draft.Close()
	for _, note := range draft.Notes {
		say("%s", note)
	}
	o, err := device.Target(ctx, draft.Config.Numeric, opt.Target, say)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	if p, err = draft.Make(ctx, plan.Request{Opener: o, Began: began, Dry: true, Note: say}); err != nil {
		return nil, err
	}
	for _, w := range p.Warnings {
		say("warning: %s", w)
	}
	return p, nil
}

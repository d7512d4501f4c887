package plan

import (
	"cmp"
	"context"
	"fmt"

	"gimbal/internal/engine"
)

// deviceTokens is the tokens of a pass from which on a device is busy: fewer are not planned to save memory, as long as
// checkpointing can.
const deviceTokens = 8192

// chooseMemory picks the largest pass and the cheapest checkpointing that fit the memory there is, and refuses what
// does not fit at all.
func (p *Plan) chooseMemory(ctx context.Context, d *Draft, o engine.Opener) error {
	cfg := p.Config
	modes := []string{cfg.Numeric.Checkpointing}
	if modes[0] == "auto" {
		modes = []string{"none", "attention", "block"}
	}
	p.Memory.Writing = p.writingBytes(d)
	for i, mode := range modes {
		choose := p.holds
		if i == 0 && cfg.Train.MicroTokens == 0 {
			choose = p.choosePass
		}
		fits, err := choose(ctx, o, mode)
		if err != nil {
			return err
		}
		if fits {
			if cfg.Numeric.Checkpointing == "auto" {
				return cfg.SetPlanned("numeric.checkpointing", mode, "planned: the fastest that fits the memory")
			}
			return nil
		}
	}
	return fmt.Errorf("%w: the run needs %s and %s are free; lower train.micro_tokens (%d), train.context or the "+
		"size of "+
		"the model", ErrMemory, BytesText(p.Memory.Total()), BytesText(p.Hardware.Free), cfg.Train.MicroTokens)
}

// measurer is an opener that can say what an engine takes better than by its shapes, and that takes a while to do so:
// one of devices compiles the program of a pass.
type measurer interface {
	Measure(context.Context, engine.Spec) (engine.Memory, error)
}

// holds reports whether the memory there is holds the run with a kind of checkpointing.
func (p *Plan) holds(ctx context.Context, o engine.Opener, checkpointing string) (fits bool, err error) {
	p.Spec.Checkpointing = checkpointing
	if m, ok := o.(measurer); ok {
		p.Memory.Memory, err = m.Measure(ctx, p.Spec)
	} else {
		p.Memory.Memory = o.Estimate(p.Spec)
	}
	return p.Memory.fits(p.Hardware.Free), err
}

// choosePass decides the tokens of a pass on a device: the whole batch, or an even part of it that fits. What does not
// fit tells how much less will, because activations grow with the tokens and the rest does not: so few are measured.
func (p *Plan) choosePass(ctx context.Context, o engine.Opener, checkpointing string) (fits bool, err error) {
	cfg, parts := p.Config, 1
	tokens := func(parts int) int { return (cfg.Train.BatchTokens + parts - 1) / parts }
	least := max(cfg.Train.Context, deviceTokens*max(1, p.Hardware.Workers))
	for {
		p.Spec.MicroTokens = tokens(parts)
		if fits, err = p.holds(ctx, o, checkpointing); err != nil {
			return false, err
		}
		if fits || tokens(2*parts) < least {
			return fits, cfg.SetPlanned("train.micro_tokens", p.Spec.MicroTokens,
				"planned: by the memory of the device")
		}
		takes := p.Memory.Model - 8*p.Params // by activations
		room := MemoryShare*float64(p.Hardware.Free) - float64(p.Memory.Total()-takes)
		for before := parts; ; {
			parts *= 2
			if room*float64(parts) >= float64(takes)*float64(before) || tokens(2*parts) < least {
				break
			}
		}
	}
}

// chooseCopy takes memory for a copy of what is saved, if all the rest leaves room for it. That of devices is not where
// the copy lies.
func (p *Plan) chooseCopy() {
	p.Memory.Copy = 4*cmp.Or(p.Trained, p.Params) + p.Memory.Slots
	if p.Hardware.Device == "" && !p.Memory.fits(p.Hardware.Free) {
		p.Memory.Copy = 0
	}
}

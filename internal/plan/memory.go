package plan

import (
	"fmt"

	"gimbal/internal/engine"
)

// deviceTokens is the tokens of a pass from which on a device is busy: fewer are not planned to save memory, as long as
// checkpointing can.
const deviceTokens = 8192

// chooseMemory picks the largest pass and the cheapest checkpointing that fit the memory there is, and refuses what
// does not fit at all.
func (p *Plan) chooseMemory(d *Draft, o engine.Opener) error {
	cfg := p.Config
	modes := []string{cfg.Numeric.Checkpointing}
	if modes[0] == "auto" {
		modes = []string{"none", "attention", "block"}
	}
	p.Memory.Writing = p.writingBytes(d)
	if cfg.Train.MicroTokens == 0 {
		if err := p.choosePass(o, modes[0]); err != nil {
			return err
		}
	}
	for _, mode := range modes {
		if p.holds(o, mode) {
			if cfg.Numeric.Checkpointing == "auto" {
				return cfg.SetPlanned("numeric.checkpointing", mode, "planned: the fastest that fits the memory")
			}
			return nil
		}
	}
	return fmt.Errorf("%w: the run needs %s and %s are free; lower train.micro_tokens (%d), train.context or the size of "+
		"the model", ErrMemory, BytesText(p.Memory.Total()), BytesText(p.Hardware.Free), cfg.Train.MicroTokens)
}

// holds reports whether the memory there is holds the run with a kind of checkpointing.
func (p *Plan) holds(o engine.Opener, checkpointing string) bool {
	p.Spec.Checkpointing = checkpointing
	p.Memory.Memory = o.Estimate(p.Spec)
	return p.Memory.fits(p.Hardware.Free)
}

// choosePass decides the tokens of a pass on a device: the whole batch, or an even part of it that fits. An estimate
// there compiles a program, so what does not fit tells how much less will: activations grow with the tokens, and the
// rest does not.
func (p *Plan) choosePass(o engine.Opener, checkpointing string) error {
	cfg, parts := p.Config, 1
	tokens := func(parts int) int { return (cfg.Train.BatchTokens + parts - 1) / parts }
	least := max(cfg.Train.Context, deviceTokens*max(1, p.Hardware.Workers))
	for p.Spec.MicroTokens = tokens(1); !p.holds(o, checkpointing) && tokens(2*parts) >= least; {
		takes := p.Memory.Model - 8*p.Params // by activations
		room := MemoryShare*float64(p.Hardware.Free) - float64(p.Memory.Total()-takes)
		for before := parts; ; {
			parts *= 2
			if room*float64(parts) >= float64(takes)*float64(before) || tokens(2*parts) < least {
				break
			}
		}
		p.Spec.MicroTokens = tokens(parts)
	}
	return cfg.SetPlanned("train.micro_tokens", p.Spec.MicroTokens, "planned: by the memory of the device")
}

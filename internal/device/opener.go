package device

import (
	"fmt"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/engine"
	"gimbal/internal/model"
)

// Options are the choices of an opener.
type Options struct {
	Devices   int                              // that train together; 0: all of the session
	Attention string                           // plain, blocks or cudnn; empty: the fastest that passes its test
	Flags     string                           // of the compiler: the bits depend on them
	Note      func(format string, args ...any) // told what was chosen; nil: nobody
}

// New returns the opener of engines on the devices of a session, which Close closes.
func New(s Session, o Options) engine.Opener {
	if n := len(s.Plugin().Devices); o.Devices == 0 || o.Devices > n {
		o.Devices = n
	}
	if o.Note == nil {
		o.Note = func(string, ...any) {}
	}
	return &opener{session: s, options: o}
}

type opener struct {
	session   Session
	options   Options
	attention string // that passed its test; empty: not tested
}

// name is the platform and the kind of the devices.
func (o *opener) name() string {
	p := o.session.Plugin()
	name := p.Platform
	if len(p.Devices) > 0 && !strings.EqualFold(p.Devices[0].Kind, p.Platform) {
		name += " " + p.Devices[0].Kind
	}
	return name
}

// Hardware implements engine.Opener. Workers are devices.
func (o *opener) Hardware() engine.Hardware {
	p := o.session.Plugin()
	h := engine.Hardware{Name: o.name(), Workers: o.options.Devices}
	if p.Platform != "cpu" {
		h.FasterBF16, h.BF16 = true, "bf16"
	}
	if len(p.Devices) > 0 {
		h.Free = p.Devices[0].Memory
	}
	return h
}

// numerics names what the bits depend on.
func (o *opener) numerics(mode string) string {
	p := o.session.Plugin()
	s := fmt.Sprintf("%s plugin %s %s", o.name(), p.Version, mode)
	if o.options.Devices > 1 {
		s += fmt.Sprintf(" devices %d", o.options.Devices)
	}
	if o.options.Flags != "" {
		s += " " + o.options.Flags
	}
	return s
}

// rowsOf returns the rows of a pass on each device, and their length.
func (o *opener) rowsOf(s engine.Spec) (count, length int) {
	length = min(s.Arch.Context, s.MicroTokens)
	if length <= 0 {
		return 0, 0
	}
	per := o.options.Devices * length
	return (s.MicroTokens + per - 1) / per, length
}

// Estimate implements engine.Opener.
func (o *opener) Estimate(s engine.Spec) engine.Memory {
	params, _ := s.Arch.Params()
	return engine.Memory{Model: 8*params + activations(s.Arch, s), Slots: 8 * params}
}

func activations(a config.Arch, s engine.Spec) int64 {
	return model.Memory(a, model.Options{MicroTokens: s.MicroTokens, Checkpointing: s.Checkpointing, Workers: 1}).Total
}

func (o *opener) Open(s engine.Spec) (engine.Engine, error) {
	return nil, fmt.Errorf("device: engines are not there yet")
}

func (o *opener) SelfTest(engine.Spec) string { return "" }

// Close implements engine.Opener.
func (o *opener) Close() { o.session.Close() }

package device

import (
	"context"
	"fmt"
	"strings"

	"gimbal/internal/engine"
	"gimbal/internal/model"
	"gimbal/internal/param"
)

// EngineOptions are the choices of engines.
type EngineOptions struct {
	Devices   int                              // that train together; 0: all of the session
	Sharded   bool                             // each device holds a part of each parameter
	Attention string                           // plain, blocks or cudnn; empty: the fastest that passes its test
	Untested  bool                             // Attention is not tested: nothing can run
	Flags     string                           // of the compiler: the bits depend on them
	Note      func(format string, args ...any) // told what was chosen; nil: nobody
}

// New returns the opener of engines on the devices of a session, which Close closes.
func New(s Session, o EngineOptions) engine.Opener {
	if o.Devices == 0 {
		o.Devices = max(1, len(s.Plugin().Devices))
	}
	if o.Note == nil {
		o.Note = func(string, ...any) {}
	}
	return &opener{session: s, options: o, tested: map[string]error{}}
}

type opener struct {
	session Session
	options EngineOptions
	tested  map[string]error // kinds of attention, by what their test depends on

	attention string // that was chosen last
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
	h := engine.Hardware{Name: o.name(), Device: p.Platform, Attention: o.attention, Workers: o.options.Devices}
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
		if o.options.Sharded {
			s += " parameters sharded"
		}
	}
	if o.options.Flags != "" {
		s += " " + o.options.Flags
	}
	return s
}

// rowsOf returns the rows of a pass on each device, and their length.
func (o *opener) rowsOf(s engine.Spec) (count, length int) {
	length = min(s.Arch.Context, s.MicroTokens)
	return up(s.MicroTokens, o.options.Devices*length), length
}

// up is n/d, rounded up.
func up(n, d int) int { return (n + d - 1) / d }

// modelOptions are those of the model of a spec.
func modelOptions(s engine.Spec) model.Options {
	return model.Options{MicroTokens: s.MicroTokens, Checkpointing: s.Checkpointing, Mode: s.Mode, Adapter: s.Adapter,
		Forward: s.Forward, Workers: 1}
}

// Estimate implements engine.Opener. It counts what the shapes tell: parameters, gradients, and what the layers of the
// CPU engine keep of as many positions. Measure asks the compiler.
func (o *opener) Estimate(s engine.Spec) engine.Memory {
	count, length := o.rowsOf(s)
	rows := s
	rows.MicroTokens = count * length
	m := engine.Memory{Model: model.Memory(s.Arch, modelOptions(rows)).Total}
	if !s.Forward {
		_, params := param.TrainedLayout(s.Arch, s.Adapter)
		m.Slots = 8 * int64(params) / int64(o.options.Devices)
	}
	return m
}

// Measurer is an opener that asks the compiler.
type Measurer interface {
	Measure(context.Context, engine.Spec) (engine.Memory, error)
}

// Measure compiles the pass of a spec and returns the memory of an engine on each device.
func (o *opener) Measure(ctx context.Context, s engine.Spec) (m engine.Memory, err error) {
	m = o.Estimate(s)
	attention, err := o.attentionOf(ctx, s)
	if err != nil {
		return m, err
	}
	e := o.engine(s, attention)
	kind := "gradient"
	if s.Forward {
		kind = "forward"
	}
	e.pass.Dropout = max(s.Arch.Dropout, s.Adapter.Dropout) > 0 && !s.Forward
	x, err := e.program(ctx, kind, e.pass)
	if err == nil {
		m.Model = x.Memory.Peak()
	}
	return m, err
}

// Close implements engine.Opener.
func (o *opener) Close() { o.session.Close() }

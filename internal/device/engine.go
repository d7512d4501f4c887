package device

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gimbal/internal/engine"
	"gimbal/internal/graph"
	"gimbal/internal/model"
	"gimbal/internal/par"
)

// deviceEngine is the Engine, and Planter, on the devices of a session. What lies there is one array for each tensor.
type deviceEngine struct {
	opener *opener
	spec   engine.Spec
	info   engine.Info
	opt    *graph.Optimizer // nil: for passes without gradient only
	pass   graph.Pass       // of every program of the model, but for its rows, dropout, weights and faults

	programs      map[programKey]*Executable
	frozen        []Array // the weights beside an adapter
	params, slots []Array // what is trained
	grads         []Array // what each device has added up; none: zero
	reduced       []Array // grads over all devices, as an update takes them; none: grads have changed since
	proposed      proposed

	passes []batch // with Gradient since Discard
	host   mirror  // copies of params and slots
	broken error   // what went wrong where no error could be returned

	decoders []*decoder
	pool     *par.Pool // of the decoders; nil: there are none
}

// programKey names a program that an engine has compiled.
type programKey struct {
	kind              string
	rows              int
	dropout, weighted bool
	faults            string
}

// Open implements engine.Opener.
func (o *opener) Open(s engine.Spec) (engine.Engine, error) {
	if s.Mode == model.ModeAuto || s.Mode == "" {
		if s.Mode = model.ModeFP32; o.Hardware().FasterBF16 {
			s.Mode = model.ModeBF16
		}
	}
	err := model.Check(s.Arch, modelOptions(s))
	if err != nil {
		return nil, err
	}
	attention, err := o.attentionOf(context.Background(), s)
	if err != nil {
		return nil, err
	}
	return o.open(s, attention)
}

// engine is an engine that has nothing on the devices yet.
func (o *opener) engine(s engine.Spec, attention string) *deviceEngine {
	e := &deviceEngine{opener: o, spec: s, programs: map[programKey]*Executable{}}
	e.info = engine.Info{Arch: s.Arch, Mode: s.Mode, Numerics: o.numerics(s.Mode) + " attention " + attention,
		Tensors: engine.Tensors(s.Arch, s.Adapter)}
	count, length := o.rowsOf(s)
	e.pass = graph.Pass{Arch: s.Arch, Adapter: s.Adapter, Rows: count, Length: length, Mode: s.Mode,
		Checkpointing: s.Checkpointing, Attention: attention, Devices: o.options.Devices,
		Sharded: o.options.Sharded && o.options.Devices > 1}
	if attention == graph.CuDNN {
		e.pass.Segments = max(8, length/64)
	}
	if !s.Forward {
		e.opt = &graph.Optimizer{Arch: s.Arch, Adapter: s.Adapter, Segments: engine.Segments(s.Arch, s.Adapter),
			Options: s.Optim, Devices: o.options.Devices, Sharded: e.pass.Sharded}
	}
	return e
}

// open opens an engine with a kind of attention.
func (o *opener) open(s engine.Spec, attention string) (*deviceEngine, error) {
	e, ctx := o.engine(s, attention), context.Background()
	frozen, params := e.paramShapes()
	var err error
	if len(frozen) > 0 {
		e.frozen, err = e.zeros(ctx, "frozen", frozen)
	}
	if err == nil {
		e.params, err = e.zeros(ctx, "params", params)
	}
	if err == nil && e.opt != nil {
		e.slots, err = e.zeros(ctx, "slots", e.slotShapes())
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Info implements engine.Engine.
func (e *deviceEngine) Info() engine.Info { return e.info }

// paramShapes are those of the parameters on each device.
func (e *deviceEngine) paramShapes() (frozen, trained []graph.Shape) {
	return graph.Params(e.spec.Arch, e.spec.Adapter, e.pass.Devices, e.pass.Sharded)
}

func (e *deviceEngine) slotShapes() (list []graph.Shape) {
	for _, s := range e.opt.Slots() {
		list = append(list, s.Shape)
	}
	return list
}

// compiled returns the program of a key, which is made where it was not used before.
func (e *deviceEngine) compiled(ctx context.Context, key programKey, text func() graph.Program) (*Executable, error) {
	if x := e.programs[key]; x != nil {
		return x, nil
	}
	p := text()
	x, err := e.opener.session.Compile(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("device: compile %s: %w", p.Name, err)
	}
	e.programs[key] = x
	return x, nil
}

// run runs a program on lists of arrays, one after the other.
func (e *deviceEngine) run(ctx context.Context, x *Executable, lists ...[]Array) ([]Array, error) {
	out, err := e.opener.session.Run(ctx, x, slices.Concat(lists...))
	if err != nil {
		return nil, fmt.Errorf("device: run %s: %w", x.Name, err)
	}
	return out, nil
}

// runOf runs a program of which an engine has one.
func (e *deviceEngine) runOf(ctx context.Context, kind string, text func() graph.Program, lists ...[]Array) (
	[]Array, error) {
	x, err := e.compiled(ctx, programKey{kind: kind}, text)
	if err != nil {
		return nil, err
	}
	return e.run(ctx, x, lists...)
}

// take fetches arrays from a device and gives them back.
func (e *deviceEngine) take(ctx context.Context, device int, arrays []Array, dst ...[]byte) (err error) {
	for i, a := range arrays {
		if err == nil {
			err = e.fetch(ctx, a, device, dst[i])
		}
	}
	return errors.Join(err, e.free(&arrays))
}

// zeros makes arrays whose elements are all zero.
func (e *deviceEngine) zeros(ctx context.Context, what string, shapes []graph.Shape) ([]Array, error) {
	return e.runOf(ctx, "zeros of "+what, func() graph.Program { return graph.Zeros(shapes, e.pass.Devices) })
}

// put makes an array: of a part for each device, or of one that is the same on all.
func (e *deviceEngine) put(ctx context.Context, s graph.Shape, data []byte) (Array, error) {
	a, err := e.opener.session.Upload(ctx, s, e.pass.Devices, data)
	if err != nil {
		return a, fmt.Errorf("device: upload: %w", err)
	}
	return a, nil
}

// numbers makes an array of the given shape that is the same on every device. The list has one element.
func (e *deviceEngine) numbers(ctx context.Context, values []float32, dims ...int) ([]Array, error) {
	a, err := e.put(ctx, graph.Shape{Type: graph.F32, Dims: dims}, bytesOf(values))
	if err != nil {
		return nil, err
	}
	return []Array{a}, nil
}

// fetch copies the part of one device.
func (e *deviceEngine) fetch(ctx context.Context, a Array, device int, dst []byte) error {
	if err := e.opener.session.Fetch(ctx, a, device, dst); err != nil {
		return fmt.Errorf("device: fetch: %w", err)
	}
	return nil
}

// free gives arrays back and empties their lists.
func (e *deviceEngine) free(lists ...*[]Array) (err error) {
	for _, list := range lists {
		if len(*list) > 0 {
			err = errors.Join(err, e.opener.session.Free(*list...))
		}
		*list = nil
	}
	return err
}

// Close implements engine.Engine. The session stays.
func (e *deviceEngine) Close() error {
	if e.opener == nil {
		return nil
	}
	e.Discard()
	err := e.free(&e.frozen, &e.params, &e.slots)
	for _, d := range e.decoders {
		err = errors.Join(err, e.free(&d.cache))
	}
	if e.pool != nil {
		e.pool.Close()
	}
	*e = deviceEngine{}
	return err
}

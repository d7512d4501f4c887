package device

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"gimbal/internal/device/wire"
	"gimbal/internal/graph"
)

// session is a Session with a process of its own.
type session struct {
	*process
	options Options
	plugin  Plugin
	cache   cache
}

// Open starts a process that loads a plugin and takes its devices.
func Open(ctx context.Context, o Options) (_ Session, err error) {
	o.Limit, o.CompileLimit = cmp.Or(o.Limit, 10*time.Minute), cmp.Or(o.CompileLimit, time.Hour)
	o.Devices, o.Memory = cmp.Or(o.Devices, 1), cmp.Or(o.Memory, 0.9)
	p, err := begin(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &session{process: p, options: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	r := wire.Request{Op: wire.Open, Plugin: o.Plugin, Options: o.client()}
	var there []Device
	if o.Target != "" {
		config, d, err := readTarget(o.Target)
		if err != nil {
			return nil, err
		}
		d.Memory = int64(float64(d.Memory) * float64(o.Memory))
		r.Op, there = wire.Target, slices.Repeat([]Device{d}, max(1, o.Devices))
		r.Options = []wire.Option{{Name: "target_config", Text: config},
			{Name: "topology", Text: fmt.Sprintf("1x1x%d", len(there))}}
	}
	a, err := p.ask(ctx, "open "+clean(o.Plugin), o.Limit, r, nil)
	if err != nil {
		return nil, err
	}
	for _, d := range a.Devices {
		there = append(there, Device{Kind: clean(d.Kind), Memory: max(0, d.Limit)})
	}
	if len(there) < o.Devices {
		return nil, fmt.Errorf("%d devices are wanted, and %s has %d", o.Devices, clean(o.Plugin), len(there))
	}
	s.plugin = Plugin{Path: o.Plugin, Platform: cmp.Or(clean(a.Platform), o.kind()), Version: clean(a.Version),
		API: clean(a.API), Devices: there}
	s.cache = openCache(o, s.plugin)
	return s, nil
}

// begin starts gimbal-device and compares versions.
func begin(ctx context.Context, o Options) (*process, error) {
	path, err := helper(o.Helper)
	if err != nil {
		return nil, err
	}
	p, err := start(path, o.environment())
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", clean(path), err)
	}
	hello := wire.Request{Op: wire.Hello, Protocol: wire.Protocol, Build: wire.Build()}
	a, err := p.ask(ctx, "start "+clean(path), o.Limit, hello, nil)
	if differs := wire.Differs(a.Protocol, a.Build); err == nil && differs != nil {
		err = fmt.Errorf("%s: %s", clean(path), clean(differs.Error()))
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// environment is the environment of the process. All flags of XLA become one variable, in which the user's come last:
// of two that contradict each other the last holds.
func (o Options) environment() []string {
	env, flags := append([]string{"TF_CPP_MIN_LOG_LEVEL=1"}, os.Environ()...), "" // no news of a plugin that works
	for _, v := range append(vendor(o.Plugin, o.kind()), o.Env...) {
		if more, ok := strings.CutPrefix(v, "XLA_FLAGS="); ok {
			flags += more + " "
		} else {
			env = append(env, v)
		}
	}
	return append(env, "XLA_FLAGS="+strings.TrimSpace(flags+os.Getenv("XLA_FLAGS")))
}

func (o Options) kind() string { return cmp.Or(o.Kind, KindOf(o.Plugin)) }

// client is the options of the plugin's client.
func (o Options) client() (list []wire.Option) {
	if o.kind() == "cpu" {
		return []wire.Option{{Name: "cpu_device_count", Int: int64(max(1, o.Devices))}}
	}
	i := rank(o.kind())
	if i == len(Kinds) || Kinds[i].platform == "" {
		return nil
	}
	list = []wire.Option{{Name: "platform_name", Text: Kinds[i].platform}, {Name: "memory_fraction", Float: o.Memory}}
	if o.Devices > 0 {
		visible := wire.Option{Name: "visible_devices"}
		for i := range o.Devices {
			visible.Ints = append(visible.Ints, int64(i))
		}
		list = append(list, visible)
	}
	return list
}

func (s *session) Plugin() Plugin { return s.plugin }

func (s *session) Compile(ctx context.Context, p graph.Program) (*Executable, error) {
	r := wire.Request{Op: wire.Load, Devices: p.Devices}
	known, ok := s.cache.load(p)
	if ok && s.options.Target == "" {
		r.Bytes = int64(len(known.Data))
		a, err := s.ask(ctx, "load "+p.Name, s.options.CompileLimit, r, known.Data)
		if err == nil {
			return &Executable{a.ID, p, known.Memory, true}, nil
		}
		if s.cache.remove(p); errors.Is(err, ErrLost) || ctx.Err() != nil {
			return nil, err
		}
	} else if ok {
		return &Executable{Program: p, Memory: known.Memory, Cached: true}, nil
	}
	r.Op, r.Keep, r.Bytes = wire.Compile, s.cache.dir != "", int64(len(p.Text))
	a, err := s.ask(ctx, "compile "+p.Name, s.options.CompileLimit, r, []byte(p.Text))
	if err != nil {
		return nil, err
	}
	data, err := s.memory.Take(a.Bytes)
	if err != nil {
		return nil, err
	}
	if len(data) > 0 || s.options.Target != "" {
		s.cache.save(p, entry{Footprint(a.Memory), data})
	}
	return &Executable{a.ID, p, Footprint(a.Memory), false}, nil
}

// call is ask for what must not be left halfway.
func (s *session) call(ctx context.Context, what string, r wire.Request, data []byte) (wire.Answer, error) {
	if err := ctx.Err(); err != nil {
		return wire.Answer{}, err
	}
	return s.ask(context.WithoutCancel(ctx), what, s.options.Limit, r, data)
}

func (s *session) Upload(ctx context.Context, shape graph.Shape, devices int, data []byte) (Array, error) {
	r := wire.Request{Op: wire.Upload, Bytes: int64(len(data)), Type: string(shape.Type), Devices: devices}
	for _, d := range shape.Dims {
		r.Dims = append(r.Dims, int64(d))
	}
	a, err := s.call(ctx, "upload "+shape.String(), r, data)
	return Array{a.ID, shape}, err
}

func (s *session) Run(ctx context.Context, e *Executable, in []Array) ([]Array, error) {
	if len(in) != len(e.In) {
		panic("device: run: wrong number of arrays")
	}
	r := wire.Request{Op: wire.Run, ID: e.ID}
	for _, a := range in {
		r.In = append(r.In, a.ID)
	}
	for _, i := range e.Donated {
		r.Gone = append(r.Gone, in[i].ID)
	}
	a, err := s.call(ctx, "run "+e.Name, r, nil)
	if err != nil {
		return nil, err
	}
	if len(a.Out) != len(e.Out) {
		return nil, fmt.Errorf("run %s: %d results, and %d are expected", e.Name, len(a.Out), len(e.Out))
	}
	out := make([]Array, len(a.Out))
	for i, id := range a.Out {
		out[i] = Array{id, e.Out[i]}
	}
	return out, nil
}

func (s *session) Fetch(ctx context.Context, a Array, device int, dst []byte) error {
	r := wire.Request{Op: wire.Fetch, ID: a.ID, Device: device, Bytes: int64(len(dst))}
	if _, err := s.call(ctx, "fetch "+a.Shape.String(), r, nil); err != nil {
		return err
	}
	place, err := s.memory.Take(r.Bytes)
	copy(dst, place)
	return err
}

// Free does not wait: the next request frees the arrays.
func (s *session) Free(arrays ...Array) error {
	for _, a := range arrays {
		s.freed = append(s.freed, a.ID)
	}
	return s.failure
}

// Usage implements Meter.
func (s *session) Usage(ctx context.Context) (all []Usage, err error) {
	a, err := s.call(ctx, "memory", wire.Request{Op: wire.Usage}, nil)
	for _, d := range a.Devices {
		all = append(all, Usage{d.Used, d.Peak})
	}
	return all, err
}

func (s *session) Close() error { return s.close() }

package device

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"gimbal/internal/device/wire"
	"gimbal/internal/graph"
)

// Options says which devices a session opens, and how.
type Options struct {
	Plugin  string   // path of the plugin
	Kind    string   // cuda, rocm, oneapi, tpu or cpu; "": what the name of the plugin tells
	Devices int      // how many; 0: one
	Memory  float32  // share of a card's memory to take at once; 0: what the plugin takes
	Env     []string // added to the environment of the process: NAME=VALUE
	Helper  string   // path of gimbal-device; "": found
	Cache   string   // folder of compiled programs; "": that of the user

	Limit        time.Duration // longest time of a call; 0: 10 minutes
	CompileLimit time.Duration // longest time to compile; 0: 1 hour
}

// session is a Session with a process of its own.
type session struct {
	*process
	options Options
	plugin  Plugin
}

// Open starts a process that loads a plugin and takes its devices.
func Open(ctx context.Context, o Options) (_ Session, err error) {
	o.Limit, o.CompileLimit = cmp.Or(o.Limit, 10*time.Minute), cmp.Or(o.CompileLimit, time.Hour)
	o.Devices = max(1, o.Devices)
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
	a, err := p.ask(ctx, "open "+clean(o.Plugin), o.Limit, wire.Request{Op: wire.Open, Plugin: o.Plugin,
		Options: o.client()})
	if err != nil {
		return nil, err
	}
	s.plugin = Plugin{Path: o.Plugin, Platform: clean(a.Platform), Version: clean(a.Version), API: clean(a.API)}
	for _, d := range a.Devices {
		s.plugin.Devices = append(s.plugin.Devices, Device{Kind: clean(d.Kind), Memory: max(0, d.Limit)})
	}
	if n := len(s.plugin.Devices); n < o.Devices {
		return nil, fmt.Errorf("%d devices are wanted, and %s has %d", o.Devices, clean(o.Plugin), n)
	}
	return s, nil
}

// begin starts gimbal-device and compares versions.
func begin(ctx context.Context, o Options) (*process, error) {
	path, err := helper(o.Helper)
	if err != nil {
		return nil, err
	}
	p, err := start(path, o.Env)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", clean(path), err)
	}
	hello := wire.Request{Op: wire.Hello, Protocol: wire.Protocol, Build: wire.Build()}
	a, err := p.ask(ctx, "start "+clean(path), o.Limit, hello)
	if err == nil && (a.Protocol != wire.Protocol || a.Build != wire.Build()) {
		err = fmt.Errorf("%s is version %s (protocol %d), and this program is %s (protocol %d): build both from one source",
			clean(path), clean(a.Build), a.Protocol, wire.Build(), wire.Protocol)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// client is the options of the plugin's client.
func (o Options) client() []wire.Option {
	switch cmp.Or(o.Kind, KindOf(o.Plugin)) {
	case "cpu":
		n := int64(o.Devices)
		return []wire.Option{{Name: "cpu_device_count", Int: &n}}
	}
	return nil
}

func (s *session) Plugin() Plugin { return s.plugin }

func (s *session) Compile(ctx context.Context, p graph.Program) (*Executable, error) {
	place, err := s.memory.Make(int64(len(p.Text)))
	if err != nil {
		return nil, err
	}
	copy(place, p.Text)
	a, err := s.ask(ctx, "compile "+p.Name, s.options.CompileLimit,
		wire.Request{Op: wire.Compile, Bytes: int64(len(p.Text)), Devices: p.Devices})
	if err != nil {
		return nil, err
	}
	e := &Executable{ID: a.ID, Program: p}
	if m := a.Memory; len(m) == 5 {
		e.Memory = Footprint{m[0], m[1], m[2], m[3], m[4]}
	}
	return e, nil
}

// call is ask for what must not be left halfway.
func (s *session) call(ctx context.Context, what string, r wire.Request) (wire.Answer, error) {
	if err := ctx.Err(); err != nil {
		return wire.Answer{}, err
	}
	return s.ask(context.WithoutCancel(ctx), what, s.options.Limit, r)
}

func (s *session) Upload(ctx context.Context, shape graph.Shape, devices int, data []byte) (Array, error) {
	place, err := s.memory.Make(int64(len(data)))
	if err != nil {
		return Array{}, err
	}
	copy(place, data)
	r := wire.Request{Op: wire.Upload, Bytes: int64(len(data)), Type: string(shape.Type), Devices: devices}
	for _, d := range shape.Dims {
		r.Dims = append(r.Dims, int64(d))
	}
	a, err := s.call(ctx, "upload "+shape.String(), r)
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
	a, err := s.call(ctx, "run "+e.Name, r)
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
	n := int64(len(dst))
	if _, err := s.memory.Make(n); err != nil {
		return err
	}
	_, err := s.call(ctx, "fetch "+a.Shape.String(), wire.Request{Op: wire.Fetch, ID: a.ID, Device: device, Bytes: n})
	if err != nil {
		return err
	}
	place, err := s.memory.Take(n)
	copy(dst, place)
	return err
}

func (s *session) Free(arrays ...Array) error {
	r := wire.Request{Op: wire.Free}
	for _, a := range arrays {
		r.In = append(r.In, a.ID)
	}
	_, err := s.call(context.Background(), "free", r)
	return err
}

func (s *session) Close() error { return s.close() }

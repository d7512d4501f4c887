//go:build linux

package main

import (
	"errors"
	"fmt"

	"gimbal/internal/device/wire"
	"gimbal/internal/pjrt"
)

// server holds what requests made.
type server struct {
	memory   *wire.Memory
	greeted  bool // the other side has the same version
	plugin   *pjrt.Plugin
	client   *pjrt.Client
	target   *pjrt.Topology // in place of a client
	arrays   map[int64]array
	programs map[int64]*pjrt.Executable
	last     int64 // number that was given last
}

// array is a value: a part on each device.
type array []pjrt.Buffer

func (s *server) do(r wire.Request) (a wire.Answer, err error) {
	switch {
	case r.Op == wire.Hello:
		err := wire.Differs(r.Protocol, r.Build)
		s.greeted = err == nil
		return wire.Answer{Protocol: wire.Protocol, Build: wire.Build()}, err
	case !s.greeted:
		return a, fmt.Errorf("%s before versions were compared", r.Op)
	case r.Op == wire.Open || r.Op == wire.Target:
		return s.open(r)
	case r.Op == wire.Compile && s.target != nil:
		return s.compile(r)
	case s.client == nil:
		return a, fmt.Errorf("%s before a plugin was opened", r.Op)
	}
	if err := s.free(r.Free); err != nil {
		return a, err
	}
	switch r.Op {
	case wire.Compile, wire.Load:
		return s.compile(r)
	case wire.Upload:
		return s.upload(r)
	case wire.Run:
		return s.run(r)
	case wire.Fetch:
		return a, s.fetch(r)
	case wire.Usage:
		return wire.Answer{Devices: s.devices()}, nil
	}
	return a, fmt.Errorf("no request is called %q", r.Op)
}

func (s *server) open(r wire.Request) (a wire.Answer, err error) {
	if s.plugin != nil {
		return a, errors.New("a plugin is open already")
	}
	if s.plugin, err = pjrt.Load(r.Plugin); err != nil {
		return a, err
	}
	var options []pjrt.Option
	for _, o := range r.Options {
		options = append(options, pjrt.Option(o))
	}
	if r.Op == wire.Target {
		s.target, err = s.plugin.NewTopology(options)
		return wire.Answer{API: s.plugin.Version()}, err
	}
	if s.client, err = s.plugin.NewClient(options); err != nil {
		return a, err
	}
	a = wire.Answer{API: s.plugin.Version(), Devices: s.devices()}
	a.Platform, a.Version, err = s.client.Platform()
	return a, err
}

func (s *server) devices() (all []wire.Device) {
	for i, kind := range s.client.Kinds {
		u := s.client.Usage(i)
		all = append(all, wire.Device{Kind: kind, Used: u.Used, Peak: u.Peak, Limit: u.Limit})
	}
	return all
}

// check says whether there are as many devices.
func (s *server) check(devices int) error {
	if n := len(s.client.Kinds); devices < 1 || devices > n {
		return fmt.Errorf("%d devices are wanted, and there are %d", devices, n)
	}
	return nil
}

func (s *server) compile(r wire.Request) (a wire.Answer, err error) {
	data, err := s.memory.Take(r.Bytes)
	if err != nil {
		return a, err
	}
	if s.target != nil {
		m, err := s.target.Compile(data, r.Devices)
		return wire.Answer{Memory: wire.Footprint(m)}, err
	}
	if err := s.check(r.Devices); err != nil {
		return a, err
	}
	build := s.client.Compile
	if r.Op == wire.Load {
		build = s.client.Deserialize
	}
	e, err := build(data, r.Devices)
	if err != nil {
		return a, err
	}
	s.last++
	s.programs[s.last], a.ID = e, s.last
	if m, err := e.Memory(); err == nil { // not every plugin knows
		a.Memory = wire.Footprint(m)
	}
	if !r.Keep {
		return a, nil
	}
	if data, err = e.Serialize(); err != nil { // not every plugin can
		return a, nil
	}
	place, err := s.memory.Make(int64(len(data)))
	a.Bytes = int64(copy(place, data))
	return a, err
}

func (s *server) upload(r wire.Request) (a wire.Answer, err error) {
	t, ok := pjrt.Types[r.Type]
	if !ok {
		return a, fmt.Errorf("no type is called %q", r.Type)
	}
	if err := s.check(r.Devices); err != nil {
		return a, err
	}
	want := t.Bytes
	for _, d := range r.Dims {
		if d < 0 || d > 0 && want > r.Bytes/d {
			return a, fmt.Errorf("%d bytes of data do not have the dimensions %d of %s", r.Bytes, r.Dims, r.Type)
		}
		want *= d
	}
	if r.Bytes != want && r.Bytes != want*int64(r.Devices) {
		return a, fmt.Errorf("%d bytes of data, %d for each of %d devices are needed", r.Bytes, want, r.Devices)
	}
	data, err := s.memory.Take(r.Bytes)
	if err != nil {
		return a, err
	}
	v := make(array, r.Devices)
	for i := range v {
		if v[i], err = s.client.Upload(i, t, r.Dims, data[:want]); err != nil {
			return a, errors.Join(err, s.release(v))
		}
		if r.Bytes > want {
			data = data[want:]
		}
	}
	return wire.Answer{ID: s.put(v)}, nil
}

func (s *server) put(v array) int64 {
	s.last++
	s.arrays[s.last] = v
	return s.last
}

func (s *server) run(r wire.Request) (a wire.Answer, err error) {
	e, ok := s.programs[r.ID]
	if !ok {
		return a, fmt.Errorf("no program %d", r.ID)
	}
	in := make([][]pjrt.Buffer, e.Devices)
	for _, id := range r.In {
		v, ok := s.arrays[id]
		if !ok || len(v) != len(in) {
			return a, fmt.Errorf("no array %d on %d devices", id, len(in))
		}
		for d := range in {
			in[d] = append(in[d], v[d])
		}
	}
	out, err := e.Execute(in)
	if err != nil {
		return a, err
	}
	for i := range out[0] {
		v := make(array, len(out))
		for d := range v {
			v[d] = out[d][i]
		}
		a.Out = append(a.Out, s.put(v))
	}
	return a, s.free(r.Gone)
}

func (s *server) fetch(r wire.Request) error {
	v := s.arrays[r.ID]
	if r.Device < 0 || r.Device >= len(v) {
		return fmt.Errorf("no array %d on device %d", r.ID, r.Device)
	}
	place, err := s.memory.Take(r.Bytes)
	if err != nil {
		return err
	}
	return s.client.Fetch(v[r.Device], place)
}

// free frees arrays. Those that are gone are left out.
func (s *server) free(ids []int64) (err error) {
	for _, id := range ids {
		err = errors.Join(err, s.release(s.arrays[id]))
		delete(s.arrays, id)
	}
	return err
}

func (s *server) release(v array) (err error) {
	for _, b := range v {
		err = errors.Join(err, s.client.Free(b))
	}
	return err
}

package device

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"gimbal/internal/graph"
)

// fakeSession runs nothing. It checks that arrays are there and have the shapes that programs want, and counts calls.
// What was uploaded can be fetched; results are zero.
type fakeSession struct {
	t       testing.TB
	plugin  Plugin
	next    int64
	alive   map[int64][]byte // all parts; nil: zero
	calls   map[string]int
	ran     []string // programs
	failing map[string]error
}

func newFake(t testing.TB, devices int) *fakeSession {
	return &fakeSession{t: t, plugin: Plugin{Platform: "cpu", Version: "fake", Devices: make([]Device, devices)},
		alive: map[int64][]byte{}, calls: map[string]int{}, failing: map[string]error{}}
}

func (f *fakeSession) call(ctx context.Context, name string) error {
	f.calls[name]++
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.failing[name]
}

func (f *fakeSession) Plugin() Plugin { return f.plugin }

func (f *fakeSession) Compile(ctx context.Context, p graph.Program) (*Executable, error) {
	if err := f.call(ctx, "compile"); err != nil {
		return nil, err
	}
	return &Executable{ID: int64(f.calls["compile"]), Program: p}, nil
}

func (f *fakeSession) Upload(ctx context.Context, s graph.Shape, devices int, data []byte) (Array, error) {
	if err := f.call(ctx, "upload"); err != nil {
		return Array{}, err
	}
	switch len(data) {
	case s.Bytes():
		data = slices.Repeat(data, devices)
	case devices * s.Bytes():
		data = slices.Clone(data)
	default:
		f.t.Errorf("upload of %d bytes to %d devices as %v", len(data), devices, s)
	}
	f.next++
	f.alive[f.next] = data
	return Array{f.next, s}, nil
}

func (f *fakeSession) Run(ctx context.Context, x *Executable, in []Array) (out []Array, err error) {
	if err := f.call(ctx, "run"); err != nil {
		return nil, err
	}
	f.ran = append(f.ran, x.Name)
	if len(in) != len(x.In) {
		f.t.Errorf("%s: %d arguments, want %d", x.Name, len(in), len(x.In))
		return nil, fmt.Errorf("arguments")
	}
	for i, a := range in {
		if _, ok := f.alive[a.ID]; !ok || a.String() != x.In[i].String() {
			f.t.Errorf("%s: argument %d is %v (alive: %v), want %v", x.Name, i, a.Shape, ok, x.In[i])
		}
	}
	for _, i := range x.Donated {
		delete(f.alive, in[i].ID)
	}
	for _, s := range x.Out {
		f.next++
		f.alive[f.next] = nil
		out = append(out, Array{f.next, s})
	}
	return out, nil
}

func (f *fakeSession) Fetch(ctx context.Context, a Array, device int, dst []byte) error {
	if err := f.call(ctx, "fetch"); err != nil {
		return err
	}
	data, ok := f.alive[a.ID]
	if !ok || len(dst) != a.Bytes() || device >= len(f.plugin.Devices) {
		f.t.Errorf("fetch of %v (alive: %v) into %d bytes", a.Shape, ok, len(dst))
		return nil
	}
	if clear(dst); data != nil {
		copy(dst, data[device*a.Bytes():])
	}
	return nil
}

func (f *fakeSession) Free(arrays ...Array) error {
	for _, a := range arrays {
		if _, ok := f.alive[a.ID]; !ok {
			f.t.Errorf("array %d %v is freed, and is not there", a.ID, a.Shape)
		}
		delete(f.alive, a.ID)
	}
	return nil
}

func (f *fakeSession) Close() error {
	f.calls["close"]++
	return nil
}

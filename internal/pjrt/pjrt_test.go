//go:build linux

package pjrt

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

// TestCompileOptions compares with what protoc writes for num_replicas 2 and devices 3 and 300.
func TestCompileOptions(t *testing.T) {
	want := []byte{0x1a, 28, // executable_build_options
		0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, // device_ordinal -1
		0x20, 2, 0x28, 1, // replicas, partitions
		0x4a, 11, 0x08, 2, 0x10, 1, 0x1a, 5, 0x08, 3, 0x08, 0xac, 0x02} // device_assignment
	if got := compileOptions([]int64{3, 300}); !bytes.Equal(got, want) {
		t.Errorf("got  % x\nwant % x", got, want)
	}
}

func TestNamed(t *testing.T) {
	var pin runtime.Pinner
	defer pin.Unpin()
	s := named(&pin, []Option{{Name: "a", Text: "text"}, {Name: "b", Int: -1}, {Name: "c", Ints: []int64{5, 6}},
		{Name: "d", Float: 1}})
	all := unsafe.Slice((*namedValue)(s.p), s.n)
	for i, want := range []struct{ kind, size, word uintptr }{
		{0, 4, 0}, {1, 1, ^uintptr(0)}, {2, 2, 0}, {3, 1, 0x3f800000},
	} {
		v := all[i]
		if v.kind != want.kind || v.size != want.size || want.word != 0 && v.word != want.word || v.name.n != 1 ||
			v.head.size != 56 {
			t.Errorf("%d: %+v, want %+v", i, v, want)
		}
	}
}

// TestLookup asks tables of several sizes for functions.
func TestLookup(t *testing.T) {
	p := &Plugin{head: &header{size: 80, minor: 7}, table: []uintptr{1, 2, 3, 4, 0, 6}}
	for name, want := range map[string]uintptr{"Error_Destroy": 1, "Plugin_Initialize": 4, "Client_Create": 0} {
		fn, err := p.lookup(name)
		if fn != want || (err == nil) != (want != 0) {
			t.Errorf("%s: %d, %v", name, fn, err)
		}
		if err != nil && !strings.Contains(err.Error(), "PJRT_"+name+": its interface 0.7 states a size of 80 bytes") {
			t.Error(err)
		}
	}
	for name, place := range places {
		if place > lastPlace {
			t.Errorf("%s is beyond the last place", name)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.so")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "not a shared library") {
		t.Errorf("load: %v", err)
	}
}

//go:build linux

package pjrt

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
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
	s, err := named(&pin, []Option{{"a", "text"}, {"b", int64(-1)}, {"c", []int64{1, 2}}, {"d", float32(1)}})
	if err != nil || s.n != 4 {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := named(&pin, []Option{{"a", 1}}); err == nil {
		t.Error("an int is taken")
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

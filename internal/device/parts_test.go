//go:build linux

package device

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gimbal/internal/graph"
)

// TestCacheFiles keeps programs without a plugin, and cuts, swaps and removes their files.
func TestCacheFiles(t *testing.T) {
	plugin := filepath.Join(t.TempDir(), "plugin.so")
	if err := os.WriteFile(plugin, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Plugin: plugin, Cache: filepath.Join(t.TempDir(), "programs")}
	p := Plugin{Platform: "cpu", Devices: []Device{{Kind: "cpu"}}}
	c := openCache(o, p)
	a, b := graph.Program{Text: "a", Devices: 1}, graph.Program{Text: "b", Devices: 1}
	m := Footprint{1, 2, 3, 4, 5}
	c.save(a, entry{m, []byte("program a")})
	c.save(b, entry{Memory: m})
	check := func(what string, c cache, p graph.Program, want string) {
		t.Helper()
		got, ok := c.load(p)
		if !ok || string(got.Data) != want || got.Memory != m {
			t.Errorf("%s: %+v, %v", what, got, ok)
		}
	}
	check("saved", c, a, "program a")
	check("saved without a program", c, b, "")
	check("opened again", openCache(o, p), a, "program a")
	if info, err := os.Stat(o.Cache); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v", info.Mode(), err)
	}

	for what, change := range map[string]func(o *Options, p *Plugin, q *graph.Program){
		"devices of the program": func(_ *Options, _ *Plugin, q *graph.Program) { q.Devices = 2 },
		"flags":                  func(o *Options, _ *Plugin, _ *graph.Program) { o.Env = []string{"XLA_FLAGS=--x"} },
		"target":                 func(o *Options, _ *Plugin, _ *graph.Program) { o.Target = "h100" },
		"card":                   func(_ *Options, p *Plugin, _ *graph.Program) { p.Devices = []Device{{Kind: "x"}} },
		"cards":                  func(_ *Options, p *Plugin, _ *graph.Program) { p.Devices = make([]Device, 2) },
		"version":                func(_ *Options, p *Plugin, _ *graph.Program) { p.Version = "2" },
	} {
		o, p, q := o, p, a
		change(&o, &p, &q)
		if _, ok := openCache(o, p).load(q); ok {
			t.Errorf("another %s finds the program", what)
		}
	}
	if err := os.Chtimes(plugin, time.Unix(9, 0), time.Unix(9, 0)); err != nil {
		t.Fatal(err)
	}
	if _, ok := openCache(o, p).load(a); ok {
		t.Error("another plugin finds the program")
	}

	whole, err := os.ReadFile(c.name(a))
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		flipped := bytes.Clone(whole)
		flipped[n] ^= 0x10
		for _, bad := range [][]byte{whole[:n], flipped} {
			if err := os.WriteFile(c.name(a), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, ok := c.load(a); ok {
				t.Fatalf("a file that is damaged at byte %d is used", n)
			}
		}
	}
	c.save(a, entry{m, []byte("program a")})
	check("replaced", c, a, "program a")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(c.name(b), old, old); err != nil {
		t.Fatal(err)
	}
	c.trim(int64(len(whole)))
	if _, ok := c.load(b); ok {
		t.Error("what was used longest ago is still there")
	}
	check("after trim", c, a, "program a")
	c.remove(a)
	if _, ok := c.load(a); ok {
		t.Error("a removed program is there")
	}

	for what, spoil := range map[string]func(dir string) error{
		"writable by others": func(dir string) error { return os.Chmod(dir, 0o777) },
		"a link": func(dir string) error {
			return os.Symlink(t.TempDir(), dir+"-link")
		},
	} {
		o := o
		o.Cache = filepath.Join(t.TempDir(), "programs")
		if err := os.Mkdir(o.Cache, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := spoil(o.Cache); err != nil {
			t.Fatal(err)
		}
		if what == "a link" {
			o.Cache += "-link"
		}
		if c := openCache(o, p); c.dir != "" {
			t.Errorf("a folder that is %s is used", what)
		}
	}
	cache{}.save(a, entry{Memory: m}) // without a cache nothing happens
	cache{}.remove(a)
}

// TestTail keeps the end of what a plugin printed, and nothing of it moves a cursor.
func TestTail(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"a\n\nb \x1b[1m\n":       `; it printed last: a | b \x1b[1m`,
		"1\n2\n3\n4\n5\n6\n7\n8": "; it printed last: 3 | 4 | 5 | 6 | 7 | 8",
		"why\nSIGSEGV: segmentation violation\nPC=0x1 m=2\n\ngoroutine 1\nr15 0x0\n": "; it printed last: why | " +
			"SIGSEGV: segmentation violation",
	} {
		var out tail
		fmt.Fprint(&out, in)
		if got := out.String(); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	var long tail
	for range 100_000 {
		fmt.Fprintln(&long, "line")
	}
	if len(long.text) > 2*tailBytes {
		t.Errorf("%d bytes are kept", len(long.text))
	}
	if got := clean("a\n\"b\" \\ c\u202e é\xff\x00"); got != `a | "b" \ c\u202e é\xff\x00` {
		t.Errorf("clean: %q", got)
	}
	if got := clean(strings.Repeat("x", 1<<20)); len(got) > 3000 {
		t.Errorf("%d bytes of an error are kept", len(got))
	}
}

// TestHelper finds gimbal-device, or says how to build it.
func TestHelper(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	t.Setenv("GIMBAL_DEVICE", "")
	if _, err := helper(""); err == nil || !strings.Contains(err.Error(), "go build ./cmd/gimbal-device") {
		t.Errorf("without one: %v", err)
	}
	inPath := filepath.Join(dir, "gimbal-device")
	if err := os.WriteFile(inPath, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := helper(""); got != inPath {
		t.Errorf("in PATH: %q, %v", got, err)
	}
	t.Setenv("GIMBAL_DEVICE", "/mine")
	if got, err := helper(""); got != "/mine" {
		t.Errorf("of the variable: %q, %v", got, err)
	}
	if got, err := helper("/named"); got != "/named" {
		t.Errorf("named: %q, %v", got, err)
	}
}

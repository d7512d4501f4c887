package device

import (
	"os"
	"path/filepath"
	"testing"
)

// cached compiles twice in a session of its own, and reports whether it came from the cache.
func cached(t *testing.T, o Options) bool {
	t.Helper()
	s := openOptions(t, o)
	e := must[*Executable](t)(s.Compile(t.Context(), twice))
	if e.Memory.In != 16 {
		t.Errorf("memory %+v", e.Memory)
	}
	testTwice(t, s)
	return e.Cached
}

// TestCache compiles a program in three sessions, the last one after its file was damaged.
func TestCache(t *testing.T) {
	for _, plugin := range plugins(t) {
		t.Run(filepath.Base(plugin), func(t *testing.T) {
			o := testOptions(t, plugin, 1)
			if cached(t, o) {
				t.Fatal("an empty cache had the program")
			}
			files, err := os.ReadDir(o.Cache)
			if err != nil {
				t.Fatal(err)
			}
			if len(files) == 0 {
				t.Skip("the plugin does not serialize programs")
			}
			if !cached(t, o) {
				t.Error("the second session compiled again")
			}
			name := filepath.Join(o.Cache, files[0].Name())
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)/2] ^= 1
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if cached(t, o) {
				t.Error("a damaged program was used")
			}
			if !cached(t, o) {
				t.Error("the damaged program was not replaced")
			}
			o.Env = []string{"XLA_FLAGS=--xla_cpu_enable_fast_math=false"}
			if cached(t, o) {
				t.Error("other flags found the same program")
			}
		})
	}
}

package device

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"gimbal/internal/graph"
)

// buildHelper builds gimbal-device once, in helperDir.
var buildHelper = sync.OnceValues(func() (path string, err error) {
	if helperDir, err = os.MkdirTemp("", "gimbal-device"); err != nil {
		return "", err
	}
	path = filepath.Join(helperDir, "gimbal-device")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../cmd/gimbal-device")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

var helperDir string

func TestMain(m *testing.M) {
	code := m.Run()
	for _, s := range sessions {
		_ = s.Close()
	}
	if helperDir != "" {
		_ = os.RemoveAll(helperDir)
	}
	os.Exit(code)
}

// plugins are those that PJRT_PLUGIN names, separated as in PATH. It skips the test where there is none.
func plugins(t testing.TB) []string {
	t.Helper()
	list := filepath.SplitList(os.Getenv("PJRT_PLUGIN"))
	if len(list) == 0 {
		t.Skip("PJRT_PLUGIN names no plugin")
	}
	return list
}

// testOptions are options for tests with a plugin.
func testOptions(t testing.TB, plugin string, devices int) Options {
	t.Helper()
	path, err := buildHelper()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Plugin: plugin, Devices: devices, Helper: path, Cache: t.TempDir()}
}

// openTest opens a session for a test. It skips where there is no plugin.
func openTest(t testing.TB, devices int) Session {
	t.Helper()
	return openOptions(t, testOptions(t, plugins(t)[0], devices))
}

func openOptions(t testing.TB, o Options) Session {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var four = graph.Shape{Type: graph.F32, Dims: []int{4}}

// twice is 2·x in the memory of x.
var twice = graph.Program{Name: "twice", Devices: 1, In: []graph.Shape{four}, Out: []graph.Shape{four},
	Donated: []int{0}, Text: `module @twice attributes {mhlo.num_replicas = 1 : i32} {
func.func public @main(%0: tensor<4xf32> {tf.aliasing_output = 0 : i32}) -> (tensor<4xf32>) {
  %1 = stablehlo.add %0, %0 : tensor<4xf32>
  return %1 : tensor<4xf32>
}
}
`}

func floats(f ...float32) (b []byte) {
	for _, x := range f {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// TestSession runs a program through the whole path with every plugin.
func TestSession(t *testing.T) {
	for _, plugin := range plugins(t) {
		t.Run(filepath.Base(plugin), func(t *testing.T) {
			s := openOptions(t, testOptions(t, plugin, 1))
			if p := s.Plugin(); p.Platform != "cpu" || len(p.Devices) != 1 || !strings.HasPrefix(p.API, "0.") {
				t.Errorf("plugin %+v", p)
			}
			testTwice(t, s)
		})
	}
}

func testTwice(t *testing.T, s Session) {
	t.Helper()
	ctx := t.Context()
	e := must[*Executable](t)(s.Compile(ctx, twice))
	if e.Memory.In != 16 || e.Memory.Out != 16 {
		t.Errorf("memory %+v", e.Memory)
	}
	x := must[Array](t)(s.Upload(ctx, four, 1, floats(1, 2, 3, 4)))
	got := make([]byte, 16)
	for range 3 {
		out := must[[]Array](t)(s.Run(ctx, e, []Array{x}))
		x = out[0]
	}
	if err := s.Fetch(ctx, x, 0, got); err != nil {
		t.Fatal(err)
	}
	if want := floats(8, 16, 24, 32); !slices.Equal(got, want) {
		t.Errorf("got % x, want % x", got, want)
	}
	if err := s.Free(x, x, Array{}); err != nil {
		t.Error(err)
	}
	if err := s.Fetch(ctx, x, 0, got); err == nil || !strings.Contains(err.Error(), "no array") {
		t.Errorf("fetch of a freed array: %v", err)
	}
}

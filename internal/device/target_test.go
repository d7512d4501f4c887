package device

import (
	"errors"
	"os"
	"strings"
	"testing"

	"gimbal/internal/graph"
)

// TestTarget compiles for a card that is not there, which the plugin for CUDA can.
func TestTarget(t *testing.T) {
	plugin := os.Getenv("PJRT_CUDA_PLUGIN")
	if plugin == "" {
		t.Skip("PJRT_CUDA_PLUGIN names no plugin")
	}
	o := testOptions(t, plugin, 1)
	o.Target, o.Env = "h100", []string{"XLA_FLAGS=--xla_gpu_autotune_level=0"}
	square := graph.Shape{Type: graph.F32, Dims: []int{512, 512}}
	p := graph.Program{Name: "product", Devices: 1, In: []graph.Shape{square}, Out: []graph.Shape{square},
		Text: `module @product attributes {mhlo.num_replicas = 1 : i32} {
func.func public @main(%0: tensor<512x512xf32>) -> (tensor<512x512xf32>) {
  %1 = stablehlo.dot_general %0, %0, contracting_dims = [1] x [0]
    : (tensor<512x512xf32>, tensor<512x512xf32>) -> tensor<512x512xf32>
  %2 = stablehlo.sine %1 : tensor<512x512xf32>
  return %2 : tensor<512x512xf32>
}
}
`}
	for _, cached := range []bool{false, true} {
		s := openOptions(t, o)
		if s.Plugin().Platform != "cuda" {
			t.Errorf("platform %q", s.Plugin().Platform)
		}
		if d := s.Plugin().Devices; len(d) != 1 || d[0].Kind != "NVIDIA H100 80GB HBM3" || d[0].Memory>>30 != 71 {
			t.Errorf("devices %+v", d)
		}
		e := must[*Executable](t)(s.Compile(t.Context(), p))
		if m := e.Memory; m.In != 1<<20 || m.Out != 1<<20 || m.Temporary < 1<<20 || e.Cached != cached {
			t.Errorf("memory %+v, cached %v", m, e.Cached)
		}
		if _, err := s.Upload(t.Context(), four, 1, make([]byte, 16)); err == nil || errors.Is(err, ErrLost) {
			t.Errorf("upload to a card that is not there: %v", err)
		}
	}
	o.Target = ""
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "open "+plugin) {
		t.Errorf("open without a card: %v", err)
	}
	o.Target = "b1"
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "known are h100") {
		t.Errorf("unknown card: %v", err)
	}
}

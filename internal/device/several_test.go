package device

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/graph"
)

// TestSeveralDevices sums over two and four devices, the arguments being a part for each, or one for all.
func TestSeveralDevices(t *testing.T) {
	for _, plugin := range plugins(t) {
		for _, n := range []int{2, 4} {
			t.Run(fmt.Sprintf("%s on %d", filepath.Base(plugin), n), func(t *testing.T) {
				o := testOptions(t, plugin, 4)
				for range 2 { // the second time from the cache
					testSum(t, openOptions(t, o), n)
				}
			})
		}
	}
}

func testSum(t *testing.T, s Session, n int) {
	t.Helper()
	groups := strings.ReplaceAll(fmt.Sprint([]int{0, 1, 2, 3}[:n]), " ", ", ")
	sum := graph.Program{Name: "sum", Devices: n, In: []graph.Shape{four, four}, Out: []graph.Shape{four, four},
		Text: fmt.Sprintf(`module @sum attributes {mhlo.num_replicas = %d : i32} {
func.func public @main(%%0: tensor<4xf32>, %%1: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %%2 = "stablehlo.all_reduce"(%%0) <{replica_groups = dense<[%s]> : tensor<1x%dxi64>}> ({
  ^bb0(%%a: tensor<f32>, %%b: tensor<f32>):
    %%c = stablehlo.add %%a, %%b : tensor<f32>
    stablehlo.return %%c : tensor<f32>
  }) : (tensor<4xf32>) -> tensor<4xf32>
  %%3 = stablehlo.add %%0, %%1 : tensor<4xf32>
  return %%2, %%3 : tensor<4xf32>, tensor<4xf32>
}
}
`, n, groups, n)}
	e := must[*Executable](t)(s.Compile(t.Context(), sum))
	var parts []byte
	total := []float32{0, 0, 0, 0}
	for d := range n {
		for i := range total {
			x := float32(d*10 + i)
			parts, total[i] = append(parts, floats(x)...), total[i]+x
		}
	}
	x := must[Array](t)(s.Upload(t.Context(), four, n, parts))
	y := must[Array](t)(s.Upload(t.Context(), four, n, floats(1, 2, 3, 4)))
	out := must[[]Array](t)(s.Run(t.Context(), e, []Array{x, y}))
	got := make([]byte, 16)
	for d := range n {
		f := float32(d * 10)
		for i, want := range [][]byte{floats(total...), floats(f+1, f+3, f+5, f+7)} {
			if err := s.Fetch(t.Context(), out[i], d, got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("result %d of device %d: % x, want % x", i, d, got, want)
			}
		}
	}
	if err := s.Free(append(out, x, y)...); err != nil {
		t.Error(err)
	}
}

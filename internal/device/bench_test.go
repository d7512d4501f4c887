package device

import (
	"fmt"
	"testing"

	"gimbal/internal/graph"
)

// BenchmarkRun is what a run costs beside its arithmetic.
func BenchmarkRun(b *testing.B) {
	for _, n := range []int{1, 300} {
		b.Run(fmt.Sprint(n, " arrays"), func(b *testing.B) {
			s := openTest(b, 1)
			p, types, names := graph.Program{Name: "none", Devices: 1}, "", ""
			args := ""
			for i := range n {
				sep := ""
				if i > 0 {
					sep = ", "
				}
				args += fmt.Sprintf("%s%%%d: tensor<4xf32>", sep, i)
				names += fmt.Sprintf("%s%%%d", sep, i)
				types += sep + "tensor<4xf32>"
				p.In, p.Out = append(p.In, four), append(p.Out, four)
			}
			p.Text = fmt.Sprintf("module @m attributes {mhlo.num_replicas = 1 : i32} {\n"+
				"func.func public @main(%s) -> (%s) {\n  return %s : %s\n}\n}\n", args, types, names, types)
			e := must[*Executable](b)(s.Compile(b.Context(), p))
			in := make([]Array, n)
			for i := range in {
				in[i] = must[Array](b)(s.Upload(b.Context(), four, 1, make([]byte, 16)))
			}
			for b.Loop() {
				out := must[[]Array](b)(s.Run(b.Context(), e, in))
				if err := s.Free(out...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCopy uploads and fetches an array.
func BenchmarkCopy(b *testing.B) {
	s := openTest(b, 1)
	shape := graph.Shape{Type: graph.F32, Dims: []int{16 << 20}}
	data := make([]byte, shape.Bytes())
	x := must[Array](b)(s.Upload(b.Context(), shape, 1, data))
	b.Run("upload", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if err := s.Free(must[Array](b)(s.Upload(b.Context(), shape, 1, data))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("fetch", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if err := s.Fetch(b.Context(), x, 0, data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

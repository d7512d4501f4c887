package nn

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gimbal/internal/kernel"
)

// BenchmarkNorms times the norms of 4,096 positions 768 wide. A figure is what has to be read and written.
func BenchmarkNorms(b *testing.B) {
	const n, width = 4096, 768
	x := newExec(b, kernel.TierAuto)
	r := rand.New(rand.NewPCG(1, 2))
	random := func(size int) []float32 {
		s := make([]float32, size)
		for i := range s {
			s[i] = float32(r.NormFloat64())
		}
		return s
	}
	sums := NewBlockSums(x, n, 2*width, make([]float32, BlockSumsLen(x.Workers(), n, 2*width)))
	stage := NewStage(x, 2*width, make([]float32, StageLen(x.Workers(), 2*width)))
	rms, layer := NewNorm(x, stage, sums, width, 1e-6), NewNorm(x, stage, sums, width, 1e-5)
	src, dx := random(n*width), make([]float32, n*width)
	dst, dy := kernel.Dense(make([]float32, n*width), n, width), kernel.Dense(random(n*width), n, width)
	half := kernel.NewOperand(n, width)
	gain, bias, dgain, dbias := random(width), random(width), make([]float32, width), make([]float32, width)
	mean, rstd := make([]float32, n), make([]float32, n)
	for _, v := range []struct {
		name  string
		bytes int // for each element
		run   func()
	}{
		{"RMSNorm/forward", 8, func() { rms.Forward(dst, nil, rstd, src, gain, nil, n) }},
		{"RMSNorm/forward to bf16", 6, func() { rms.Forward(half, nil, rstd, src, gain, nil, n) }},
		{"RMSNorm/backward", 16, func() { rms.Backward(dx, dgain, nil, nil, rstd, dy, src, gain, n) }},
		{"LayerNorm/forward", 8, func() { layer.Forward(dst, mean, rstd, src, gain, bias, n) }},
		{"LayerNorm/forward to bf16", 6, func() { layer.Forward(half, mean, rstd, src, gain, bias, n) }},
		{"LayerNorm/backward", 16, func() { layer.Backward(dx, dgain, dbias, mean, rstd, dy, src, gain, n) }},
	} {
		b.Run(fmt.Sprintf("%s/%dx%d", v.name, n, width), func(b *testing.B) {
			b.SetBytes(int64(v.bytes * n * width))
			for b.Loop() {
				v.run()
			}
		})
	}
}

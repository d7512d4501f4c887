package kernel

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// Benchmarks report GFLOP/s on random operands: products with zeros draw less
// power and run faster. GIMBAL_KERNEL chooses the tier, -cpu the workers.

func benchExec(b *testing.B) *Exec {
	b.Helper()
	tier := TierAuto
	if benchTier != "" {
		tier = Tier(slices.Index(tierNames[:], benchTier))
	}
	x, err := NewExec(0, tier)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(x.Close)
	return x
}

func randomMat(rows, cols int) Mat[float32] {
	m := Dense(make([]float32, rows*cols), rows, cols)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range m.F {
		m.F[i] = float32(r.NormFloat64())
	}
	return m
}

func gflops(b *testing.B, flops float64) {
	b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkSquare is our side of bench/peers/sgemm.py; GIMBAL_BENCH_SIZE is the size of the square matrices (1024).
func BenchmarkSquare(b *testing.B) {
	n := 1024
	if s := os.Getenv("GIMBAL_BENCH_SIZE"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	x := benchExec(b)
	w, src, dst := NewWeights(randomMat(n, n).F, n, n), randomMat(n, n), randomMat(n, n)
	for range 3 {
		w.Forward(x, dst, src, n) // warm up, as the other side does
	}
	for b.Loop() {
		w.Forward(x, dst, src, n)
	}
	gflops(b, 2*float64(n)*float64(n)*float64(n))
}

// BenchmarkWeights times the three multiplies.
func BenchmarkWeights(b *testing.B) {
	x := benchExec(b)
	for _, s := range [][3]int{{1024, 1024, 1024}, {4096, 3072, 768}, {4096, 768, 3072}, {16384, 1536, 384},
		{16384, 384, 1536}, {16384, 384, 384}, {8, 3072, 768}, {1, 3072, 768}} {
		n, out, in := s[0], s[1], s[2]
		name := fmt.Sprintf("n%d-%dx%d", n, out, in)
		flops := 2 * float64(n) * float64(out) * float64(in)
		var src, dy, wf, dw Mat[float32]
		prepare := func() *Weights[float32] {
			if src.F == nil {
				src, dy, wf, dw = randomMat(n, in), randomMat(n, out), randomMat(out, in), randomMat(out, in)
			}
			return NewWeights(wf.F, out, in)
		}
		b.Run("Forward/"+name, func(b *testing.B) {
			w, y := prepare(), Dense(make([]float32, n*out), n, out)
			for b.Loop() {
				w.Forward(x, y, src, n)
			}
			gflops(b, flops)
		})
		b.Run("BackInput/"+name, func(b *testing.B) {
			w, dx := prepare(), Dense(make([]float32, n*in), n, in)
			for b.Loop() {
				w.BackInput(x, dx, dy, n)
			}
			gflops(b, flops)
		})
		b.Run("BackWeight/"+name, func(b *testing.B) {
			w := prepare()
			for b.Loop() {
				w.BackWeight(x, dw.F, dy, src, n)
			}
			gflops(b, flops)
		})
	}
}

// BenchmarkGemm times one worker at the sizes of attention blocks; the operands
// are columns of wider matrices, as heads are.
func BenchmarkGemm(b *testing.B) {
	x := benchExec(b)
	const ld = 1152
	for _, s := range [][3]int{{64, 64, 64}, {64, 256, 64}, {64, 64, 256}, {64, 1024, 64}, {64, 64, 1024}} {
		m, n, k := s[0], s[1], s[2]
		for _, trans := range []string{"NN", "NT", "TN"} {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", trans, m, n, k), func(b *testing.B) {
				a, bb, c := randomMat(1024, ld), randomMat(1024, ld), randomMat(64, 1024)
				for b.Loop() {
					Gemm(x, 0, trans[0] == 'T', trans[1] == 'T', m, n, k, 1, a.F, ld, bb.F, ld, 0, c.F, 1024)
				}
				gflops(b, 2*float64(m)*float64(n)*float64(k))
			})
		}
	}
}

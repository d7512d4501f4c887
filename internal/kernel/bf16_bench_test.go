//go:build linux

package kernel

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Benchmarks of the bfloat16 multiplies: rounds of a burst of the peak loop and one multiply, so that both meet the
// same disturbances; best and median rate, and the median's share of the peak. Run with -benchtime=20x. With one
// worker (-cpu 1) the clock is the thread's own, which stands still while other processes have the processor.

func rounds(b *testing.B, x *Exec, flops float64, op func()) {
	b.Helper()
	op()
	l := x.bf16.peak
	var peak *peakJob
	if l.run != nil {
		peak = &peakJob{loop: l, turns: 1500, calls: 10, data: make([][]float32, x.Workers())}
		for w := range peak.data {
			peak.data[w] = randomMat(1, l.operands+l.sums).F
		}
	}
	start := time.Now()
	now := func() float64 { return time.Since(start).Seconds() }
	if x.Workers() == 1 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		now = func() float64 {
			var t unix.Timespec
			if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
				b.Fatal(err)
			}
			return float64(t.Nano()) / 1e9
		}
	}
	var times, peaks []float64
	for b.Loop() {
		if peak != nil {
			began := now()
			x.pool.Do(x.Workers(), 1, peak)
			peaks = append(peaks, l.flops*float64(peak.turns*peak.calls*x.Workers())/(now()-began))
		}
		for range 3 {
			began := now()
			op()
			times = append(times, (now() - began))
		}
	}
	slices.Sort(times)
	slices.Sort(peaks)
	b.ReportMetric(flops/times[0]/1e12, "best-TFLOP/s")
	b.ReportMetric(flops/times[len(times)/2]/1e12, "TFLOP/s")
	if peak != nil {
		b.ReportMetric(100*flops/times[len(times)/2]/peaks[len(peaks)/2], "%peak")
		b.ReportMetric(100*flops/times[0]/peaks[len(peaks)-1], "best-%peak")
		b.ReportMetric(peaks[len(peaks)-1]/1e12, "peak-TFLOP/s")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkWeightsBF16 times the three multiplies.
func BenchmarkWeightsBF16(b *testing.B) {
	x := benchExec(b)
	for _, s := range [][3]int{{4096, 2304, 768}, {4096, 768, 768}, {4096, 3072, 768}, {4096, 768, 3072},
		{16384, 1536, 384}, {16384, 384, 1536}, {16384, 384, 384}, {1024, 4192, 768}, {4096, 4192, 768},
		{8, 3072, 768}, {1, 3072, 768}} {
		n, out, in := s[0], s[1], s[2]
		name := fmt.Sprintf("n%d-%dto%d", n, in, out)
		flops := 2 * float64(n) * float64(out) * float64(in)
		var w *Weights[float32]
		var src, dy, y, dx Mat[float32]
		var dw []float32
		prepare := func() {
			if w == nil {
				w = NewWeightsBF16(randomMat(out, in).F, out, in)
				w.Refresh(x)
				src, dy, y, dx = randomOperand(n, in), randomOperand(n, out), NewOperand(n, out), NewOperand(n, in)
				dw = make([]float32, out*in)
			}
		}
		b.Run("Forward/"+name, func(b *testing.B) {
			prepare()
			rounds(b, x, flops, func() { w.Forward(x, y, src, n) })
		})
		b.Run("ForwardF32/"+name, func(b *testing.B) {
			prepare()
			f := Dense(make([]float32, n*out), n, out)
			rounds(b, x, flops, func() { w.Forward(x, f, src, n) })
		})
		b.Run("BackInput/"+name, func(b *testing.B) {
			prepare()
			rounds(b, x, flops, func() { w.BackInput(x, dx, dy, n) })
		})
		b.Run("BackWeight/"+name, func(b *testing.B) {
			prepare()
			rounds(b, x, flops, func() { w.BackWeight(x, dw, dy, src, n) })
		})
	}
}

// BenchmarkMulPacked times one worker at the sizes of attention blocks; the
// operands are columns of wider matrices, as heads are. Packing is not counted.
func BenchmarkMulPacked(b *testing.B) {
	x := benchExec(b)
	const wide = 2304
	for _, s := range [][3]int{{32, 1024, 64}, {64, 256, 64}, {64, 1024, 64}, {64, 64, 256}, {64, 64, 1024}} {
		m, n, k := s[0], s[1], s[2]
		flops := 2 * float64(m) * float64(n) * float64(k)
		calls := max(1, int(1e9/flops)/4)
		packed := make([]uint16, PackLen(n, k))
		src := randomOperand(1024, wide)
		PackT(x, packed, src.H, n, k, src.Stride)
		f, h := Dense(make([]float32, m*n), m, n), NewOperand(m, n)
		for name, dst := range map[string]Mat[float32]{"F": f, "H": h} {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", name, m, n, k), func(b *testing.B) {
				rounds(b, x, flops*float64(calls), func() {
					for i := range calls {
						MulPacked(x, 0, dst, src.H[i%8*128:], src.Stride, packed, m, n, k, false)
					}
				})
			})
			b.Run(fmt.Sprintf("Trans%s/%dx%dx%d", name, m, n, k), func(b *testing.B) {
				rounds(b, x, flops*float64(calls), func() {
					for i := range calls {
						MulTransPacked(x, 0, dst, src.H[i%8*128:], src.Stride, packed, m, n, k, false)
					}
				})
			})
		}
		b.Run(fmt.Sprintf("Pack/%dx%d", n, k), func(b *testing.B) {
			rounds(b, x, flops*float64(calls), func() {
				for i := range calls {
					PackT(x, packed, src.H[i%8*128:], n, k, src.Stride)
				}
			})
		})
	}
}

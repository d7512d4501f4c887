package kernel

import (
	"testing"
	"time"

	"gimbal/internal/cpu"
)

// TestFasterBF16 holds the rule against the peaks of docs/kernels.md: bfloat16 over float32, in registers. A processor
// that is not among them is not known to gain. BenchmarkPeak measures the ratio here.
func TestFasterBF16(t *testing.T) {
	measured := map[[2]string]float64{
		{"amx", "GenuineIntel"}:         15,
		{"avx512_bf16", "GenuineIntel"}: 0.5,
		{"avx512_bf16", "AuthenticAMD"}: 521. / 277,
	}
	for _, tier := range Tiers() {
		x := newExec(t, 1, tier)
		if want := measured[[2]string{x.BF16(), cpu.Vendor}] > 1; x.FasterBF16() != want {
			t.Errorf("%s, %q of %s: the rule says faster: %v, the peaks say %v",
				tier, x.BF16(), cpu.Vendor, !want, want)
		}
	}
}

func BenchmarkPeak(b *testing.B) {
	for _, tier := range Tiers() {
		b.Run(tier.String(), func(b *testing.B) {
			x := newExec(b, 1, tier)
			var f32, bf16 float64 // the best of several in turn, for others may hold the machine
			for b.Loop() {
				f32, bf16 = max(f32, PeakFP32(x, 20*time.Millisecond)), max(bf16, PeakBF16(x))
			}
			b.ReportMetric(f32/1e9, "GFLOP/s")
			b.ReportMetric(bf16/f32, "bf16/fp32")
		})
	}
}

// TestPeakCountsItsOperations multiplies ones by ones: what the sums gain is the number of multiply-adds made.
func TestPeakCountsItsOperations(t *testing.T) {
	const turns = 1000
	for _, tier := range Tiers() {
		k, _ := tableOf(tier)
		l := k.peak
		operands, sums := make([]float32, l.operands), make([]float32, l.sums)
		for i := range operands {
			operands[i] = 1
		}
		l.run(operands, sums, turns)
		total := 0.0
		for _, s := range sums {
			total += float64(s)
		}
		if 2*total != l.flops*turns {
			t.Errorf("%s: %g operations are counted as %g", tier, 2*total, l.flops*turns)
		}
		x, err := NewExec(2, tier)
		if err != nil {
			t.Fatal(err)
		}
		if l := x.bf16.peak; l.run != nil {
			operands, sums := make([]float32, l.operands), make([]float32, l.sums)
			for i := range operands {
				operands[i] = 1 // its upper half, which is what the loop takes, is 1 in bfloat16
			}
			l.run(operands, sums, turns)
			total := 0.0
			for _, s := range sums {
				total += float64(s)
			}
			if 2*total != l.flops*turns {
				t.Errorf("%s: %g bf16 operations are counted as %g", tier, 2*total, l.flops*turns)
			}
			t.Logf("%s: %.1f GFLOP/s in bf16", tier, PeakBF16(x)/1e9)
		}
		p := PeakFP32(x, time.Millisecond)
		x.Close()
		t.Logf("%s: %.1f GFLOP/s", tier, p/1e9)
		if !(p > 1e7 && p < 1e15) {
			t.Errorf("%s: a peak of %g FLOP/s", tier, p)
		}
	}
}

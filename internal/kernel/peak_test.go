package kernel

import (
	"testing"
	"time"
)

// TestFasterBF16 compares the rule with the peaks: the best of several runs in turn, for others may hold the machine.
func TestFasterBF16(t *testing.T) {
	for _, tier := range Tiers() {
		x := newExec(t, 1, tier)
		l := peakBF16(x)
		if l == nil {
			if x.FasterBF16() {
				t.Errorf("%s: faster without an instruction", tier)
			}
			continue
		}
		var f32, bf16 float64
		for range 6 {
			f32, bf16 = max(f32, PeakFP32(x, 2*time.Millisecond)), max(bf16, x.rate(*l, 2*time.Millisecond))
		}
		t.Logf("%s: %.0f GFLOP/s in float32, %.0f in bfloat16", tier, f32/1e9, bf16/1e9)
		if ratio := bf16 / f32; x.FasterBF16() && ratio < 0.9 || !x.FasterBF16() && ratio > 1.1 {
			t.Errorf("%s: bfloat16 is %.2f times as fast as float32, the rule says faster: %v", tier, ratio, x.FasterBF16())
		}
	}
}

// TestPeakCountsItsOperations multiplies ones by ones: what the sums gain is the number of multiply-adds made.
func TestPeakCountsItsOperations(t *testing.T) {
	const turns = 1000
	for _, tier := range Tiers() {
		l := peakFP32(tier)
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
		if l := peakBF16(x); l != nil {
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

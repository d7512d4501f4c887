package kernel

import (
	"testing"
	"time"
)

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

package fused

import (
	"math"
	"os"
	"testing"

	"gimbal/internal/kernel"
	"gimbal/internal/testseed"
)

// newRand returns a generator whose seed is printed.
var newRand = testseed.Rand

// newExec makes an Exec that is closed with the test and must not have fallen back.
func newExec(t testing.TB, workers int, tier kernel.Tier) *kernel.Exec {
	t.Helper()
	x, err := kernel.NewExec(workers, tier)
	if err != nil {
		t.Fatal(err)
	}
	if x.Warning() != "" {
		t.Fatal(x.Warning())
	}
	t.Cleanup(x.Close)
	return x
}

// eachTier runs the test on every tier of this machine.
func eachTier(t *testing.T, test func(t *testing.T, x *kernel.Exec)) {
	for _, tier := range kernel.Tiers() {
		t.Run(tier.String(), func(t *testing.T) { test(t, newExec(t, 2, tier)) })
	}
}

// twin computes on the generic tier.
var twin *kernel.Exec

// roundBF16 is what the generic tier rounds v to.
func roundBF16(v float32) uint16 {
	var h [1]uint16
	kernel.ToBF16(twin, h[:], []float32{v})
	return h[0]
}

func bf16Value(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func geluOracle(x float64) float64 {
	return x * sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))
}

func geluSlopeOracle(x float64) float64 {
	c := 2 * math.Sqrt(2/math.Pi)
	s := sigmoid(c * (x + 0.044715*x*x*x))
	return s + x*s*(1-s)*c*(1+3*0.044715*x*x)
}

func widen(s [][]float32) [][]float64 {
	w := make([][]float64, len(s))
	for i := range s {
		for _, v := range s[i] {
			w[i] = append(w[i], float64(v))
		}
	}
	return w
}

func TestMain(m *testing.M) {
	// The tests choose their tiers themselves.
	if err := os.Unsetenv("GIMBAL_KERNEL"); err != nil {
		panic(err)
	}
	x, err := kernel.NewExec(1, kernel.Generic)
	if err != nil {
		panic(err)
	}
	twin = x
	os.Exit(m.Run())
}

package device

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/optim"
)

// Details of gradients and updates are those of the CPU, where numbers are not finite, too.
func TestStatsParity(t *testing.T) {
	everyUpdate(t, 2, func(t *testing.T, u *updater) {
		flat, norm := u.noise(1), 0.0
		for _, broken := range []bool{false, true} {
			if norm = u.cpu.GlobalNorm(flat); broken {
				flat[u.views[1].Lo+1] = float32(math.Inf(1)) // a norm: Muon does not spread it
			}
			want := make([]optim.TensorState, len(u.views))
			u.cpu.Stats(flat, want)
			wantMedian := u.cpu.Trial(u.params, flat, 1, 1e-3, 0.3, want)
			got, _ := u.propose(u.gradients(flat), 1, 1e-3, 0.3*norm)
			if !near(got.Median, wantMedian, 2e-5) &&
				!(broken && got.Median != got.Median && wantMedian != wantMedian) {
				t.Errorf("broken %v: the median of an update is %g, on the CPU %g", broken, got.Median, wantMedian)
			}
			for i, v := range u.views {
				g, w, x, y := got.Tensors[i].Grad, want[i].Grad, got.Tensors[i].Update, want[i].Update
				if !near(g.MeanAbs, w.MeanAbs, 2e-6) || !near(g.RMS, w.RMS, 2e-6) || !near(g.Max, w.Max, 1e-6) ||
					g.NonFinite != w.NonFinite {
					t.Errorf("%s: gradient %+v, want %+v", v.Name, g, w)
				}
				if broken {
					continue // there is no factor that clips such gradients
				}
				if !near(x.RMS, y.RMS, 2e-5) || !near(x.Max, y.Max, 5e-4) || !near(x.WeightRMS, y.WeightRMS, 1e-6) ||
					math.Abs(float64(x.Unmoved-y.Unmoved)) > 1 {
					t.Errorf("%s: update %+v, want %+v", v.Name, x, y)
				}
			}
		}
	})
}

// Norms of very large and very small gradients are those of the CPU, and numbers that are not finite show.
func TestNormsOfExtremes(t *testing.T) {
	u := newUpdater(t, parityArchs[1], 2, false)
	flat := u.noise(1)
	sizes := []float64{1e30, 3e37, 1e-30, 1e-20, 0}
	for i, v := range u.views {
		for j := v.Lo; j < v.Hi; j++ {
			flat[j] *= float32(sizes[i%len(sizes)])
		}
	}
	check := func() (global float64) {
		t.Helper()
		r, _ := u.propose(u.gradients(flat), 1, 1e-3, 1)
		norms, global := r.Norms, r.Norm
		want := make([]float64, len(u.views))
		u.cpu.SegmentNorms(flat, want)
		for i, v := range u.views {
			if !near(norms[i], want[i], 1e-6) && !(norms[i] != norms[i] && want[i] != want[i]) {
				t.Errorf("%s: norm %g, want %g", v.Name, norms[i], want[i])
			}
		}
		return global
	}
	if got, want := check(), u.cpu.GlobalNorm(flat); !near(got, want, 1e-6) {
		t.Errorf("global norm %g, want %g", got, want)
	}
	flat[u.views[2].Hi-1] = float32(math.Inf(-1))
	check()
	flat[u.views[3].Lo] = float32(math.NaN())
	if got := check(); got == got {
		t.Errorf("global norm %g of a gradient that is not a number", got)
	}
	r, _ := u.propose(u.gradients(flat), 1, 1e-3, 1)
	if r.Norm == r.Norm || r.Scale != 0 || r.Ratio != 0 {
		t.Errorf("a report of a gradient that is not a number: norm %g, scale %g, ratio %g", r.Norm, r.Scale, r.Ratio)
	}
}

// The sum of very many squares loses nothing to float32.
func TestNormOfMany(t *testing.T) {
	u := newUpdater(t, config.Arch{Shape: "llama", Layers: 1, Width: 256, Heads: 1, KVHeads: 1, HeadSize: 4, MLP: 4,
		Vocab: 20000, Context: 4, Norm: "rms", Position: "rope", RopeTheta: 1, MLPKind: "swiglu", Tie: true}, 1, false)
	flat := make([]float32, len(u.params))
	for i := range flat {
		flat[i] = 1 + float32(i%97)/100
	}
	r, _ := u.propose(u.gradients(flat), 1, 1e-3, 1)
	if want := u.cpu.GlobalNorm(flat); !near(r.Norm, want, 1e-6) {
		t.Errorf("norm %g, want %g", r.Norm, want)
	}
}

// Factors by tensor act on gradients as those of the CPU do.
func TestFactors(t *testing.T) {
	for _, muon := range []bool{false, true} {
		for _, devices := range []int{1, 2} {
			t.Run(fmt.Sprintf("muon=%v devices=%d", muon, devices), func(t *testing.T) {
				u := newUpdater(t, parityArchs[0], devices, muon)
				flat, factors, scales := u.noise(1), []float64{}, []float64{}
				for i := range u.views {
					factors = append(factors, []float64{1, 0.25, 0.01}[i%3])
					scales = append(scales, 0.7*factors[i])
				}
				u.update(u.gradients(flat), nil, 1, 1e-3, scales...)
				u.cpu.ScaleSegments(flat, factors)
				u.cpu.Update(u.params, flat, 1, 1e-3, 0.7)
				for i, v := range u.views {
					if far := farApart(fetch[float32](u, u.arrays[i], 0), u.params[v.Lo:v.Hi]); far > 1e-6 {
						t.Errorf("%s is off by %g", v.Name, far)
					}
				}
			})
		}
	}
}

// Two runs have the same bits, on one device and on several.
func TestUpdateSameBits(t *testing.T) {
	for _, devices := range []int{1, 4} {
		var first []float32
		for range 2 {
			u := newUpdater(t, parityArchs[1], devices, true)
			for step := int64(1); step <= 2; step++ {
				grads := u.gradients(u.noise(uint64(step)))
				r, directions := u.propose(grads, step, 1e-3, 1)
				u.update(grads, directions, step, 1e-3, slices.Repeat([]float64{r.Scale}, len(u.views))...)
			}
			var all []float32
			for i := range u.arrays {
				all = append(all, fetch[float32](u, u.arrays[i], devices-1)...)
			}
			if first != nil && !slices.Equal(first, all) {
				t.Errorf("%d devices: two runs differ", devices)
			}
			first = all
		}
	}
}

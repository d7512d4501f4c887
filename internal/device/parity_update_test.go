package device

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/engine"
	"gimbal/internal/graph"
	"gimbal/internal/kernel"
	"gimbal/internal/optim"
	"gimbal/internal/param"
)

// parityArchs have q, k and v apart and in one tensor, and sizes that no number of devices divides.
var parityArchs = []config.Arch{
	{Shape: "qwen3", Layers: 1, Width: 32, Heads: 4, KVHeads: 2, HeadSize: 8, MLP: 48, Vocab: 61, Context: 24,
		Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 10000, QKNorm: true, MLPKind: "swiglu"},
	{Shape: "gpt2", Layers: 1, Width: 34, Heads: 2, KVHeads: 2, HeadSize: 17, MLP: 150, Vocab: 161, Context: 24,
		Norm: "layer", NormEps: 1e-5, Position: "learned", QKVBias: true, Bias: true, MLPKind: "gelu", Tie: true},
}

// updater is an optimizer on the CPU, and the same on devices.
type updater struct {
	testing.TB
	graph.Optimizer
	s       Session
	cpu     *optim.Optimizer[float32]
	views   []param.View
	params  []float32
	arrays  []Array // params, then slots
	compile map[string]*Executable
}

func newUpdater(t testing.TB, a config.Arch, devices int, muon bool) *updater {
	x, err := kernel.NewExec(1, kernel.TierAuto)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	on(t, devices)
	u := &updater{TB: t, s: sessions[devices], compile: map[string]*Executable{}}
	u.Optimizer = graph.Optimizer{Arch: a, Segments: engine.Segments(a, param.Adapter{}), Devices: devices,
		Options: optim.Options{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, Muon: muon, Momentum: 0.95}}
	views, total := param.Layout(a)
	u.views, u.params = views, make([]float32, total)
	u.cpu = optim.New[float32](x, total, u.Segments, u.Options)
	r := rand.New(rand.NewPCG(3, 4))
	for _, v := range views {
		for i := v.Lo; i < v.Hi; i++ {
			u.params[i] = float32(0.1 * r.NormFloat64())
		}
		u.arrays = append(u.arrays, u.upload(graph.F32, v.Shape, u.params[v.Lo:v.Hi]))
	}
	for _, s := range u.Slots() {
		u.arrays = append(u.arrays, u.upload(s.Type, s.Dims, make([]float32, s.Shape.Bytes()/4)))
	}
	return u
}

// upload makes an array of a part that every device gets, or of a part for each.
func (u *updater) upload(t graph.Type, dims []int, data []float32) Array {
	u.Helper()
	a, err := u.s.Upload(u.Context(), graph.Shape{Type: t, Dims: dims}, u.Devices, bytesOf(data))
	if err != nil {
		u.Fatal(err)
	}
	return a
}

func (u *updater) run(p graph.Program, in ...Array) []Array {
	u.Helper()
	e := u.compile[p.Name]
	if e == nil || e.Text != p.Text {
		var err error
		if e, err = u.s.Compile(u.Context(), p); err != nil {
			u.Fatalf("%s: %v\n%s", p.Name, err, p.Text)
		}
		u.compile[p.Name] = e
	}
	out, err := u.s.Run(u.Context(), e, in)
	if err != nil {
		u.Fatalf("%s: %v", p.Name, err)
	}
	return out
}

// fetch returns what a device has of an array.
func fetch[T uint32 | float32](u *updater, a Array, device int) []T {
	u.Helper()
	dst := make([]T, a.Bytes()/4)
	if len(dst) == 0 {
		return dst
	}
	if err := u.s.Fetch(u.Context(), a, device, bytesOf(dst)); err != nil {
		u.Fatal(err)
	}
	return dst
}

// gradients uploads gradients, of which each device gets a part of the sum.
func (u *updater) gradients(flat []float32) (grads []Array) {
	for _, v := range u.views {
		data := flat[v.Lo:v.Hi]
		if u.Devices > 1 {
			data = nil
			for d := range u.Devices {
				for i := v.Lo; i < v.Hi; i++ {
					share := flat[i] / float32(u.Devices)
					if i%3 == 0 { // unequal ones
						share = flat[i] * float32(d*2) / float32(u.Devices*(u.Devices-1))
					}
					data = append(data, share)
				}
			}
		}
		grads = append(grads, u.upload(graph.F32, v.Shape, data))
	}
	if u.Devices > 1 {
		grads = u.run(u.Reduce(), grads...)
	}
	return grads
}

func (u *updater) vector(x []float32) Array { return u.upload(graph.F32, []int{len(x)}, x) }

// flat is what the slots hold on all devices, in the order of Slots.
func (u *updater) slot(i int) (all []float32) {
	for d := range u.Devices {
		all = append(all, fetch[float32](u, u.arrays[len(u.views)+i], d)...)
		if u.Devices == 1 {
			break
		}
	}
	return all
}

// farApart is the largest difference, relative to the element or the root mean square of want, whichever is larger.
func farApart(got, want []float32) (worst float64) {
	squares := 0.0
	for _, w := range want {
		squares += float64(w) * float64(w)
	}
	root := math.Sqrt(squares / float64(len(want)))
	for i, w := range want {
		if got[i] == w {
			continue
		}
		worst = max(worst, math.Abs(float64(got[i])-float64(w))/max(root, math.Abs(float64(w))))
	}
	if worst != worst {
		return math.Inf(1)
	}
	return worst
}

func near(x, y, share float64) bool { return x == y || math.Abs(x-y) <= share*math.Abs(y) }

// noise is gradients of very different sizes.
func (u *updater) noise(seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	flat := make([]float32, len(u.params))
	for i, v := range u.views {
		for j := v.Lo; j < v.Hi; j++ {
			flat[j] = float32(math.Pow(10, float64(i%5-3)) * r.NormFloat64())
		}
	}
	return flat
}

// propose runs Propose in detail and returns its report and directions.
func (u *updater) propose(grads []Array, step int64, lr, clip float64) (graph.Report, []Array) {
	in := append(slices.Clone(u.arrays), grads...)
	out := u.run(u.Propose(true), append(in, u.vector(u.Numbers(step, lr, clip)))...)
	last := u.Devices - 1
	return u.ReadReport(fetch[float32](u, out[0], last), fetch[float32](u, out[1], last),
		fetch[uint32](u, out[2], last)), out[3:]
}

// update runs Update by directions, or where there are none lets it make its own.
func (u *updater) update(grads, directions []Array, step int64, lr float64, scales ...float64) {
	in := append(slices.Clone(u.arrays), grads...)
	in = append(in, u.vector(u.Numbers(step, lr, scales...)))
	u.arrays = u.run(u.Update(u.Options.Muon && directions == nil), append(in, directions...)...)
}

// everyUpdate runs a test for both shapes, AdamW and Muon, on one device and several, up to most.
func everyUpdate(t *testing.T, most int, test func(t *testing.T, u *updater)) {
	for _, a := range parityArchs {
		for _, muon := range []bool{false, true} {
			for _, devices := range []int{1, 2, 4, 8} {
				if devices > most || a.Shape == "qwen3" && devices > 2 {
					continue
				}
				t.Run(fmt.Sprintf("%s muon=%v devices=%d", a.Shape, muon, devices), func(t *testing.T) {
					test(t, newUpdater(t, a, devices, muon))
				})
			}
		}
	}
}

// Several updates are those of the CPU, and so are the reports before them.
func TestUpdateParity(t *testing.T) {
	everyUpdate(t, 8, func(t *testing.T, u *updater) {
		for step := int64(1); step <= 4; step++ {
			flat := u.noise(uint64(step))
			grads := u.gradients(flat)
			lr := 1e-3 * float64(step)
			norm := u.cpu.GlobalNorm(flat)
			clip := norm * []float64{2, 0.5}[step%2]
			scale, err := optim.ClipScale(norm, clip)
			if err != nil {
				t.Fatal(err)
			}
			norms := make([]float64, len(u.views))
			u.cpu.SegmentNorms(flat, norms)
			ratio := u.cpu.UpdateRatio(u.params, flat, step, lr, scale)

			r, directions := u.propose(grads, step, lr, clip)
			if !near(r.Norm, norm, 1e-6) || !near(r.Scale, scale, 1e-6) || !near(r.Ratio, ratio, 1e-5) {
				t.Errorf("step %d: norm %g %g, scale %g %g, ratio %g %g", step, r.Norm, norm, r.Scale, scale, r.Ratio,
					ratio)
			}
			for i := range norms {
				if !near(r.Norms[i], norms[i], 1e-6) {
					t.Errorf("step %d: %s: norm %g %g", step, u.views[i].Name, r.Norms[i], norms[i])
				}
			}
			u.update(grads, directions, step, lr, slices.Repeat([]float64{r.Scale}, len(u.views))...)
			u.cpu.Update(u.params, flat, step, lr, scale)
			for i, v := range u.views {
				for d := range u.Devices {
					if far := farApart(fetch[float32](u, u.arrays[i], d), u.params[v.Lo:v.Hi]); far > 1e-6 {
						t.Errorf("step %d: device %d: %s is off by %g", step, d, v.Name, far)
					}
				}
			}
			for i, s := range u.Slots() {
				states := u.cpu.States(s.Tensor)
				k := slices.IndexFunc(states, func(x optim.State[float32]) bool { return x.Name == s.Name })
				got := u.slot(i)
				if far := farApart(got[:len(states[k].Data)], states[k].Data); far > 1e-6 {
					t.Errorf("step %d: %s of %s is off by %g", step, s.Name, u.views[s.Tensor].Name, far)
				}
				for _, x := range got[len(states[k].Data):] {
					if x != 0 {
						t.Fatalf("step %d: %s of %s has %g after its end", step, s.Name, u.views[s.Tensor].Name, x)
					}
				}
			}
		}
	})
}

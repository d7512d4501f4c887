package device

import (
	"math"
	"slices"
	"testing"

	"gimbal/internal/engine"
	"gimbal/internal/model"
	"gimbal/internal/safetensors"
)

// found is what an inspection found, without the value.
type found struct {
	pass, block      int
	found            bool
	gradient, weight engine.Element
}

func inspect(t *testing.T, e engine.Engine) (f found) {
	t.Helper()
	i, err := e.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	f.pass, f.found = i.Pass, i.Found
	if i.Found {
		f.block = i.Block
	}
	if i.Gradient != nil {
		f.gradient = engine.Element{Tensor: i.Gradient.Tensor, Index: i.Gradient.Index}
	}
	if i.Weight != nil {
		f.weight = engine.Element{Tensor: i.Weight.Tensor, Index: i.Weight.Index, Value: i.Weight.Value}
	}
	return f
}

// Faults inside the model do on devices what they do on the CPU, are found at the same place, and are gone when they
// are taken out.
func TestPlant(t *testing.T) {
	c := cpu(t)
	for _, a := range []int{0, 3} {
		s := spec(shapes[a], model.ModeFP32, false)
		for _, devices := range []int{1, 2} {
			e, w := open(t, on(t, devices), s), open(t, c, s)
			sound := propose(t, e, 1, engine.Norms|engine.NoUpdate)
			if f := inspect(t, e); f != (found{pass: -1}) {
				t.Errorf("nothing is planted, and %+v is found", f)
			}
			for _, f := range []engine.Fault{{Kind: engine.NaNActivation, Block: 1}, {Kind: engine.StopGradient,
				Block: 1},
				{Kind: engine.CutResidual}} {
				for _, p := range []engine.Engine{e, w} {
					p.(engine.Planter).Plant(f)
				}
				got, want := propose(t, e, 1, engine.Norms), propose(t, w, 1, engine.Norms)
				if f.Kind == engine.NaNActivation {
					if !math.IsNaN(got.Loss) || !math.IsNaN(got.GradNorm) || got.ClipScale != 1 ||
						got.UpdateRatio != 0 {
						t.Errorf("NaN: %+v", got)
					}
				} else if d := apart(numbers(got), numbers(want)); d > 1e-4 {
					t.Errorf("fault %d: %v apart: %v, want %v", f.Kind, d, numbers(got), numbers(want))
				}
				if got, want := inspect(t, e), inspect(t, w); got != want {
					t.Errorf("fault %d: found %+v, want %+v", f.Kind, got, want)
				}
			}
			e.(engine.Planter).Plant()
			r := propose(t, e, 1, engine.Norms|engine.NoUpdate)
			if r.Loss != sound.Loss || !slices.Equal(r.Norms, sound.Norms) {
				t.Errorf("taken out: %+v, want %+v", r, sound)
			}
			e.Close()
		}
	}
}

// What is harmed on devices is what is harmed on the CPU, and is found at the same place.
func TestHarm(t *testing.T) {
	c := cpu(t)
	s := spec(shapes[0], model.ModeFP32, false)
	name := engine.Tensors(s.Arch, s.Adapter)[2].Name
	for _, devices := range []int{1, 2} {
		e, w := open(t, on(t, devices), s), open(t, c, s)
		for _, f := range []engine.Fault{{Kind: engine.NaNGradient, Tensor: name},
			{Kind: engine.InfGradient, Tensor: name}, {Kind: engine.ScaleGradients,
				Factor: 1000}, {Kind: engine.FlipBit, Tensor: name},
			{Kind: engine.ScaleBlock, Block: 1, Factor: 0.01}, {Kind: engine.RoundWeights}} {
			var reports [2]engine.Report
			var weights [2][]safetensors.Entry
			for i, p := range []engine.Engine{e, w} {
				if err := p.Init(1); err != nil {
					t.Fatal(err)
				}
				propose(t, p, 1, 0)
				p.(engine.Planter).Harm(f)
				r, err := p.Propose(t.Context(), engine.Proposal{Step: 1, LR: 1e-2, Clip: 1, Scale: 1,
					Detail: engine.Norms})
				if err != nil {
					t.Fatal(err)
				}
				snapshot, err := p.Get()
				if err != nil {
					t.Fatal(err)
				}
				reports[i], weights[i] = r, clone(snapshot).Params
			}
			same := func(a, b float64) bool {
				return a == b || math.IsNaN(a) && math.IsNaN(b) || apart([]float64{a}, []float64{b}) < 1e-4
			}
			got, want := numbers(reports[0]), numbers(reports[1])
			for i := range got {
				if !same(got[i], want[i]) {
					t.Errorf("%d devices, fault %d: number %d is %v, want %v", devices, f.Kind, i, got[i], want[i])
				}
			}
			for i := range weights[0] {
				if !slices.Equal(weights[0][i].Data, weights[1][i].Data) {
					t.Errorf("%d devices, fault %d: %s differs", devices, f.Kind, weights[0][i].Name)
				}
			}
			if got, want := inspect(t, e), inspect(t, w); got != want {
				t.Errorf("%d devices, fault %d: found %+v, want %+v", devices, f.Kind, got, want)
			}
		}
		e.Close()
	}
}

// A weight so large that squares overflow gives a loss that is not finite, and not one of a model that knows nothing:
// the guard must see it.
func TestLargeWeight(t *testing.T) {
	for _, a := range []int{0, 3} {
		s := spec(shapes[a], model.ModeFP32, false)
		e := open(t, on(t, 1), s)
		snapshot, err := e.Get()
		if err != nil {
			t.Fatal(err)
		}
		snapshot = clone(snapshot)
		for i := range snapshot.Params[0].Data {
			snapshot.Params[0].Data[i] = 1e30 * float32(1+i%2)
		}
		if err := e.Set(safetensors.Memory(snapshot.Params), nil); err != nil {
			t.Fatal(err)
		}
		if r := propose(t, e, 1, engine.NoUpdate); !math.IsNaN(r.Loss) {
			t.Errorf("%s: a loss of %v", s.Arch.Shape, r.Loss)
		}
		e.Close()
	}
}

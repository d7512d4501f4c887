package engine

import (
	"math"
	"slices"
	"testing"

	"gimbal/internal/model"
)

// Every fault that sits in the model shows, in its place, until it is taken out again.
func TestPlant(t *testing.T) {
	o := opener(t)
	every(t, func(t *testing.T, s Spec) {
		e := open(t, o, s)
		sound := propose(t, e, 1, Norms|NoUpdate)
		norms := slices.Clone(sound.Norms)

		e.Plant(Fault{Kind: NaNActivation, Block: 1})
		r := propose(t, e, 1, 0)
		i, err := e.Inspect()
		if err != nil || !math.IsNaN(r.Loss) || i.Pass != 0 || !i.Found || i.Block != 1 || i.Gradient == nil {
			t.Errorf("NaN: %+v, %+v, %v", r, i, err)
		}

		e.Plant(Fault{Kind: StopGradient, Block: 1})
		r = propose(t, e, 1, Norms|NoUpdate)
		for k, v := range e.info.Tensors {
			cut := v.Block == 0 || v.Kind == "embed" && !s.Arch.Tie || v.Kind == "embed" && k > 0
			if cut != (r.Norms[k] == 0) && norms[k] != 0 {
				t.Errorf("stopped gradient: the norm of %s is %v", v.Name, r.Norms[k])
			}
		}
		if r.Loss != sound.Loss {
			t.Errorf("stopped gradient: the loss is %v, not %v", r.Loss, sound.Loss)
		}

		e.Plant(Fault{Kind: CutResidual, Block: 0})
		if r := propose(t, e, 1, NoUpdate); r.Loss == sound.Loss || !finite(r.Loss) {
			t.Errorf("cut residual: the loss is %v", r.Loss)
		}

		e.Plant()
		if r := propose(t, e, 1, Norms|NoUpdate); !same(r, sound) || !slices.Equal(r.Norms, norms) {
			t.Errorf("taken out: %+v, want %+v", r, sound)
		}
		if i, err := e.Inspect(); err != nil || i.Pass != -1 || i.Found || i.Gradient != nil || i.Weight != nil {
			t.Errorf("taken out: %+v, %v", i, err)
		}
	})
}

// Every fault that is done once does what it says, to the bit, and nothing else.
func TestHarm(t *testing.T) {
	o := opener(t)
	for _, mode := range modes {
		e := open(t, o, spec(shapes[0], mode))
		p := e.model.Trained()
		v, _ := p.Lookup(e.info.Tensors[5].Name)
		for _, tt := range []struct {
			fault  Fault
			change func(params, grads []float32)
		}{
			{Fault{Kind: NaNGradient, Tensor: v.Name}, func(_, grads []float32) { grads[v.Lo] = float32(math.NaN()) }},
			{Fault{Kind: InfGradient, Tensor: v.Name}, func(_, grads []float32) { grads[v.Lo] = float32(math.Inf(1)) }},
			{Fault{Kind: ScaleGradients, Factor: 1000}, func(_, grads []float32) {
				for i := range grads {
					grads[i] *= 1000
				}
			}},
			{Fault{Kind: FlipBit, Tensor: v.Name}, func(params, _ []float32) {
				params[v.Lo] = math.Float32frombits(math.Float32bits(params[v.Lo]) ^ 1<<30)
			}},
			{Fault{Kind: ScaleBlock, Block: 1, Factor: 0.01}, func(params, _ []float32) {
				for _, v := range p.Views {
					for i := v.Lo; i < v.Hi && v.Block == 1 && len(v.Shape) == 2; i++ {
						params[i] = float32(float64(params[i]) * 0.01)
					}
				}
			}},
			{Fault{Kind: RoundWeights}, func(params, _ []float32) {
				for i, w := range params { // to the nearest, a tie to the even one
					bits := math.Float32bits(w)
					low := bits & 0xffff
					bits -= low
					if low > 0x8000 || low == 0x8000 && bits>>16&1 == 1 {
						bits += 0x10000
					}
					params[i] = math.Float32frombits(bits)
				}
			}},
		} {
			if err := e.Init(1); err != nil {
				t.Fatal(err)
			}
			before := propose(t, e, 1, 0)
			params, grads := slices.Clone(p.Flat), slices.Clone(e.model.Grads())
			tt.change(params, grads)
			e.Harm(tt.fault)
			if got := firstOf(named{"weight", p.Flat, params}, named{"gradient", e.model.Grads(), grads}); got != "" {
				t.Errorf("%s, fault %d: %s", mode, tt.fault.Kind, got)
			}
			if tt.fault.Kind < FlipBit {
				continue
			}
			if mode == model.ModeBF16 && tt.fault.Kind == RoundWeights {
				continue // what the multiplies read is rounded already
			}
			if after := propose(t, e, 1, 0); same(before, after) { // the model must be refreshed
				t.Errorf("%s, fault %d: the passes see nothing of it", mode, tt.fault.Kind)
			}
		}
	}
}

// A weight that is too large for a model that computes is found.
func TestInspectFindsWeights(t *testing.T) {
	e := open(t, opener(t), spec(shapes[0], model.ModeFP32))
	v := e.model.Trained().Views[7]
	for _, w := range []float32{2e6, -1e6, float32(math.NaN()), float32(math.Inf(-1))} {
		e.model.Trained().Flat[v.Lo+3] = w
		i, err := e.Inspect()
		if err != nil || i.Weight == nil || i.Weight.Tensor != v.Name || i.Weight.Index != 3 ||
			!same(i.Weight.Value, float64(w)) {
			t.Errorf("%v: %+v, %v", w, i, err)
		}
	}
	e.model.Trained().Flat[v.Lo+3] = 9e5
	if i, err := e.Inspect(); err != nil || i.Weight != nil {
		t.Errorf("%+v, %v", i.Weight, err)
	}
}

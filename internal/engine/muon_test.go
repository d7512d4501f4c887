package engine

import (
	"slices"
	"testing"

	"gimbal/internal/model"
	"gimbal/internal/param"
)

// The matrices of blocks have their shape for Muon, and q, k and v of a GPT-2 are three; embeddings, heads, gains and
// biases have none.
func TestSegments(t *testing.T) {
	for _, a := range shapes {
		views, _ := param.Layout(a)
		for i, s := range Segments(a, param.Adapter{}) {
			v := views[i]
			matrix := slices.Contains([]param.Kind{param.KindQKV, param.KindO, param.KindGateUp, param.KindDown},
				v.Kind)
			if (s.Rows > 0) != matrix || s.Lo != v.Lo || s.Hi != v.Hi || s.Decay != v.Decay {
				t.Errorf("%s %s: %+v", a.Shape, v.Name, s)
			}
			matrices := 1
			if a.Shape == "gpt2" && v.Kind == param.KindQKV {
				matrices = 3
			}
			if matrix && (s.Cols != v.Shape[1] || matrices*s.Rows != v.Shape[0]) {
				t.Errorf("%s %s %v: matrices of %d x %d", a.Shape, v.Name, v.Shape, s.Rows, s.Cols)
			}
		}
	}
}

// A direction is that of the gradient as it is when the update is made: what changes a gradient after a proposal
// changes the update.
func TestUpdateFollowsItsGradient(t *testing.T) {
	s := spec(shapes[0], model.ModeFP32)
	s.Optim.Muon, s.Optim.Momentum = true, 0.95
	update := func(harm bool) []float32 {
		e := open(t, opener(t), s)
		r := propose(t, e, 1, 0)
		if harm {
			views := e.model.Trained().Views
			v := views[slices.IndexFunc(views, func(v param.View) bool { return v.Kind == param.KindO })]
			clear(e.model.Grads()[v.Lo : v.Lo+v.Shape[1]])
			e.Harm(Fault{Kind: ScaleGradients, Factor: 1})
		}
		if _, err := e.Commit(Update{Step: 1, LR: r.LR, Scale: r.ClipScale}); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(e.model.Trained().Flat)
	}
	if slices.Equal(update(false), update(true)) {
		t.Error("an update does not follow its gradient")
	}
}

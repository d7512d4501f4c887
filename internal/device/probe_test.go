package device

import (
	"math"
	"slices"
	"testing"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/model"
)

// A probe on devices says what the CPU says, and leaves gradients alone.
func TestProbe(t *testing.T) {
	c := cpu(t)
	for _, a := range shapes {
		s := spec(a, model.ModeFP32, false)
		e, w := open(t, on(t, 2), s), open(t, c, s)
		b := batchOf(1)
		in := engine.SequenceInput(b, slices.MaxFunc(b.Spans, func(a, b data.Span) int { return a.Len - b.Len }))
		got, err := e.Pass(t.Context(), in, engine.Probe|engine.Nats|engine.PerToken)
		want, err2 := w.Pass(t.Context(), in, engine.Probe|engine.Nats|engine.PerToken)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		numbers := func(v engine.Values) []float64 {
			p := v.Probe
			list := slices.Concat(p.Dead, []float64{p.LogZ, p.Logit, v.Nats}, v.TokenNats, v.TokenLogZ)
			for _, s := range p.Stream {
				list = append(list, s.RMS, s.Kept, s.Peak)
			}
			for _, h := range p.Heads {
				list = append(list, h.Logit, h.Entropy)
			}
			return list
		}
		if d := apart(numbers(got), numbers(want)); d > 1e-5 {
			t.Errorf("%s: %v apart:\n%v, want\n%v", a.Shape, d, numbers(got), numbers(want))
		}
		short := in
		short.Tokens, short.Labels, short.Counts = in.Tokens[:1], in.Labels[:1], in.Counts[:1]
		short.Bounds = []int32{0, 1}
		v, err := e.Pass(t.Context(), short, engine.Probe)
		if err != nil || !math.IsNaN(v.Probe.Heads[0].Entropy) || v.TokenNats != nil || v.Nats != 0 {
			t.Errorf("%s: %+v of one position: %v", a.Shape, v, err)
		}
		r, err := e.Propose(t.Context(), engine.Proposal{Step: 1, Clip: 1, Scale: 1, Detail: engine.NoUpdate})
		if err != nil || r.GradNorm != 0 {
			t.Errorf("%s: a gradient of norm %v: %v", a.Shape, r.GradNorm, err)
		}
		e.Close()
	}
}

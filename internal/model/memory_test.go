package model

import (
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/kernel"
	"gimbal/internal/rng"
)

func TestNothingIsAllocatedPerCall(t *testing.T) {
	x := newExec(t, 2, kernel.TierAuto)
	for shape := range shapes() {
		for _, c := range [][2]string{{CheckpointNone, ModeFP32}, {CheckpointBlock, ModeFP32},
			{CheckpointNone, ModeBF16}, {CheckpointBlock, ModeBF16}} {
			r := random(t)
			a := testArch(shape)
			a.Dropout = 0.1
			in := ragged(r, a.Vocab, 1, 30, 2, 80)
			in.Dropout = dropoutKeys(r, 4)
			m := newModel[float32](t, a, x, Options{MicroTokens: 200, Checkpointing: c[0], Mode: c[1]})
			m.Init(1)
			m.Backward(in, 1)
			if n := testing.AllocsPerRun(3, func() { m.Backward(in, 1); m.Loss(in); m.Refresh() }); n != 0 {
				t.Errorf("%s, %s: %v allocations in a step", a.Shape, c, n)
			}
		}
	}
}

func TestPlanIsWhatIsAllocated(t *testing.T) {
	x := newExec(t, 2, kernel.TierAuto)
	for i := range 2 * len(shapes()) {
		shape, numbers := i/2, []string{ModeFP32, ModeBF16}[i%2]
		totals := map[string]int64{}
		for _, mode := range []string{CheckpointNone, CheckpointAttention, CheckpointBlock} {
			a := testArch(shape)
			a.Layers, a.Dropout = 4, float64(shape%2)*0.1
			opt := Options{MicroTokens: 3000, Checkpointing: mode, Mode: numbers, Workers: x.Workers()}
			plan := Memory(a, opt)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m := newModel[float32](t, a, x, opt)
			runtime.ReadMemStats(&after)
			if got := m.Footprint(); got.Total != plan.Total || !slices.Equal(got.Parts, plan.Parts) {
				t.Errorf("%s, %s: planned\n%vallocated\n%v", a.Shape, mode, plan, got)
			}
			var sum int64
			for _, p := range plan.Parts {
				sum += p.Bytes
			}
			if sum != plan.Total {
				t.Errorf("%s, %s: parts sum to %d of %d bytes", a.Shape, mode, sum, plan.Total)
			}
			// The runtime rounds each buffer up, to pages of 8 KB at most; names and structs take a little.
			got := int64(after.TotalAlloc - before.TotalAlloc)
			if got < plan.Total || got > plan.Total+plan.Total/50+1<<20 {
				t.Errorf("%s, %s: planned %d bytes, the runtime gave %d", a.Shape, mode, plan.Total, got)
			}
			totals[mode] = plan.Total
		}
		if !(totals[CheckpointBlock] < totals[CheckpointAttention] &&
			totals[CheckpointAttention] < totals[CheckpointNone]) {
			t.Errorf("checkpointing does not save memory: %v", totals)
		}
	}
}

func TestLayout(t *testing.T) {
	for _, a := range append(shapes(), testArch(0), testArch(3)) {
		views, total := Layout(a)
		want, _ := a.Params()
		var sum int64
		names := map[string]bool{}
		end := 0
		for _, v := range views {
			n := 1
			for _, d := range v.Shape {
				n *= d
			}
			if v.Len() != n || v.Lo < end || v.Lo-end >= align || v.Hi > total || names[v.Name] {
				t.Fatalf("%s: bad view %+v after %d", a.Shape, v, end)
			}
			end, names[v.Name] = v.Hi, true
			sum += int64(n)
			matrix := len(v.Shape) == 2 && v.Kind != KindEmbed && v.Kind != KindPosition
			if v.Decay != matrix {
				t.Errorf("%s: decay of %s is %v", a.Shape, v.Name, v.Decay)
			}
			if (v.Block >= 0) != (strings.Contains(v.Name, ".layers.") || strings.Contains(v.Name, ".h.")) {
				t.Errorf("%s: block of %s is %d", a.Shape, v.Name, v.Block)
			}
		}
		if sum != want || total%align != 0 {
			t.Errorf("%s: %d parameters in %d elements, the architecture has %d", a.Shape, sum, total, want)
		}
		if head := names["lm_head.weight"] || names["embed_out.weight"]; head == a.Tie {
			t.Errorf("%s: tied %v, head stored %v", a.Shape, a.Tie, head)
		}
	}
	p := NewParams[float32](shapes()[2])
	q, _ := p.Lookup("model.layers.1.self_attn.q_proj.weight")
	k, _ := p.Lookup("model.layers.1.self_attn.k_proj.weight")
	v, _ := p.Lookup("model.layers.1.self_attn.v_proj.weight")
	if q.Hi != k.Lo || k.Hi != v.Lo || q.Lo%align != 0 {
		t.Errorf("q, k, v at %d-%d, %d-%d, %d-%d", q.Lo, q.Hi, k.Lo, k.Hi, v.Lo, v.Hi)
	}
	if p.Tensor("no such tensor") != nil || len(p.Tensor(q.Name)) != q.Len() {
		t.Error("look-up by name")
	}
}

func TestInit(t *testing.T) {
	x := newExec(t, 2, kernel.TierAuto)
	a := testArch(3)
	a.Width, a.MLP, a.HeadSize = 64, 256, 16
	m := newModel[float64](t, a, x, Options{MicroTokens: 100})
	m.Init(7)
	inside := make([]bool, len(m.params.Flat))
	for _, v := range m.params.Views {
		sum, squares := 0.0, 0.0
		for i := v.Lo; i < v.Hi; i++ {
			inside[i] = true
			sum += m.params.Flat[i]
			squares += m.params.Flat[i] * m.params.Flat[i]
		}
		n := float64(v.Len())
		mean, rms := sum/n, math.Sqrt(squares/n)
		want := 0.02
		switch v.Kind {
		case KindNorm:
			want = 1
		case KindBias:
			want = 0
		case KindO, KindDown:
			want = 0.02 / math.Sqrt(2*float64(a.Layers))
		}
		tol := 5 * want / math.Sqrt(2*n)
		if v.Kind == KindNorm {
			tol = 0
		} else if math.Abs(mean) > 5*want/math.Sqrt(n) {
			t.Errorf("%s: mean %g", v.Name, mean)
		}
		if math.Abs(rms-want) > tol {
			t.Errorf("%s: rms %g, want %g", v.Name, rms, want)
		}
	}
	for i, v := range m.params.Flat {
		if !inside[i] && v != 0 {
			t.Fatalf("gap at %d holds %g", i, v)
		}
	}
	firsts := map[float64]string{}
	for _, v := range m.params.Views {
		if v.Kind != KindNorm && v.Kind != KindBias {
			first := math.Round(m.params.Flat[v.Lo] / m.params.Flat[v.Lo+1] * 1e9)
			if firsts[first] != "" {
				t.Errorf("%s and %s begin alike", firsts[first], v.Name)
			}
			firsts[first] = v.Name
		}
	}
	// Values belong to names: one more layer moves them and changes none but the projections' scale.
	b := a
	b.Layers++
	other := newModel[float64](t, b, x, Options{MicroTokens: 100})
	other.Init(7)
	for _, name := range []string{"transformer.wte.weight", "transformer.h.1.attn.c_attn.weight", "lm_head.weight"} {
		if !slices.Equal(m.params.Tensor(name), other.params.Tensor(name)) {
			t.Errorf("%s depends on the number of layers", name)
		}
	}
	other.Init(8)
	if slices.Equal(m.params.Tensor("lm_head.weight"), other.params.Tensor("lm_head.weight")) {
		t.Error("another seed gives the same weights")
	}
}

func TestLossAtInitIsNearUniform(t *testing.T) {
	x := newExec(t, 2, kernel.TierAuto)
	for i := range 2 * len(shapes()) {
		shape, mode := i/2, []string{ModeFP32, ModeBF16}[i%2]
		r := random(t)
		a := testArch(shape)
		in := ragged(r, a.Vocab, 100, 50, 3)
		m := newModel[float32](t, a, x, Options{MicroTokens: 200, Mode: mode})
		m.Init(r.Uint64())
		if loss := m.Loss(in) / float64(len(in.Tokens)); math.Abs(loss-math.Log(float64(a.Vocab))) > 0.05 {
			t.Errorf("%s: %.4f nats, ln V is %.4f", a.Shape, loss, math.Log(float64(a.Vocab)))
		}
		clear(m.grads)
		in.Counts = make([]bool, len(in.Tokens))
		if loss := m.Backward(in, 1); loss != 0 ||
			slices.ContainsFunc(m.grads, func(g float32) bool { return g != 0 }) {
			t.Errorf("%s: nothing counts, but the loss is %v or a gradient is not zero", a.Shape, loss)
		}
		if loss := m.Backward(Input{Bounds: []int32{0}}, 1); loss != 0 {
			t.Errorf("%s: an empty input has loss %v", a.Shape, loss)
		}
	}
}

func TestNonFiniteValuesFlow(t *testing.T) {
	eachMode(t, 2, func(t *testing.T, x *kernel.Exec, mode string) {
		for shape := range shapes() {
			r := random(t)
			a := testArch(shape)
			in := ragged(r, a.Vocab, 3, 70)
			m := newModel[float32](t, a, x, Options{MicroTokens: 100, Mode: mode})
			for n, v := range m.params.Views {
				if v.Kind != KindEmbed && v.Kind != KindPosition { // whose rows might not be read
					bad := []float64{math.NaN(), math.Inf(1)}[n%2]
					m.Init(3)
					at := r.IntN(v.Len())
					m.params.Flat[v.Lo+at] = float32(bad)
					m.Refresh()
					clear(m.grads)
					loss := m.Backward(in, 1)
					_, _, _, found := m.params.FirstNonFinite(m.grads)
					if loss-loss == 0 || !found {
						t.Fatalf("%s: %v in %s: loss %v, in a gradient %v", a.Shape, bad, v.Name, loss, found)
					}
					name, i, value, found := m.params.FirstNonFinite(m.params.Flat)
					if name != v.Name || i != at || value == value && value != bad || !found {
						t.Fatalf("first non-finite is %s[%d] = %v, want %s[%d] = %v", name, i, value, v.Name, at, bad)
					}
				}
			}
			m.Init(3)
			if name, _, _, found := m.params.FirstNonFinite(m.params.Flat); found {
				t.Errorf("%s is called non-finite", name)
			}
		}
	})
}

func TestDropoutKeepsTheExpectation(t *testing.T) {
	x := newExec(t, 2, kernel.TierAuto)
	r := random(t)
	a := testArch(0)
	in := ragged(r, a.Vocab, 40, 40)
	m := newModel[float64](t, a, x, Options{MicroTokens: 100})
	m.Init(1)
	without := m.Loss(in)
	in.Dropout = dropoutKeys(r, 2)
	if m.Loss(in) != without {
		t.Error("keys change a model without dropout")
	}
	a.Dropout = 0.3
	d := newModel[float64](t, a, x, Options{MicroTokens: 100})
	d.Init(1)
	first := d.Loss(in)
	if d.Loss(in) != first {
		t.Error("the same keys give different masks")
	}
	seen := map[rng.Key]bool{}
	for place := range 2*a.Layers + 1 {
		for _, k := range d.site(uint64(place)).Keys {
			if seen[k] {
				t.Errorf("place %d shares a mask with another", place)
			}
			seen[k] = true
		}
	}
	in.Dropout = []rng.Key{in.Dropout[1], in.Dropout[0]}
	if d.Loss(in) == first {
		t.Error("other keys give the same masks")
	}
	in.Dropout = nil
	if d.Loss(in) != without {
		t.Error("without keys something is dropped")
	}
}

func TestNewRefuses(t *testing.T) {
	x := newExec(t, 1, kernel.TierAuto)
	good := shapes()[0]
	for _, c := range []struct {
		want   string
		change func() (a2 Options)
	}{
		{"micro-batch", func() Options { return Options{} }},
		{"numeric.mode", func() Options { return Options{MicroTokens: 8, Mode: "fp8"} }},
		{"numeric.checkpointing", func() Options { return Options{MicroTokens: 8, Checkpointing: "most"} }},
	} {
		if _, err := New[float32](good, x, c.change()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one about %s", err, c.want)
		}
	}
	if _, err := New[float64](good, x, Options{MicroTokens: 8, Mode: ModeBF16}); err == nil ||
		!strings.Contains(err.Error(), "float32") {
		t.Errorf("bf16 in float64: %v", err)
	}
	if m, err := New[float64](good, x, Options{MicroTokens: 8, Mode: ModeAuto}); err != nil || m.Mode() != ModeFP32 {
		t.Errorf("auto in float64: %v", err)
	}
	m := newModel[float32](t, good, x, Options{MicroTokens: 8, Mode: ModeAuto})
	if want := ResolveMode(x, ModeAuto); m.Mode() != want || (want == ModeBF16) != x.FasterBF16() {
		t.Errorf("auto is %s here, not %s", m.Mode(), want)
	}
	odd := good
	odd.KVHeads = 3
	if _, err := New[float32](odd, x, Options{MicroTokens: 8}); err == nil || !strings.Contains(err.Error(), "evenly") {
		t.Errorf("3 key heads for 4 query heads: %v", err)
	}
}

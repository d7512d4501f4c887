package model

import (
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/kernel"
	"gimbal/internal/param"
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
				if v.Kind != param.KindEmbed && v.Kind != param.KindPosition { // whose rows might not be read
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

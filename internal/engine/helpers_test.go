package engine

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/param"
	"gimbal/internal/rng"
)

const (
	vocab  = 61
	length = 24
	micro  = 40
)

// shapes are the four families, with every choice that they make.
var shapes = []config.Arch{
	{Shape: "qwen3", Layers: 3, Width: 32, Heads: 4, KVHeads: 2, HeadSize: 8, MLP: 48, Vocab: vocab, Context: length,
		Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 10000, QKNorm: true, MLPKind: "swiglu", Tie: true},
	{Shape: "llama", Layers: 2, Width: 32, Heads: 2, KVHeads: 2, HeadSize: 16, MLP: 64, Vocab: vocab, Context: length,
		Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 10000, MLPKind: "swiglu", Dropout: 0.1},
	{Shape: "qwen2", Layers: 2, Width: 32, Heads: 4, KVHeads: 1, HeadSize: 8, MLP: 48, Vocab: vocab, Context: length,
		Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 10000, QKVBias: true, MLPKind: "swiglu"},
	{Shape: "gpt2", Layers: 2, Width: 32, Heads: 4, KVHeads: 4, HeadSize: 8, MLP: 128, Vocab: vocab, Context: length,
		Norm: "layer", NormEps: 1e-5, Position: "learned", QKVBias: true, Bias: true, MLPKind: "gelu", Tie: true},
}

var modes = []string{model.ModeFP32, model.ModeBF16}

// every runs a test for all shapes in both precisions, and with Muon.
func every(t *testing.T, test func(t *testing.T, s Spec)) {
	for _, a := range shapes {
		for _, mode := range modes {
			t.Run(fmt.Sprintf("%s %s", a.Shape, mode), func(t *testing.T) { test(t, spec(a, mode)) })
		}
		t.Run(a.Shape+" muon", func(t *testing.T) {
			s := spec(a, model.ModeFP32)
			s.Optim.Muon, s.Optim.Momentum = true, 0.95
			test(t, s)
		})
		t.Run(a.Shape+" adapter", func(t *testing.T) {
			s := spec(a, model.ModeFP32)
			s.Adapter = param.Adapter{Rank: 4, Scale: 2, Targets: param.AllTargets, Dropout: 0.1,
				Base: param.FormatBF16}
			test(t, s)
		})
		t.Run(a.Shape+" dora", func(t *testing.T) {
			s := spec(a, model.ModeFP32)
			s.Adapter = param.Adapter{Rank: 4, Scale: 2, Targets: param.AllTargets, DoRA: true, Base: param.FormatInt8}
			test(t, s)
		})
	}
}

func spec(a config.Arch, mode string) Spec {
	return Spec{Arch: a, MicroTokens: micro, Checkpointing: model.CheckpointAttention, Mode: mode,
		Optim: optim.Options{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1}}
}

func opener(t testing.TB) Opener {
	t.Helper()
	o, err := CPU(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

// open returns an engine with the weights of seed 1.
func open(t testing.TB, o Opener, s Spec) *cpuEngine {
	t.Helper()
	e, err := o.Open(s)
	if err == nil {
		err = e.Init(1)
	}
	if err != nil {
		t.Fatal(err)
	}
	unsettle(e.(*cpuEngine).model, s)
	return e.(*cpuEngine)
}

// unsettle gives an adapter numbers that are not zero: a fresh one has gradients that are.
func unsettle(m *model.Model[float32], s Spec) {
	if s.Adapter.Rank == 0 {
		return
	}
	p, key := m.Trained(), rng.New(1, rng.Init)
	for _, v := range p.Views {
		for i := v.Lo; i < v.Hi; i++ {
			p.Flat[i] += float32(0.05 * key.Normal(uint64(i)))
		}
	}
	m.Refresh()
}

// batch is sequences of many lengths, of which most labels count.
func batch(step int64) *data.Batch {
	b, key := new(data.Batch), rng.New(7, rng.Order).Sub(uint64(step))
	for i := range 7 {
		n := 1 + int(key.Uint64(uint64(1000+i))%length)
		b.Spans = append(b.Spans, data.Span{Start: len(b.Tokens), Len: n, Doc: data.Ref{Source: int32(i)}})
		for range n {
			x, y := key.Block(uint64(len(b.Tokens)))
			b.Tokens, b.Labels = append(b.Tokens, int32(x%vocab)), append(b.Labels, int32(y%vocab))
			b.Counts = append(b.Counts, x>>40%8 != 0)
		}
	}
	for _, c := range b.Counts {
		if c {
			b.Counted++
		}
	}
	return b
}

// propose runs the passes of a step on its batch and returns the report.
func propose(t testing.TB, e Engine, step int64, d Detail) Report {
	t.Helper()
	acc := Accumulator{MicroTokens: micro, Dropout: true, Seed: 3}
	b := batch(step)
	e.Discard()
	if err := acc.Gradient(t.Context(), e, b, step); err != nil {
		t.Fatal(err)
	}
	r, err := e.Propose(t.Context(), Proposal{Step: step, LR: 1e-2, Clip: 1, Scale: Scale(b), Detail: d})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// train makes steps from first to last.
func train(t testing.TB, e Engine, first, last int64) {
	t.Helper()
	for step := first; step <= last; step++ {
		r := propose(t, e, step, 0)
		if _, err := e.Commit(Update{Step: step, LR: r.LR, Scale: r.ClipScale}); err != nil {
			t.Fatal(err)
		}
	}
}

// held is everything that training changes, bit by bit.
type held struct{ params, m, v []float32 }

func (e *cpuEngine) held() held {
	return held{slices.Clone(e.model.Trained().Flat), slices.Clone(e.opt.M), slices.Clone(e.opt.V)}
}

// first is where two memories differ, "" where every bit is the same.
func (a held) first(b held) string {
	return firstOf(named{"weight", a.params, b.params}, named{"first moment", a.m, b.m},
		named{"second moment", a.v, b.v})
}

type named struct {
	name string
	a, b []float32
}

func firstOf(all ...named) string {
	for _, n := range all {
		if len(n.a) != len(n.b) {
			return "length of " + n.name
		}
		for i := range n.a {
			if math.Float32bits(n.a[i]) != math.Float32bits(n.b[i]) {
				return fmt.Sprintf("%s %d: %v and %v", n.name, i, n.a[i], n.b[i])
			}
		}
	}
	return ""
}

// same compares numbers, NaN with NaN too.
func same(a, b any) bool { return fmt.Sprintf("%v", deref(a)) == fmt.Sprintf("%v", deref(b)) }

func deref(x any) any {
	if v := reflect.ValueOf(x); v.Kind() == reflect.Pointer && !v.IsNil() {
		return v.Elem().Interface()
	}
	return x
}

package device

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/model"
	"gimbal/internal/optim"
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

func spec(a config.Arch, mode string, muon bool) engine.Spec {
	s := engine.Spec{Arch: a, MicroTokens: micro, Checkpointing: model.CheckpointAttention, Mode: mode,
		Optim: optim.Options{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1}}
	if muon {
		s.Optim.Muon, s.Optim.Momentum = true, 0.95
	}
	return s
}

// every runs a test for all shapes, with AdamW and with Muon.
func every(t *testing.T, test func(t *testing.T, s engine.Spec)) {
	for _, a := range shapes {
		for _, muon := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s muon %v", a.Shape, muon), func(t *testing.T) {
				test(t, spec(a, model.ModeFP32,
					muon))
			})
		}
	}
}

// open returns an engine with the weights of seed 1.
func open(t testing.TB, o engine.Opener, s engine.Spec) engine.Engine {
	t.Helper()
	e, err := o.Open(s)
	if err == nil {
		err = e.Init(1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func cpu(t testing.TB) engine.Opener {
	t.Helper()
	o, err := engine.CPU(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

// sessions are those that tests share, by the number of devices: to compile a program takes seconds.
var sessions = map[int]Session{}

// on returns the opener on so many devices of the first plugin under test. PJRT_CACHE is a folder that keeps compiled
// programs from one run of the tests to the next.
func on(t testing.TB, devices int) engine.Opener {
	t.Helper()
	if sessions[devices] == nil {
		o := testOptions(t, plugins(t)[0], devices)
		o.Cache = os.Getenv("PJRT_CACHE")
		if o.Cache == "" {
			o.Cache = filepath.Join(filepath.Dir(o.Helper), "programs")
		}
		o.Env = []string{quick}
		s, err := Open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		sessions[devices] = s
	}
	return New(sessions[devices], EngineOptions{Devices: devices})
}

// batch is sequences of many lengths, of which most labels count.
func batchOf(step int64) *data.Batch {
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
func propose(t testing.TB, e engine.Engine, step int64, d engine.Detail) engine.Report {
	t.Helper()
	acc := engine.Accumulator{MicroTokens: micro, Dropout: e.Info().Arch.Dropout > 0, Seed: 3}
	b := batchOf(step)
	e.Discard()
	if err := acc.Gradient(t.Context(), e, b, step); err != nil {
		t.Fatal(err)
	}
	r, err := e.Propose(t.Context(), engine.Proposal{Step: step, LR: 1e-2, Clip: 1, Scale: engine.Scale(b), Detail: d})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func commit(t testing.TB, e engine.Engine, u engine.Update) {
	t.Helper()
	if _, err := e.Commit(u); err != nil {
		t.Fatal(err)
	}
}

// train makes steps from first to last and returns their losses.
func train(t testing.TB, e engine.Engine, first, last int64) (losses []float64) {
	t.Helper()
	return trainAt(t, e, first, last, 1e-2)
}

// trainAt is train at a rate.
func trainAt(t testing.TB, e engine.Engine, first, last int64, lr float64) (losses []float64) {
	t.Helper()
	for step := first; step <= last; step++ {
		r := propose(t, e, step, 0)
		commit(t, e, engine.Update{Step: step, LR: lr, Scale: r.ClipScale})
		losses = append(losses, r.Loss)
	}
	return losses
}

// apart is the largest relative difference of two lists.
func apart(a, b []float64) (most float64) {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	for i := range a {
		d := math.Abs(a[i]-b[i]) / max(math.Abs(a[i]), math.Abs(b[i]), 1e-30)
		if a[i] == b[i] {
			d = 0
		}
		most = max(most, d)
	}
	return most
}

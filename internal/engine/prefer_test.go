package engine

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/safetensors"
)

// readJSON reads a recorded file.
func readJSON(t *testing.T, path string, to any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// unpacked are float64, little-endian in base64.
func unpacked(t *testing.T, text string) []float64 {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]float64, len(raw)/8)
	if _, err := binary.Decode(raw, binary.LittleEndian, list); err != nil {
		t.Fatal(err)
	}
	return list
}

// near reports whether two numbers are the same but for rounding.
func near(got, want, limit float64) bool { return math.Abs(got-want) <= limit*math.Abs(want) }

// Loss, rewards and the gradient of every tensor are those of TRL, which testdata/dpo.py has recorded: in float64, and
// as an engine computes them.
func TestPreferenceIsTRL(t *testing.T) {
	var golden struct {
		Beta, Smoothing float64
		Sequences       []struct {
			Prompt    int
			IDs       []int32
			Reference float64 `json:"reference_nats"`
			Nats      float64
		}
		Loss, Margin, Accuracy float64
		Smoothed               float64           `json:"smoothed_loss"`
		Chosen                 float64           `json:"chosen_reward"`
		Rejected               float64           `json:"rejected_reward"`
		Gradients              map[string]string `json:"gradients"`
	}
	readJSON(t, filepath.Join("testdata", "dpo.json"), &golden)
	var weights struct {
		Tensors []struct {
			Name  string
			Shape []int
			Value string
		}
	}
	readJSON(t, filepath.Join("..", "model", "testdata", "parity", "qwen3.json"), &weights)

	b := &data.Batch{}
	p := &Preference{Beta: golden.Beta}
	for i, s := range golden.Sequences {
		n := len(s.IDs) - 1
		b.Spans = append(b.Spans, data.Span{Start: len(b.Tokens), Len: n, Index: i})
		b.Tokens, b.Labels = append(b.Tokens, s.IDs[:n]...), append(b.Labels, s.IDs[1:]...)
		for k := range n {
			b.Counts = append(b.Counts, k+1 >= s.Prompt)
		}
		p.Reference = append(p.Reference, s.Reference)
	}
	b.Counted = len(b.Tokens)
	arch := config.Arch{Shape: "qwen3", Layers: 2, Width: 16, Heads: 2, KVHeads: 1, HeadSize: 8, MLP: 24, Vocab: 29,
		Context: 12, Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 10000, QKNorm: true, MLPKind: "swiglu",
		Tie: true}
	x, err := kernel.NewExec(2, kernel.Generic)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	m, err := model.New[float64](arch, x, model.Options{MicroTokens: len(b.Tokens)})
	if err != nil {
		t.Fatal(err)
	}
	var entries []safetensors.Entry
	for _, w := range weights.Tensors {
		v, ok := m.Params().Lookup(w.Name)
		if !ok {
			t.Fatal(w.Name)
		}
		copy(m.Params().Flat[v.Lo:v.Hi], unpacked(t, w.Value))
		entry := safetensors.Entry{Name: w.Name, Shape: w.Shape, Data: make([]float32, v.Len())}
		for i := range entry.Data {
			entry.Data[i] = float32(m.Params().Flat[v.Lo+i])
		}
		entries = append(entries, entry)
	}
	m.Refresh()

	in := model.Input{Tokens: b.Tokens, Labels: b.Labels, Counts: b.Counts, Bounds: []int32{0}}
	for _, s := range b.Spans {
		in.Bounds = append(in.Bounds, int32(s.Start+s.Len))
	}
	m.Loss(in)
	var nats []float64
	for i, s := range b.Spans {
		sum := 0.0
		for _, n := range m.TokenNats()[s.Start : s.Start+s.Len] {
			sum += n
		}
		if nats = append(nats, sum); !near(sum, golden.Sequences[i].Nats, 1e-12) {
			t.Errorf("sequence %d has %v nats, transformers %v", i, sum, golden.Sequences[i].Nats)
		}
	}
	in.Weights = make([]float64, len(b.Tokens))
	all := p.Score(b, nats, in.Weights)
	for what, c := range map[string][2]float64{"loss": {all.Mean(all.Loss), golden.Loss},
		"margin":   {all.Margin(p.Beta), golden.Margin},
		"accuracy": {all.Mean(all.Correct), golden.Accuracy},
		"chosen":   {p.Beta * all.Mean(all.Ratio[0]), golden.Chosen},
		"rejected": {p.Beta * all.Mean(all.Ratio[1]), golden.Rejected}} {
		if !near(c[0], c[1], 1e-10) {
			t.Errorf("%s %v, TRL %v", what, c[0], c[1])
		}
	}
	m.Backward(in, 1/float64(all.Count))
	norms := map[string]float64{}
	for name, text := range golden.Gradients {
		v, ok := m.Params().Lookup(name)
		if !ok {
			t.Fatal(name)
		}
		diff, size := 0.0, 0.0
		for i, want := range unpacked(t, text) {
			d := m.Grads()[v.Lo+i] - want
			diff, size = diff+d*d, size+want*want
		}
		norms[name] = math.Sqrt(size)
		if !(math.Sqrt(diff) <= 1e-6*norms[name]) {
			t.Errorf("gradient of %s: off by %.2g of %.3g", name, math.Sqrt(diff), norms[name])
		}
	}

	o, err := CPU(1)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for _, micro := range []int{len(b.Tokens), 12} { // together, and each sequence alone
		e, err := o.Open(Spec{Arch: arch, MicroTokens: micro, Checkpointing: "none", Mode: "fp32",
			Optim: optim.Options{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if err := e.Set(safetensors.Memory(entries), nil); err != nil {
			t.Fatal(err)
		}
		acc := &Accumulator{MicroTokens: micro, Prefer: p}
		if err := acc.Gradient(t.Context(), e, b, 1); err != nil {
			t.Fatal(err)
		}
		if got := acc.Pairs.Mean(acc.Pairs.Loss); !near(got, golden.Loss, 1e-6) {
			t.Errorf("loss %v of an engine, TRL %v", got, golden.Loss)
		}
		r, err := e.Propose(t.Context(), Proposal{Step: 1, Clip: 1, Detail: Norms | NoUpdate})
		if err != nil {
			t.Fatal(err)
		}
		for k, tensor := range e.Info().Tensors {
			if want, ok := norms[tensor.Name]; ok && !near(r.Norms[k], want, 1e-5) {
				t.Errorf("%s has a gradient of %v, TRL %v", tensor.Name, r.Norms[k], want)
			}
		}
	}

	p.Smoothing = golden.Smoothing
	smooth := p.Score(b, nats, in.Weights)
	if !near(smooth.Mean(smooth.Loss), golden.Smoothed, 1e-10) {
		t.Errorf("loss with smoothing %v, want %v", smooth.Mean(smooth.Loss), golden.Smoothed)
	}
	const step = 1e-5
	for i := range nats { // the weights are derivatives of the summed loss
		at := b.Spans[i].Start
		loss := func(d float64) float64 {
			moved := append([]float64(nil), nats...)
			moved[i] += d
			return p.Score(b, moved, nil).Loss
		}
		if got, want := in.Weights[at], (loss(step)-loss(-step))/(2*step); !near(got, want, 1e-6) {
			t.Errorf("weight %d is %v, the derivative %v", i, got, want)
		}
	}
}

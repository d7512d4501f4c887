package model_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"gimbal/internal/config"
	"gimbal/internal/family"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/optim"
)

// golden is what testdata/parity/record.py and families.py record from PyTorch in float64.
type golden struct {
	RecordedBy string          `json:"recorded_by"`
	Config     json.RawMessage // config.json as transformers saves it; families.py only
	Spans      []int
	Tokens     []int32
	Labels     []int32
	Counts     []bool
	Loss       float64
	Nats       values
	Logits     values
	AdamW      struct {
		LR          float64
		Beta1       float64
		Beta2       float64
		Eps         float64
		WeightDecay float64 `json:"weight_decay"`
		Clip        float64
	}
	Steps []struct {
		Loss     float64
		GradNorm float64 `json:"grad_norm"`
	}
	LossAfter float64 `json:"loss_after"`
	Tensors   []struct {
		Name               string
		Shape              []int
		Decay              bool
		Value, Grad, After values
		Scale, Shift       float64 // of Value, where that is not there
	}
}

// values are float64, little-endian in base64.
type values []float64

func (v *values) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	*v = make(values, len(raw)/8)
	_, err = binary.Decode(raw, binary.LittleEndian, []float64(*v))
	return err
}

// The shapes of record.py.
var parityArchs = []config.Arch{
	{Shape: "qwen3", Layers: 2, Width: 16, Heads: 2, KVHeads: 1, HeadSize: 8, MLP: 24, Vocab: 29, Context: 12,
		Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 10000, QKNorm: true, MLPKind: "swiglu", Tie: true},
	{Shape: "qwen2", Layers: 2, Width: 16, Heads: 2, KVHeads: 1, HeadSize: 8, MLP: 24, Vocab: 29, Context: 12,
		Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 10000, QKVBias: true, MLPKind: "swiglu", Tie: true},
	{Shape: "llama", Layers: 2, Width: 16, Heads: 2, KVHeads: 1, HeadSize: 8, MLP: 24, Vocab: 29, Context: 12,
		Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 10000,
		RopeScale: config.RopeScale{Kind: "llama3", Factor: 8, Low: 0.25, High: 4, Original: 32}, MLPKind: "swiglu"},
	{Shape: "gpt2", Layers: 2, Width: 16, Heads: 2, KVHeads: 2, HeadSize: 8, MLP: 64, Vocab: 29, Context: 12,
		Norm: "layer", NormEps: 1e-5, Position: "learned", QKVBias: true, Bias: true, MLPKind: "gelu", Tie: true},
}

func readGolden(t *testing.T, shape string) *golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "parity", shape+".json"))
	if err != nil {
		t.Fatalf("golden is missing: %v", err)
	}
	g := new(golden)
	if err := json.Unmarshal(data, g); err != nil {
		t.Fatal(err)
	}
	for n, w := range g.Tensors {
		if len(w.Value) > 0 {
			continue
		}
		for i := range len(w.Grad) { // as families.py draws them
			u := uint64(40503*(i+1) + 9973*n)
			g.Tensors[n].Value = append(g.Tensors[n].Value, w.Shift+w.Scale*(float64(u*u%(1<<32))/(1<<31)-1))
		}
	}
	if len(g.Steps) != 10 || len(g.Tensors) == 0 || len(g.Logits)%len(g.Tokens) != 0 {
		t.Fatalf("golden has %d steps, %d tensors, %d logits", len(g.Steps), len(g.Tensors), len(g.Logits))
	}
	return g
}

// goldenArchs are the decoders that are recorded.
func goldenArchs(t *testing.T) []config.Arch {
	list := slices.Clone(parityArchs)
	for _, shape := range []string{"olmo2", "smollm3", "phi3", "gpt_neox", "gemma3_text", "gemma2", "gemma",
		"stablelm", "granite", "olmo", "phi", "gpt_neo", "opt"} {
		a, _, _, err := family.Parse(readGolden(t, shape).Config)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

// limits are the largest differences allowed.
type limits struct {
	logits float64 // absolute
	loss   float64 // relative, before each of ten steps and after them
	grad   float64 // see gradError
	params float64 // absolute, after ten steps; parameters are of the order of 1
}

// The float64 twin must agree to rounding.
func TestParityFloat64(t *testing.T) {
	for _, arch := range goldenArchs(t) {
		t.Run(arch.Shape, func(t *testing.T) {
			// Of a gradient: the difference against the norm of all gradients.
			gradError := func(diff, _, all float64) float64 { return diff / all }
			parity[float64](t, arch, kernel.Generic, gradError,
				limits{logits: 1e-12, loss: 1e-12, grad: 1e-9, params: 1e-9})
		})
	}
}

// float32 must agree on every tier: tensor by tensor, so that a small one cannot hide behind a large one.
func TestParityFloat32(t *testing.T) {
	for _, tier := range kernel.Tiers() {
		for _, arch := range goldenArchs(t) {
			t.Run(tier.String()+"/"+arch.Shape, func(t *testing.T) {
				gradError := func(diff, tensor, all float64) float64 {
					if tensor < 1e-12*all { // zero but for rounding, as that of a key bias without RoPE
						tensor = all
					}
					return diff / max(tensor, 1e-6*all)
				}
				parity[float32](t, arch, tier, gradError, limits{logits: 1e-5, loss: 1e-5, grad: 1e-5, params: 1e-4})
			})
		}
	}
}

func parity[T kernel.Float](t *testing.T, arch config.Arch, tier kernel.Tier,
	gradError func(diff, tensor, all float64) float64, limit limits) {
	g := readGolden(t, arch.Shape)
	single := unsafe.Sizeof(T(0)) == 4
	x, err := kernel.NewExec(2, tier)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if x.Warning() != "" {
		t.Fatal(x.Warning())
	}
	n := len(g.Tokens)
	m, err := model.New[T](arch, x, model.Options{MicroTokens: n})
	if err != nil {
		t.Fatal(err)
	}
	p := m.Params()
	if len(p.Views) != len(g.Tensors) {
		t.Fatalf("%d tensors, PyTorch has %d", len(p.Views), len(g.Tensors))
	}
	counted := 0
	for _, c := range g.Counts {
		if c {
			counted++
		}
	}
	in := model.Input{Tokens: g.Tokens, Labels: g.Labels, Counts: g.Counts, Bounds: []int32{0}}
	for _, s := range g.Spans {
		in.Bounds = append(in.Bounds, in.Bounds[len(in.Bounds)-1]+int32(s))
	}
	segments := make([]optim.Segment, 0, len(p.Views))
	for _, v := range p.Views {
		segments = append(segments, optim.Segment{Lo: v.Lo, Hi: v.Hi, Decay: v.Decay})
	}
	for _, w := range g.Tensors {
		v, ok := p.Lookup(w.Name)
		if !ok || !slices.Equal(v.Shape, w.Shape) || v.Decay != w.Decay {
			t.Fatalf("%s: shape %v, decay %v; PyTorch has %v, %v", w.Name, v.Shape, v.Decay, w.Shape, w.Decay)
		}
		for i, e := range w.Value {
			p.Flat[v.Lo+i] = T(e)
		}
	}
	m.Refresh()

	var worst limits // what was reached
	logits := make([]T, n*arch.Vocab)
	m.Logits(logits, in)
	for i, want := range g.Logits {
		worst.logits = max(worst.logits, math.Abs(float64(logits[i])-want))
	}
	relative := func(got, want float64) float64 { return math.Abs(got-want) / want }
	worst.loss = relative(m.Loss(in)/float64(counted), g.Loss)
	for i, got := range m.TokenNats() {
		if g.Counts[i] {
			worst.loss = max(worst.loss, relative(float64(got), g.Nats[i]))
		}
	}

	opt := optim.New[T](x, len(p.Flat), segments, optim.Options{
		Beta1: g.AdamW.Beta1, Beta2: g.AdamW.Beta2, Eps: g.AdamW.Eps, WeightDecay: g.AdamW.WeightDecay})
	for step, want := range g.Steps {
		clear(m.Grads())
		loss := m.Backward(in, 1/float64(counted)) / float64(counted)
		worst.loss = max(worst.loss, relative(loss, want.Loss))
		norm := opt.GlobalNorm(m.Grads())
		if relative(norm, want.GradNorm) > limit.grad {
			t.Errorf("step %d: gradient norm %v, PyTorch has %v", step+1, norm, want.GradNorm)
		}
		if step == 0 {
			for _, w := range g.Tensors {
				v, _ := p.Lookup(w.Name)
				var diff, tensor float64
				for i, e := range w.Grad {
					d := float64(m.Grads()[v.Lo+i]) - e
					diff, tensor = diff+d*d, tensor+e*e
				}
				e := gradError(math.Sqrt(diff), math.Sqrt(tensor), want.GradNorm)
				worst.grad = max(worst.grad, e)
				if !(e <= limit.grad) {
					t.Errorf("gradient of %s: error %.2g of %.3g", w.Name, e, math.Sqrt(tensor))
				}
			}
		}
		scale, err := optim.ClipScale(norm, g.AdamW.Clip)
		if err != nil {
			t.Fatal(err)
		}
		opt.Update(p.Flat, m.Grads(), int64(step+1), g.AdamW.LR, scale)
		m.Refresh()
	}
	worst.loss = max(worst.loss, relative(m.Loss(in)/float64(counted), g.LossAfter))
	for _, w := range g.Tensors {
		for i, got := range p.Tensor(w.Name) {
			// A key bias adds the same to all scores of a row: its true gradient is zero, and AdamW, which divides by
			// the root of the second moment, makes steps of the size of the rate out of its rounding errors.
			if single &&
				((strings.HasSuffix(w.Name, ".c_attn.bias") || strings.HasSuffix(w.Name, ".query_key_value.bias")) &&
					i/arch.Width == 1 || strings.HasSuffix(w.Name, ".k_proj.bias")) {
				continue
			}
			worst.params = max(worst.params, math.Abs(float64(got)-w.After[i]))
		}
	}
	t.Logf("largest errors: logits %.1e, loss %.1e, gradients %.1e, parameters after %d steps %.1e",
		worst.logits, worst.loss, worst.grad, len(g.Steps), worst.params)
	if !(worst.logits <= limit.logits && worst.loss <= limit.loss && worst.params <= limit.params) {
		t.Errorf("limits: %+v", limit)
	}
}

package device

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/engine"
	"gimbal/internal/model"
	"gimbal/internal/param"
	"gimbal/internal/safetensors"
)

// tuned is what is trained from weights that exist, and how.
type tuned struct {
	arch                  config.Arch
	adapter               param.Adapter
	muon, prefer, sharded bool
	devices               int
}

func (c tuned) spec() engine.Spec {
	s := spec(c.arch, model.ModeFP32, c.muon)
	s.Adapter = c.adapter
	return s
}

func (c tuned) opener(t *testing.T) engine.Opener {
	on(t, c.devices)
	return New(sessions[c.devices], EngineOptions{Devices: c.devices, Sharded: c.sharded})
}

// begin opens an engine beside weights of seed 1, with an adapter that changes them.
func (c tuned) begin(t *testing.T, o engine.Opener) engine.Engine {
	t.Helper()
	whole := spec(c.arch, model.ModeFP32, false)
	whole.Forward = true
	of := open(t, cpu(t), whole)
	base := must[engine.Snapshot](t)(of.Get())
	e := must[engine.Engine](t)(o.Open(c.spec()))
	t.Cleanup(func() { e.Close() })
	if err := e.Init(2); err != nil {
		t.Fatal(err)
	}
	if err := e.Set(safetensors.Memory(base.Params), nil); err != nil {
		t.Fatal(err)
	}
	own := clone(must[engine.Snapshot](t)(e.Get()))
	for _, p := range own.Params {
		for i := range p.Data {
			if c.adapter.Rank > 0 {
				p.Data[i] += float32(0.1 * math.Sin(float64(i+len(p.Name))))
			}
		}
	}
	if err := e.Set(safetensors.Memory(own.Params), safetensors.Memory(own.Slots)); err != nil {
		t.Fatal(err)
	}
	return e
}

// steps makes steps from first to last, and returns their losses and norms and what the last one says.
func (c tuned) steps(t *testing.T, e engine.Engine, first, last int64) (losses []float64, r engine.Report) {
	t.Helper()
	acc := engine.Accumulator{MicroTokens: micro, Dropout: c.arch.Dropout+c.adapter.Dropout > 0, Seed: 3}
	if c.prefer {
		acc.Prefer = &engine.Preference{Beta: 0.5, Smoothing: 0.1}
	}
	for step := first; step <= last; step++ {
		b := batchOf(step)
		b.Spans = b.Spans[:6] // three pairs
		n := b.Spans[5].Start + b.Spans[5].Len
		b.Tokens, b.Labels, b.Counts = b.Tokens[:n], b.Labels[:n], b.Counts[:n]
		e.Discard()
		if err := acc.Gradient(t.Context(), e, b, step); err != nil {
			t.Fatal(err)
		}
		var err error
		r, err = e.Propose(t.Context(), engine.Proposal{Step: step, LR: 1e-3, Clip: 1, Scale: engine.Scale(b),
			Detail: engine.Norms | engine.TensorStats})
		if err != nil {
			t.Fatal(err)
		}
		commit(t, e, engine.Update{Step: step, LR: 1e-3, Scale: r.ClipScale})
		losses = append(losses, r.Loss, r.GradNorm, acc.Pairs.Loss)
	}
	return losses, r
}

// An adapter, and preferences, on one device and on several, take the steps that they take on the CPU: reports, losses
// of ten steps, checkpoints that move from one to the other, and the same bits after a resume.
func TestTuned(t *testing.T) {
	for name, c := range map[string]tuned{
		"dropout, base in bf16": {arch: shapes[2], devices: 1, adapter: param.Adapter{Rank: 4, Scale: 2,
			Targets: param.AllTargets, Dropout: 0.2, Base: param.FormatBF16}},
		"Muon, DoRA, on two": {arch: shapes[3], devices: 2, muon: true, adapter: param.Adapter{Rank: 3, Scale: 1.5,
			Targets: param.TargetQ | param.TargetDown, DoRA: true}},
		"preferences, dropout of branches, parts in bf16 on four": {arch: shapes[1], devices: 4, sharded: true,
			prefer: true, adapter: param.Adapter{Rank: 3, Scale: 1.5, Targets: param.AllTargets,
				Base: param.FormatBF16}},
		"preferences of all weights": {arch: shapes[0], devices: 1, prefer: true},
	} {
		t.Run(name, func(t *testing.T) {
			e, w := c.begin(t, c.opener(t)), c.begin(t, cpu(t))
			got, said := c.steps(t, e, 1, 5)
			want, wanted := c.steps(t, w, 1, 5)
			if d := apart(numbers(said), numbers(wanted)); d > 1e-3 {
				t.Errorf("reports are %.2g apart: %v, want %v", d, numbers(said), numbers(wanted))
			}
			half := clone(must[engine.Snapshot](t)(e.Get()))
			later, _ := c.steps(t, e, 6, 10)
			laterWant, _ := c.steps(t, w, 6, 10)
			if d := apart(append(got, later...), append(want, laterWant...)); d > 1e-4 {
				t.Errorf("losses are %.2g apart: %v %v, want %v %v", d, got, later, want, laterWant)
			}
			end := clone(must[engine.Snapshot](t)(e.Get()))

			params, slots := safetensors.Memory(half.Params), safetensors.Memory(half.Slots)
			for _, o := range []engine.Opener{c.opener(t), cpu(t)} {
				e := c.begin(t, o)
				if err := e.Set(params, slots); err != nil {
					t.Fatal(err)
				}
				if back, err := e.Get(); err != nil || !reflect.DeepEqual(back, half) {
					t.Errorf("what was set is not what is there: %v", err)
				}
				resumed, _ := c.steps(t, e, 6, 10)
				if d := apart(resumed, later); d > 1e-4 {
					t.Errorf("after a resume losses are %.2g apart", d)
				}
				if _, own := e.(*deviceEngine); own && !reflect.DeepEqual(must[engine.Snapshot](t)(e.Get()), end) {
					t.Error("a resumed run has other bits")
				}
			}
		})
	}
}

// What is evaluated and written with an adapter is what the CPU evaluates and writes.
func TestTunedForward(t *testing.T) {
	c := tuned{arch: shapes[0], devices: 1, adapter: param.Adapter{Rank: 3, Scale: 1.5, Targets: param.AllTargets,
		DoRA: true, Base: param.FormatBF16}}
	var values [2]engine.Values
	var logits [2][]float32
	for i, o := range []engine.Opener{c.opener(t), cpu(t)} {
		e := c.begin(t, o)
		in := engine.SequenceInput(batchOf(9), batchOf(9).Spans[0])
		values[i] = must[engine.Values](t)(e.Pass(t.Context(), in, engine.PerToken))
		values[i].Probe = must[engine.Values](t)(e.Pass(t.Context(), in, engine.Probe)).Probe
		d, err := e.Decoder(2, 8)
		if err != nil {
			t.Fatal(err)
		}
		d.Refresh()
		logits[i] = make([]float32, 2*vocab)
		if err := d.Decode(t.Context(), []int32{3, 1, 4, 1}, []int32{0, 0, 0, 1}, logits[i]); err != nil {
			t.Fatal(err)
		}
	}
	if d := max(apart(values[0].TokenNats, values[1].TokenNats), apart(values[0].TokenLogZ, values[1].TokenLogZ),
		math.Abs(values[0].Probe.Logit/values[1].Probe.Logit-1)); d > 1e-5 {
		t.Errorf("values are %.2g apart", d)
	}
	if d := farApart(logits[0], logits[1]); d > 1e-5 {
		t.Errorf("logits are %.2g apart", d)
	}
}

// Beside weights that are drawn or read an adapter is what it is on the CPU, in parts, too, and frozen weights in
// bfloat16 take half of the memory.
func TestAdapterState(t *testing.T) {
	s := spec(shapes[0], model.ModeFP32, true)
	s.Adapter = param.Adapter{Rank: 3, Scale: 1.5, Targets: param.AllTargets, DoRA: true, Base: param.FormatBF16}
	whole := spec(shapes[0], model.ModeFP32, false)
	base := clone(must[engine.Snapshot](t)(open(t, cpu(t), whole).Get())).Params
	for i := range base[2].Data {
		base[2].Data[i] *= 3
	}
	f := newFake(t, 3)
	w, e := open(t, cpu(t), s), open(t, New(f, EngineOptions{Sharded: true}), s)
	for i := range 3 {
		params := base
		if i == 1 { // and the adapter stays where its base is read again
			params = clone(must[engine.Snapshot](t)(w.Get())).Params
			params[0].Data[1] = 7
		}
		for _, e := range []engine.Engine{w, e} {
			if err := e.Set(safetensors.Memory(params), nil); err != nil {
				t.Fatal(err)
			}
		}
		want := must[engine.Snapshot](t)(w.Get())
		if got, err := e.Get(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d: other weights or slots: %v", i, err)
		}
	}
	own := e.(*deviceEngine)
	for i, a := range own.frozen {
		bytes, matrix := 4, strings.Contains(base[i].Name, "_proj")
		if matrix {
			bytes = 2
		}
		if n := up(len(base[i].Data), 3) * bytes; a.Bytes() != n {
			t.Errorf("%s takes %d bytes of a device, want %d", base[i].Name, a.Bytes(), n)
		}
	}
	if err := e.Set(safetensors.Memory(base[1:]), nil); err == nil || !strings.Contains(err.Error(), base[0].Name) {
		t.Errorf("a base without a tensor: %v", err)
	}
	if err := e.Close(); err != nil || len(f.alive) > 0 {
		t.Errorf("%d arrays after the end: %v", len(f.alive), err)
	}
}

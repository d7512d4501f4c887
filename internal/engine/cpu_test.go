package engine

import (
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/generate"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/safetensors"
)

// What Get returns goes through the files of a checkpoint and into another engine, which then makes the same steps.
func TestGetSetThroughFiles(t *testing.T) {
	o := opener(t)
	every(t, func(t *testing.T, s Spec) {
		e := open(t, o, s)
		train(t, e, 1, 3)
		snap, err := e.Get()
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "checkpoints")
		path, err := checkpoint.Save(durable.OS, dir, &checkpoint.Snapshot{Step: 3, Model: snap.Params,
			Optimizer: snap.Slots})
		if err != nil {
			t.Fatal(err)
		}
		c, err := checkpoint.Open(durable.OS, path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		other := open(t, o, s)
		propose(t, other, 5, 0) // leaves gradients, which Set clears
		if err := other.Set(c.Model(), c.Optimizer()); err != nil {
			t.Fatal(err)
		}
		if r, err := other.Propose(t.Context(), Proposal{Step: 4, LR: 1, Clip: 1, Scale: 1}); err != nil ||
			r.GradNorm != 0 || r.Loss != 0 {
			t.Errorf("gradients are left: %+v, %v", r, err)
		}
		train(t, e, 4, 5)
		train(t, other, 4, 5)
		if got := e.held().first(other.held()); got != "" {
			t.Error(got)
		}
	})
}

// Slots stay as they are where none are given.
func TestSetParametersOnly(t *testing.T) {
	o := opener(t)
	from, e := open(t, o, spec(shapes[3], model.ModeFP32)), open(t, o, spec(shapes[3], model.ModeFP32))
	train(t, from, 1, 2)
	train(t, e, 3, 3)
	want := e.held()
	want.params = from.held().params
	snap, err := from.Get()
	if err == nil {
		err = e.Set(safetensors.Memory(snap.Params), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := e.held().first(want); got != "" {
		t.Error(got)
	}
}

// Names and shapes of all tensors are looked at before the first is overwritten.
func TestSetRefuses(t *testing.T) {
	o := opener(t)
	from, e := open(t, o, spec(shapes[0], model.ModeFP32)), open(t, o, spec(shapes[0], model.ModeFP32))
	train(t, from, 1, 1)
	train(t, e, 2, 2)
	before := e.held()
	snap, err := from.Get()
	if err != nil {
		t.Fatal(err)
	}
	last := len(snap.Slots) - 1
	wrong := slices.Clone(snap.Slots)
	wrong[last].Shape = []int{wrong[last].Shape[0], 1}
	for name, tt := range map[string]struct {
		params, slots []safetensors.Entry
		text          string
	}{
		"a parameter is missing": {snap.Params[1:], snap.Slots, snap.Params[0].Name},
		"a slot is missing": {snap.Params, snap.Slots[:last],
			snap.Slots[last].Name + " [" + strconv.Itoa(snap.Slots[last].Shape[0])},
		"a slot has no shape": {snap.Params, wrong, snap.Slots[last].Name + " has shape"},
	} {
		err := e.Set(safetensors.Memory(tt.params), safetensors.Memory(tt.slots))
		if err == nil || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", name, err)
		}
		if got := e.held().first(before); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// Weights that are not finite are not taken: every number that is computed with them would be NaN.
func TestSetRefusesNonFinite(t *testing.T) {
	every(t, func(t *testing.T, s Spec) {
		e := open(t, opener(t), s)
		snap, err := e.Get()
		if err != nil {
			t.Fatal(err)
		}
		bad := slices.Clone(snap.Params)
		bad[1].Data = slices.Clone(bad[1].Data)
		bad[1].Data[0] = float32(math.Inf(1))
		err = e.Set(safetensors.Memory(bad), nil)
		if err == nil || !strings.Contains(err.Error(), bad[1].Name+"[0] is +Inf") {
			t.Errorf("%v", err)
		}
	})
}

// Nothing that is not finite is given out.
func TestGetRefusesNonFinite(t *testing.T) {
	e := open(t, opener(t), spec(shapes[0], model.ModeFP32))
	v := e.model.Trained().Views[3]
	for what, values := range map[string][]float32{"weight ": e.model.Trained().Flat, "slot exp_avg.": e.opt.M,
		"slot exp_avg_sq.": e.opt.V} {
		old := values[v.Lo+2]
		values[v.Lo+2] = float32(math.NaN())
		_, err := e.Get()
		if err == nil || err.Error() != "engine: "+what+v.Name+"[2] is NaN" {
			t.Errorf("%s: %v", what, err)
		}
		values[v.Lo+2] = old
	}
	if _, err := e.Get(); err != nil {
		t.Error(err)
	}
}

// Init draws the same weights from the same seed, whatever was there.
func TestInit(t *testing.T) {
	o := opener(t)
	e, fresh := open(t, o, spec(shapes[2], model.ModeFP32)), open(t, o, spec(shapes[2], model.ModeFP32))
	train(t, e, 1, 2)
	if e.held().first(fresh.held()) == "" {
		t.Fatal("nothing was trained")
	}
	if err := e.Init(1); err != nil {
		t.Fatal(err)
	}
	if got := e.held().first(fresh.held()); got != "" {
		t.Error(got)
	}
}

// An engine for passes without gradient computes the same losses, and has nothing to train with.
func TestForwardOnly(t *testing.T) {
	o := opener(t)
	every(t, func(t *testing.T, s Spec) {
		if s.Adapter.Rank > 0 {
			return // its tensors are not those of the architecture
		}
		full := open(t, o, s)
		train(t, full, 1, 2)
		snap, err := full.Get()
		if err != nil {
			t.Fatal(err)
		}
		s.Forward = true
		e := open(t, o, s)
		if err := e.Set(safetensors.Memory(snap.Params), nil); err != nil {
			t.Fatal(err)
		}
		in := SequenceInput(batch(4), batch(4).Spans[1])
		want, err := full.Pass(t.Context(), in, Nats)
		got, err2 := e.Pass(t.Context(), in, Nats)
		if err != nil || err2 != nil || want.Nats != got.Nats || want.Nats == 0 {
			t.Errorf("%v, want %v: %v, %v", got, want, err, err2)
		}
		if again, err := e.Get(); err != nil || again.Slots != nil ||
			!slices.Equal(again.Params[0].Data, snap.Params[0].Data) {
			t.Errorf("%d slots, or other weights: %v", len(again.Slots), err)
		}
		memory, params := o.Estimate(s), int64(len(e.model.Trained().Flat))
		if less := full.model.Footprint().Total - memory.Model; memory.Slots != 0 ||
			memory.Model != e.model.Footprint().Total ||
			e.model.Grads() != nil || less < 4*params || less > 4*params+128 {
			t.Errorf("%+v, %d bytes less than with the gradients of %d parameters", memory, less, params)
		}
		if i, err := e.Inspect(); err != nil || i.Gradient != nil || i.Weight != nil {
			t.Errorf("%+v, %v", i, err)
		}
		for name, call := range map[string]func(){
			"gradient": func() { e.Pass(t.Context(), in, Gradient) },
			"proposal": func() { e.Propose(t.Context(), Proposal{Step: 1, Clip: 1}) },
			"update":   func() { e.Commit(Update{Step: 1}) },
			"slots":    func() { e.Set(safetensors.Memory(snap.Params), safetensors.Memory(snap.Slots)) },
		} {
			func() {
				defer func() {
					if text, ok := recover().(string); !ok || !strings.HasPrefix(text, "engine: ") {
						t.Errorf("%s: no panic of the engine", name)
					}
				}()
				call()
			}()
		}
	})
}

// What is estimated is what is allocated.
func TestEstimate(t *testing.T) {
	o := opener(t)
	every(t, func(t *testing.T, s Spec) {
		e := open(t, o, s)
		params := int64(0)
		for _, tensor := range e.Info().Tensors {
			params += tensor.Len()
		}
		want := 8 * params
		if s.Adapter.Rank > 0 {
			want = 8 * int64(len(e.model.Trained().Flat)) // with what lies between tensors
		}
		if s.Optim.Muon {
			want = optim.Bytes(params, segmentsOf(e.model.Trained().Views), s.Optim, 2)
		}
		if m := o.Estimate(s); m.Model != e.model.Footprint().Total || m.Slots != want {
			t.Errorf("%+v, want %d and %d", m, e.model.Footprint().Total, want)
		}
	})
	if _, err := o.Open(Spec{Arch: shapes[0], Mode: "fp32"}); err == nil {
		t.Error("an engine of no positions was opened")
	}
}

// Every tensor has its kind, its block and its place.
func TestInfo(t *testing.T) {
	o := opener(t)
	every(t, func(t *testing.T, s Spec) {
		if s.Adapter.Rank > 0 {
			return // its tensors are not those of the architecture
		}
		i := open(t, o, s).Info()
		if i.Arch != s.Arch || i.Mode != s.Mode || i.Numerics != o.Hardware().Name+" "+s.Mode {
			t.Errorf("%+v", i)
		}
		kinds := map[string]int{}
		for n, v := range i.Tensors {
			kinds[v.Kind]++
			want := "norm"
			for part, kind := range map[string]string{"attn.": "attn", "mlp.": "mlp", "embed": "embed",
				"transformer.w": "embed", "lm_head": "head"} {
				if strings.Contains(v.Name, part) && strings.HasSuffix(v.Name, ".weight") &&
					!strings.Contains(v.Name, "_norm") {
					want = kind
				}
			}
			block := -1
			for _, part := range strings.Split(v.Name, ".") {
				if b, err := strconv.Atoi(part); err == nil {
					block = b
				}
			}
			if v.Kind != want || v.Block != block {
				t.Errorf("tensor %d: %+v, want kind %s and block %d", n, v, want, block)
			}
		}
		if kinds["attn"] == 0 || kinds["mlp"] == 0 || kinds["norm"] == 0 || kinds["embed"] == 0 ||
			(kinds["head"] == 0) != s.Arch.Tie {
			t.Errorf("%v", kinds)
		}
	})
	if h := o.Hardware(); h.Workers != 2 || h.Name == "" || h.Free < 0 {
		t.Errorf("%+v", h)
	}
}

// The multiplies of this machine are right; one wrong element of any of them is found and named.
func TestSelfTest(t *testing.T) {
	o := opener(t)
	for _, mode := range modes {
		s := spec(shapes[0], mode)
		if text := o.SelfTest(s); text != "" {
			t.Errorf("%s: %s", mode, text)
		}
		sound := newMultiplies(o.(*cpuOpener).x, mode)
		for k, name := range []string{"element (0, 3) of x·Wᵀ is", "element (0, 3) of dy·W is",
			"element (0, 3) of dyᵀ·x is"} {
			text := CompareMultiplies(func(w, x, dy []float32, n, out, in int) (y, dx, dw []float32) {
				y, dx, dw = sound(w, x, dy, n, out, in)
				[][]float32{y, dx, dw}[k][3]++
				return y, dx, dw
			}, s, "this "+mode)
			if !strings.HasPrefix(text, name) || !strings.Contains(text, " on this "+mode+" and ") ||
				!strings.HasSuffix(text, " in plain Go") {
				t.Errorf("%q, want %q …", text, name)
			}
		}
	}
}

// A decoder writes with the parameters of its last Refresh.
func TestDecoder(t *testing.T) {
	o := opener(t)
	every(t, func(t *testing.T, s Spec) {
		e := open(t, o, s)
		d, err := e.Decoder(3, length)
		if err != nil {
			t.Fatal(err)
		}
		write := func() []generate.Sample {
			d.Refresh()
			samples, err := generate.New(d).Generate(t.Context(),
				[]generate.Request{{Prompt: []int32{1, 5}}, {Prompt: []int32{9}, Index: 1}},
				generate.Options{Temperature: 1, MaxTokens: 20})
			if err != nil {
				t.Fatal(err)
			}
			return samples
		}
		first := write()
		train(t, e, 1, 5)
		second := write()
		if same(first, second) || len(second[0].Tokens) != 20 {
			t.Errorf("before training %v, afterwards %v", first, second)
		}
		direct, err := e.model.Decoder(model.DecoderOptions{Tokens: 5, Rows: 3})
		if err != nil {
			t.Fatal(err)
		}
		d = model.NewWriter(direct, 3, length)
		if third := write(); !same(second, third) {
			t.Errorf("the engine's decoder writes %v, the model's %v", second, third)
		}
		if _, err := e.Decoder(0, length); err == nil {
			t.Error("a decoder of no rows was made")
		}
	})
}

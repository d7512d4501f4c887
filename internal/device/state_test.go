package device

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/engine"
	"gimbal/internal/model"
	"gimbal/internal/safetensors"
)

// Init draws the weights of the CPU, on any number of devices, and clears the slots.
func TestInit(t *testing.T) {
	for _, a := range shapes {
		s := spec(a, model.ModeFP32, true)
		want, err := open(t, cpu(t), s).Get()
		if err != nil {
			t.Fatal(err)
		}
		_, e := fakeOn(t, 2, s)
		if got, err := e.Get(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: other weights or slots: %v", a.Shape, err)
		}
	}
}

// Names and shapes are looked at before anything is overwritten, and nothing that is not finite is given out.
func TestSetAndGetRefuse(t *testing.T) {
	_, e := fakeOn(t, 3, spec(shapes[0], model.ModeFP32, false))
	before, err := e.Get()
	if err != nil {
		t.Fatal(err)
	}
	before = clone(before)
	params, slots := before.Params, before.Slots
	nan := func(s *safetensors.Entry) { s.Data[2] = float32(math.NaN()) }
	for text, tt := range map[string][2][]safetensors.Entry{
		"weight " + params[3].Name + "[2] is NaN": {changed(params, 3, nan), slots},

		params[0].Name:       {params[1:], slots},
		slots[3].Name + " [": {params, slices.Delete(slices.Clone(slots), 3, 4)},
		slots[4].Name + " has ": {params, changed(slots, 4, func(s *safetensors.Entry) {
			s.Shape = append([]int{1}, s.Shape...)
		})},
	} {
		err := e.Set(safetensors.Memory(tt[0]), safetensors.Memory(tt[1]))
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
		if after, err := e.Get(); err != nil || !reflect.DeepEqual(after, before) {
			t.Errorf("%q: something was overwritten: %v", text, err)
		}
	}
	if err := e.Set(safetensors.Memory(params), safetensors.Memory(changed(slots, 5, nan))); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Get(); err == nil || !strings.Contains(err.Error(), "slot "+slots[5].Name+"[2] is NaN") {
		t.Error(err)
	}
	if err := e.Set(safetensors.Memory(params), nil); err != nil { // the slots stay
		t.Fatal(err)
	}
	if _, err := e.Get(); err == nil || !strings.Contains(err.Error(), "slot ") {
		t.Errorf("slots were overwritten: %v", err)
	}
}

// changed is a copy of a list in which one entry is changed.
func changed(list []safetensors.Entry, i int, change func(*safetensors.Entry)) []safetensors.Entry {
	list = slices.Clone(list)
	list[i].Data = slices.Clone(list[i].Data)
	change(&list[i])
	return list
}

// An engine for passes without gradient has no gradients and no slots.
func TestForwardOnly(t *testing.T) {
	s := spec(shapes[3], model.ModeFP32, false)
	s.Forward = true
	f, e := fakeOn(t, 1, s)
	if n := len(engine.Tensors(s.Arch, s.Adapter)); len(f.alive) != n {
		t.Errorf("%d arrays for %d tensors", len(f.alive), n)
	}
	if i, err := e.Inspect(); err != nil || i.Pass != -1 || i.Gradient != nil || i.Weight != nil {
		t.Errorf("%+v, %v", i, err)
	}
	in := engine.SequenceInput(batchOf(1), batchOf(1).Spans[0])
	for name, call := range map[string]func(){
		"gradient": func() { e.Pass(t.Context(), in, engine.Gradient) },
		"proposal": func() { e.Propose(t.Context(), engine.Proposal{Step: 1, Clip: 1}) },
		"update":   func() { e.Commit(engine.Update{Step: 1}) },
		"slots":    func() { e.Set(safetensors.Memory(nil), safetensors.Memory(nil)) },
	} {
		func() {
			defer func() {
				if text, ok := recover().(string); !ok || !strings.HasPrefix(text, "device: ") {
					t.Errorf("%s: no panic of the engine", name)
				}
			}()
			call()
		}()
	}
}

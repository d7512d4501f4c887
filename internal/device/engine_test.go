package device

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/model"
	"gimbal/internal/safetensors"
)

// numbers are those of a report, with names for messages.
func numbers(r engine.Report) []float64 {
	list := []float64{r.Loss, r.GradNorm, r.ClipScale, r.LR, r.UpdateRatio, r.UpdateMedian}
	for _, t := range r.Tensors {
		list = append(list, t.Grad.MeanAbs, t.Grad.RMS, t.Grad.Max, float64(t.Grad.NonFinite), t.Update.RMS,
			t.Update.Max,
			t.Update.WeightRMS)
	}
	return append(list, r.Norms...)
}

// Step for step a device computes the losses of the CPU, and everything else that a report says.
func TestStepsAreThoseOfTheCPU(t *testing.T) {
	c := cpu(t)
	every(t, func(t *testing.T, s engine.Spec) {
		e, w := open(t, on(t, 1), s), open(t, c, s)
		defer e.Close()
		for step := int64(1); step <= 5; step++ {
			d := engine.Norms
			if step%2 == 0 {
				d |= engine.TensorStats
			}
			got, want := propose(t, e, step, d), propose(t, w, step, d)
			if d := apart([]float64{got.Loss}, []float64{want.Loss}); d > 1e-6 {
				t.Errorf("step %d: a loss of %v, want %v", step, got.Loss, want.Loss)
			}
			if d := apart(numbers(got), numbers(want)); d > 1e-4 {
				t.Errorf("step %d: %v apart: %v, want %v", step, d, numbers(got), numbers(want))
			}
			u := engine.Update{Step: step, LR: got.LR * 0.5, Scale: got.ClipScale}
			v := engine.Update{Step: step, LR: want.LR * 0.5, Scale: want.ClipScale}
			if step == 3 {
				u.Factors = slices.Repeat([]float64{1}, len(got.Norms))
				u.Factors[1], u.Factors[len(got.Norms)-1] = 0.3, 0.7
				v.Factors = u.Factors
			}
			commit(t, e, u)
			commit(t, w, v)
		}
	})
}

// AdamW at a high rate takes a device away from the CPU, step by step, and the last bit of one weight takes the CPU
// away from itself as far: the first is rounding, which grows, and no mistake.
func TestDriftOfOneBit(t *testing.T) {
	c := cpu(t)
	for _, lr := range []float64{1e-3, 1e-2, 5e-2} {
		var all [3][]float64
		for i, o := range []engine.Opener{c, c, on(t, 1)} {
			e := open(t, o, spec(shapes[0], model.ModeFP32, false))
			if i == 1 {
				snapshot, err := e.Get()
				if err != nil {
					t.Fatal(err)
				}
				params := clone(snapshot).Params
				params[1].Data[0] = math.Nextafter32(params[1].Data[0], 2)
				if err := e.Set(safetensors.Memory(params), nil); err != nil {
					t.Fatal(err)
				}
			}
			all[i] = trainAt(t, e, 1, 50, lr)
			e.Close()
		}
		for _, n := range []int{1, 10, 25, 50} {
			own, other := apart(all[1][:n], all[0][:n]), apart(all[2][:n], all[0][:n])
			t.Logf("rate %g, %d steps: one bit takes the CPU %.1e away, the device is %.1e away", lr, n, own, other)
			if n == 50 && other > 20*max(own, 1e-7) {
				t.Errorf("rate %g: the device is farther away than rounding explains", lr)
			}
		}
	}
}

// A run moves between a CPU and devices: what one has another takes, and goes on.
func TestGetAndSet(t *testing.T) {
	c := cpu(t)
	for _, a := range []config.Arch{shapes[1], shapes[3]} {
		for _, muon := range []bool{false, true} {
			s := spec(a, model.ModeFP32, muon)
			from := open(t, c, s)
			train(t, from, 1, 2)
			for _, devices := range []int{2, 1} {
				snapshot, err := from.Get()
				if err != nil {
					t.Fatal(err)
				}
				snapshot = clone(snapshot)
				e := open(t, on(t, devices), s)
				propose(t, e, 5, 0) // leaves gradients, which Set clears
				if err := e.Set(safetensors.Memory(snapshot.Params), safetensors.Memory(snapshot.Slots)); err != nil {
					t.Fatal(err)
				}
				back, err := e.Get()
				if err != nil || !reflect.DeepEqual(back, snapshot) {
					t.Errorf("%s: what was set is not what is there: %v", a.Shape, err)
				}
				r, err := e.Propose(t.Context(), engine.Proposal{Step: 3, LR: 1, Clip: 1, Scale: 1})
				if err != nil || r.Loss != 0 || r.GradNorm != 0 {
					t.Errorf("%s: %+v after Set: %v", a.Shape, r, err)
				}
				want := train(t, from, 3, 5)
				if got := train(t, e, 3, 5); apart(got, want) > 1e-5 {
					t.Errorf("%s on %d devices: losses %v, want %v", a.Shape, devices, got, want)
				}
				if err := from.Set(safetensors.Memory(snapshot.Params),
					safetensors.Memory(snapshot.Slots)); err != nil {
					t.Fatal(err)
				}
				e.Close()
			}
		}
	}
}

// clone copies what an engine may overwrite.
func clone(s engine.Snapshot) engine.Snapshot {
	for _, list := range [][]safetensors.Entry{s.Params, s.Slots} {
		for i := range list {
			list[i].Data = slices.Clone(list[i].Data)
		}
	}
	return s
}

// Values that passes without gradient return are those of the CPU, position by position.
func TestValues(t *testing.T) {
	c := cpu(t)
	for _, a := range shapes {
		s := spec(a, model.ModeFP32, false)
		s.Forward = true
		e, w := open(t, on(t, 1), s), open(t, c, s)
		b := batchOf(3)
		for _, m := range data.SplitMicro(nil, b, micro) {
			in := engine.MicroInput(m)
			got, err := e.Pass(t.Context(), in, engine.Nats|engine.PerToken)
			want, err2 := w.Pass(t.Context(), in, engine.Nats|engine.PerToken)
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			if d := max(apart(got.TokenNats, want.TokenNats), apart(got.TokenLogZ, want.TokenLogZ),
				apart([]float64{got.Nats}, []float64{want.Nats})); d > 1e-5 {
				t.Errorf("%s: %v apart: %v, want %v", a.Shape, d, got, want)
			}
			if v, err := e.Pass(t.Context(), in, engine.Nats); err != nil || v.TokenNats != nil || v.Nats != got.Nats {
				t.Errorf("%s: %+v: %v", a.Shape, v, err)
			}
		}
		e.Close()
	}
}

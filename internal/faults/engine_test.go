package faults

import (
	"math"
	"testing"

	"gimbal/internal/engine"
)

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// weights of an engine in one list.
func weights(t *testing.T, e engine.Engine) (all []float32) {
	t.Helper()
	s, err := e.Get()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Params {
		all = append(all, p.Data...)
	}
	return all
}

func differ(a, b []float32) (n int) {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			n++
		}
	}
	return n
}

// On the engine of this machine every fault is seen in the numbers of the step where it should be, and the step before
// has the bits of a run without it.
func TestOnCPU(t *testing.T) {
	x := text(t)
	for spec, check := range map[string]func(t *testing.T, e engine.Engine, sound, got, blamed engine.Report,
		moved int){
		"nan-grad@3": func(t *testing.T, e engine.Engine, sound, got, blamed engine.Report, _ int) {
			if !math.IsNaN(got.GradNorm) || got.Loss != sound.Loss || !finite(blamed.GradNorm) {
				t.Errorf("%+v, blamed %+v", got, blamed)
			}
		},
		"inf-grad@3": func(t *testing.T, e engine.Engine, sound, got, blamed engine.Report, _ int) {
			if !math.IsInf(got.GradNorm, 1) || got.Loss != sound.Loss || !finite(blamed.GradNorm) {
				t.Errorf("%+v, blamed %+v", got, blamed)
			}
		},
		"nan-activation@3": func(t *testing.T, e engine.Engine, sound, got, blamed engine.Report, _ int) {
			if finite(got.Loss) || finite(got.GradNorm) || !finite(blamed.Loss) || !finite(blamed.GradNorm) {
				t.Errorf("%+v, blamed %+v", got, blamed)
			}
		},
		"loss-spike@70": func(t *testing.T, e engine.Engine, sound, got, blamed engine.Report, _ int) {
			if got.Loss != 1000*sound.Loss || math.Abs(got.GradNorm/sound.GradNorm-1000) > 1e-3 || blamed.Loss > 20 {
				t.Errorf("%+v, sound %+v, blamed %+v", got, sound, blamed)
			}
		},
		"lr-bomb@70": func(t *testing.T, e engine.Engine, sound, got, _ engine.Report, moved int) {
			if got.LR != 30*rate || got.Loss != sound.Loss || !(got.UpdateRatio > 10*sound.UpdateRatio) || moved == 0 {
				t.Errorf("%+v, sound %+v", got, sound)
			}
		},
		"bit-flip@70": func(t *testing.T, e engine.Engine, sound, got, blamed engine.Report, moved int) {
			i, err := e.Inspect()
			if err != nil || got.Loss == sound.Loss || i.Weight == nil ||
				i.Weight.Tensor != "model.layers.1.mlp.down_proj.weight" || i.Weight.Index != 0 {
				t.Errorf("%+v, %+v, %v", got, i.Weight, err)
			}
		},
		"frozen-layer:1@3": func(t *testing.T, e engine.Engine, sound, got, blamed engine.Report, moved int) {
			for i, v := range e.Info().Tensors {
				if v.Block == 0 && (sound.Norms[i] == 0 || got.Norms[i] != 0 || blamed.Norms[i] != 0) ||
					v.Block > 0 && got.Norms[i] != sound.Norms[i] {
					t.Errorf("%s has a norm of %v, sound %v, blamed %v", v.Name, got.Norms[i], sound.Norms[i],
						blamed.Norms[i])
				}
			}
		},
		"cut-residual@3": func(t *testing.T, e engine.Engine, sound, got, blamed engine.Report, moved int) {
			if got.Loss == sound.Loss || !finite(got.Loss) || moved == 0 {
				t.Errorf("%+v, sound %+v", got, sound)
			}
		},
		"starved-init@1": func(t *testing.T, e engine.Engine, sound, got, blamed engine.Report, moved int) {
			if got.Loss == sound.Loss || !finite(got.Loss) || moved == 0 {
				t.Errorf("%+v, sound %+v", got, sound)
			}
		},
	} {
		t.Run(spec, func(t *testing.T) {
			e, clean := openCPU(t), openCPU(t)
			s := set(t, x, e.Info(), spec)
			wrapped := s.Engine(e)
			r, sound := newRun(t, s.Source(source(t, x)), wrapped), newRun(t, source(t, x), clean)
			begin := s.faults[0].step
			for step := max(1, begin-2); step < begin; step++ {
				r.cur.Batch, sound.cur.Batch = step-1, step-1
				got, _, lr := r.step(step)
				want, _, lr2 := sound.step(step)
				if got.Loss != want.Loss || got.GradNorm != want.GradNorm ||
					got.UpdateRatio != want.UpdateRatio || lr != lr2 ||
					differ(weights(t, wrapped), weights(t, clean)) != 0 {
					t.Errorf("step %d before the fault: %+v, want %+v", step, got, want)
				}
			}
			r.cur.Batch, sound.cur.Batch = begin-1, begin-1
			got, blamed, _ := r.step(begin)
			want, _, _ := sound.step(begin)
			moved := 0
			if finite(got.GradNorm) && finite(got.Loss) && spec != "bit-flip@70" {
				moved = differ(weights(t, wrapped), weights(t, clean))
			}
			check(t, wrapped, want, got, blamed, moved)
		})
	}
}

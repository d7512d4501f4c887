package device

import (
	"testing"

	"gimbal/internal/engine"
)

// Step for step a device computes the losses, norms and ratios of the CPU.
func TestStepsAreThoseOfTheCPU(t *testing.T) {
	c := cpu(t)
	every(t, func(t *testing.T, s engine.Spec) {
		e, w := open(t, on(t, 1), s), open(t, c, s)
		for step := int64(1); step <= 5; step++ {
			got, want := propose(t, e, step, engine.Norms), propose(t, w, step, engine.Norms)
			numbers := func(r engine.Report) []float64 {
				return append([]float64{r.Loss, r.GradNorm, r.ClipScale, r.LR}, r.UpdateRatio)
			}
			if d := apart(numbers(got), numbers(want)); d > 1e-5 {
				t.Errorf("step %d: %v apart: %v, want %v", step, d, numbers(got), numbers(want))
			}
			if d := apart(got.Norms, want.Norms); d > 1e-4 {
				t.Errorf("step %d: norms are %v apart: %v, want %v", step, d, got.Norms, want.Norms)
			}
			commit(t, e, engine.Update{Step: step, LR: got.LR, Scale: got.ClipScale})
			commit(t, w, engine.Update{Step: step, LR: want.LR, Scale: want.ClipScale})
		}
	})
}

package device

import (
	"slices"
	"testing"

	"gimbal/internal/model"
)

// rate is one at which steps do not enlarge the rounding of those before. At 1e-2 the losses of AdamW on these labels,
// which are random, move apart a hundredfold between steps 37 and 41: CPU from device as well as two devices from one.
const rate = 2e-3

// Several devices make the run of one: the losses of ten steps are nearly the same, those of fifty are close, and the
// same bits come again.
func TestDevices(t *testing.T) {
	last := int64(50)
	if testing.Short() {
		last = 10
	}
	for _, muon := range []bool{false, true} {
		var first []float64
		for _, devices := range []int{1, 2, 4, 8} {
			if testing.Short() && devices > 2 {
				continue
			}
			s := spec(shapes[1], model.ModeFP32, muon)
			s.MicroTokens = 2 * length * devices
			var losses []float64
			for again := range 2 {
				e := open(t, on(t, devices), s)
				got := trainAt(t, e, 1, last, rate)
				if again == 1 && !slices.Equal(got, losses) {
					t.Errorf("%d devices: other losses the second time: %v, and first %v", devices, got, losses)
				}
				losses = got
				e.Close()
			}
			if devices == 1 {
				first = losses
			}
			if d := apart(losses[:10], first[:10]); d > 1e-6 {
				t.Errorf("%d devices: losses of ten steps are %v apart: %v, want %v", devices, d, losses[:10],
					first[:10])
			}
			if d := apart(losses, first); d > 1e-4 {
				t.Errorf("%d devices: losses are %v apart", devices, d)
			}
		}
	}
}

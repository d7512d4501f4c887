package guard

import (
	"strings"
	"testing"
)

// An update that is large compared with the weights is warned of, and refused at twice that; with Muon at twice as
// much.
func TestRatioLimits(t *testing.T) {
	for _, tt := range []struct {
		most, ratio float64
		want        string
	}{
		{0, 0.04, ""}, {0, 0.06, CodeUpdateRatio}, {0, 0.11, CodeOutlier},
		{MuonRatio, 0.09, ""}, {MuonRatio, 0.11, CodeUpdateRatio}, {MuonRatio, 0.21, CodeOutlier},
	} {
		s := New(Rules{Act: true, Steps: 1000, MaxRatio: tt.most})
		var d Decision
		for step := int64(1); step <= 100; step++ {
			o := Observation{Step: step, Batch: step, Loss: 3, GradNorm: 1, LR: 1e-3, UpdateRatio: 0.01}
			if step == 100 {
				o.UpdateRatio = tt.ratio
			}
			s, d = Next(s, o)
		}
		var codes []string
		for _, e := range d.Events {
			codes = append(codes, e.Code)
		}
		if got := strings.Join(codes, " "); got != tt.want {
			t.Errorf("limit %g, ratio %g: %q, want %q", tt.most, tt.ratio, got, tt.want)
		}
	}
}

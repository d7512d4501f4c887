package runstate

import (
	"gimbal/internal/config"
	"testing"
)

// What was planned for the hardware that a run leaves is left open again; what somebody asked for stays.
func TestMoveLeavesOpen(t *testing.T) {
	cfg, err := config.Load("", []config.Assignment{config.Set("numeric.mode=fp32")})
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]any{"numeric.checkpointing": "block", "numeric.devices": 4,
		"numeric.device":     "cuda",
		"train.micro_tokens": 128} {
		if err := cfg.SetPlanned(key, value, "planned: for a test"); err != nil {
			t.Fatal(err)
		}
	}
	s := &Saved{Config: cfg}
	if err := s.move("cpu"); err != nil {
		t.Fatal(err)
	}
	n := s.Config.Numeric
	if n.Device != "cpu" || n.Devices != 0 || n.Checkpointing != "auto" || n.Mode != "fp32" ||
		s.Config.Train.MicroTokens != 0 ||
		len(s.Changes) != 1 {
		t.Errorf("%+v, passes of %d, %q", n, s.Config.Train.MicroTokens, s.Changes)
	}
}

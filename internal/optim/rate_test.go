package optim

import "testing"

// The rule is within a factor of two of the rates that gained most, less what was forgotten, at each width that was
// measured (bench/2026-11-29-finetune.md), and of those that people take for larger models.
func TestTuneLR(t *testing.T) {
	for width, best := range map[int]float64{128: 9.5e-4, 256: 3.2e-4, 384: 2e-4, 576: 6e-5, 2048: 2e-5, 4096: 1e-5} {
		if lr := TuneLR(width, false); lr < best/2 || lr > 2*best {
			t.Errorf("width %d: %.2g, the best is about %.2g", width, lr, best)
		}
		if full, beside := TuneLR(width, false), TuneLR(width, true); beside != 10*full {
			t.Errorf("width %d: %.2g, and %.2g for an adapter", width, full, beside)
		}
	}
	if lr := TuneLR(16, false); lr != MaxTuneLR {
		t.Errorf("a width that was not measured gets %.2g", lr)
	}
}

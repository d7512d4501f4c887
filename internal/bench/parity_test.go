package bench

import (
	"os"
	"path/filepath"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/device"
	"gimbal/internal/engine"
)

// lying opens engines of another model than was asked for.
type lying struct{ engine.Opener }

func (l lying) Open(s engine.Spec) (engine.Engine, error) {
	s.Arch.NormEps *= 1.01
	return l.Opener.Open(s)
}

// The CPU engine agrees with itself in every bit; an engine that computes something else is found, in every family.
func TestCompareEngines(t *testing.T) {
	cpu, err := engine.CPU(1)
	if err != nil {
		t.Fatal(err)
	}
	defer cpu.Close()
	for _, mode := range []string{"fp32", "bf16"} {
		n := 0
		err := CompareEngines(t.Context(), cpu, cpu, mode, func(p Parity) {
			if n++; !p.OK || p.Gradient != 0 || p.Update != 0 || p.Loss != 0 || p.Bits == "" {
				t.Errorf("%+v", p)
			}
		})
		if err != nil || n != 4 {
			t.Errorf("%s: %d families: %v", mode, n, err)
		}
	}
	err = CompareEngines(t.Context(), cpu, lying{cpu}, "fp32", func(p Parity) {
		if p.OK || p.Tensor == "" {
			t.Errorf("not found: %+v", p)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// A plugin's devices are timed: whole steps, with their peak, and the same bits from run to run.
func TestTrainOnDevice(t *testing.T) {
	plugins := filepath.SplitList(os.Getenv("PJRT_PLUGIN"))
	if len(plugins) == 0 || os.Getenv("GIMBAL_DEVICE") == "" {
		t.Skip("PJRT_PLUGIN names no plugin, or GIMBAL_DEVICE no gimbal-device")
	}
	plugin := plugins[0]
	if _, _, err := device.Start(t.Context(), config.Numeric{Device: plugin + ".none"}, ""); err == nil {
		t.Error("a plugin that is not there was opened")
	}
	var bits []string
	for range 2 {
		r, err := Train(t.Context(), TrainOptions{Preset: "nano", Vocab: 64, Context: 32, Tokens: 64, Steps: 2,
			Device: plugin})
		if err != nil {
			t.Fatal(err)
		}
		if r.Seconds <= 0 || r.PeakTFLOPs <= 0 || r.Attention == "" || r.Predicted == 0 || !(r.LossNats > 3 &&
			r.LossNats < 6) {
			t.Errorf("%+v", r)
		}
		bits = append(bits, r.Bits)
	}
	if bits[0] != bits[1] || bits[0] == "" {
		t.Errorf("bits %q", bits)
	}
}

package measure

import (
	"context"
	"os"
	"testing"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/device"
	"gimbal/internal/engine"
)

// The 124M model, 16 sequences of 1,024 tokens a pass, is compiled for a card that is not here: with blocks computed
// again it takes at most 14 GB, and the second time the memory is known at once.
func TestTarget(t *testing.T) {
	plugin := os.Getenv("PJRT_CUDA_PLUGIN")
	if plugin == "" || os.Getenv("GIMBAL_DEVICE") == "" {
		t.Skip("PJRT_CUDA_PLUGIN names no plugin for CUDA, or GIMBAL_DEVICE no gimbal-device")
	}
	cfg := config.Default()
	if err := cfg.UsePreset("gpt2-124m", "test"); err != nil {
		t.Fatal(err)
	}
	arch, err := cfg.Arch(50257)
	if err != nil {
		t.Fatal(err)
	}
	for _, checkpointing := range []string{"block", "none"} {
		var bytes [2]int64
		for i := range bytes {
			began := time.Now()
			o, err := device.Target(t.Context(), config.Numeric{Device: plugin}, "h100", t.Logf)
			if err != nil {
				t.Fatal(err)
			}
			m, err := o.(interface {
				Measure(context.Context, engine.Spec) (engine.Memory, error)
			}).Measure(t.Context(), engine.Spec{Arch: arch, MicroTokens: 16 * 1024, Checkpointing: checkpointing, Mode: "bf16"})
			hw := o.Hardware()
			o.Close()
			if err != nil {
				t.Fatal(err)
			}
			bytes[i] = m.Model + m.Slots
			t.Logf("%s, checkpointing %s, attention %s: %.2f GB and %.2f GB of moments in %v", hw.Name, checkpointing,
				hw.Attention, float64(m.Model)/1e9, float64(m.Slots)/1e9, time.Since(began).Round(time.Second/10))
		}
		if bytes[0] != bytes[1] || checkpointing == "block" && bytes[0] > 14e9 {
			t.Errorf("%s: %d bytes, and then %d", checkpointing, bytes[0], bytes[1])
		}
	}
}

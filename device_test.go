package gimbal

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// A model on a device writes the texts that it writes on the CPU, call after call, and scores the same.
func TestModelOnDevice(t *testing.T) {
	plugins := filepath.SplitList(os.Getenv("PJRT_PLUGIN"))
	if len(plugins) == 0 || os.Getenv("GIMBAL_DEVICE") == "" {
		t.Skip("PJRT_PLUGIN names no plugin, or GIMBAL_DEVICE no gimbal-device")
	}
	t.Setenv("GIMBAL_KERNEL", "generic") // in fp32, as the device: some tiers choose bf16
	path := saveRandom(t, 128)
	cpu := openSaved(t, path, "")
	m, err := Open(path, OpenOptions{Device: plugins[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, tt := range []struct {
		prompt string
		opt    GenerateOptions
	}{
		{"abc", GenerateOptions{Samples: 3, MaxTokens: 20, Seed: 1}}, {"", GenerateOptions{MaxTokens: 30,
			Greedy: true}},
		{"abc", GenerateOptions{Samples: 3, MaxTokens: 20, Seed: 2}},
	} {
		want, err := cpu.Generate(t.Context(), tt.prompt, tt.opt)
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Generate(t.Context(), tt.prompt, tt.opt)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%v, %v", got, err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%q, want %q", got[i].Text, want[i].Text)
			}
		}
	}
	n := 0
	for _, list := range m.device.idle {
		n += len(list)
	}
	if n != 2 {
		t.Errorf("%d decoders are kept, for two sizes of texts", n)
	}
	for range m.Stream(t.Context(), "abc", GenerateOptions{Samples: 3, MaxTokens: 20}) {
		break // and the decoder is given back
	}
	want, err := cpu.Score(t.Context(), "a text to score")
	got, err2 := m.Score(t.Context(), "a text to score")
	if err != nil || err2 != nil || math.Abs(got.Loss-want.Loss) > 1e-4 || got.Tokens != want.Tokens {
		t.Errorf("%+v, want %+v; %v, %v", got, want, err, err2)
	}
	if _, err := Open(path, OpenOptions{Device: plugins[0], Weights: "int8"}); err == nil {
		t.Error("int8 was opened on a device")
	}
}

package gimbal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal"
	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/family"
	"gimbal/internal/param"
	"gimbal/internal/safetensors"
	"gimbal/internal/tokenizer"
)

// TestExportConsultsTheCertificate: a checkpoint that is not healthy leaves the house only when it is named.
func TestExportConsultsTheCertificate(t *testing.T) {
	arch := config.Arch{Shape: "qwen3", Layers: 1, Width: 8, Heads: 2, KVHeads: 1, HeadSize: 4, MLP: 8, Vocab: 257,
		Context: 16, Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 1e4, QKNorm: true, MLPKind: "swiglu", Tie: true}
	conf, err := family.Config(arch, 256, 256, "float32")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.NewBytes().JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		health  checkpoint.Health
		refused bool
	}{
		{checkpoint.Health{Finite: true, Calm: true}, false},
		{checkpoint.Health{Finite: true, Calm: false, Events: []string{"E1-OUTLIER"}}, true},
		{checkpoint.Health{Finite: false, Calm: true}, true},
	} {
		run := t.TempDir()
		health, err := c.health.Encode()
		if err != nil {
			t.Fatal(err)
		}
		path, err := checkpoint.Save(durable.OS, filepath.Join(run, "checkpoints"), &checkpoint.Snapshot{Step: 5,
			Model: param.Entries(param.New[float32](arch)),
			Files: map[string][]byte{"config.json": conf, "tokenizer.json": tok, checkpoint.HealthFile: health}})
		if err != nil {
			t.Fatal(err)
		}
		if err := checkpoint.SetMark(durable.OS, filepath.Dir(path), "last", 5); err != nil {
			t.Fatal(err)
		}
		_, err = gimbal.Export(t.Context(), run, filepath.Join(run, "out"), gimbal.ExportOptions{})
		var unusable *gimbal.CheckpointError
		if (err != nil) != c.refused ||
			err != nil && (!errors.As(err, &unusable) || !strings.Contains(err.Error(), "--checkpoint step-5")) {
			t.Errorf("%v: %v", c.health, err)
		}
		r, err := gimbal.Export(t.Context(), run, filepath.Join(run, "named"), gimbal.ExportOptions{Checkpoint: "step-5"})
		if err != nil || r.Health != c.health.String() {
			t.Errorf("%v, named: %+v, %v", c.health, r, err)
		}
	}
}

// An adapter by itself is exported as it is, in fp32, and not under the name of another type.
func TestExportAdapterInAnotherType(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, checkpoint.AdapterFile))
	if err != nil {
		t.Fatal(err)
	}
	entry := safetensors.Entry{Name: "base_model.model.x.lora_A.weight", Shape: []int{1, 1}, Data: []float32{1}}
	if err := errors.Join(safetensors.Write(f, []safetensors.Entry{entry}, nil, "F32"), f.Close()); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	if _, err := gimbal.Export(t.Context(), dir, out, gimbal.ExportOptions{DType: "bf16"}); err == nil ||
		!strings.Contains(err.Error(), "fp32") {
		t.Errorf("in bf16: %v", err)
	}
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		t.Error("something was written")
	}
}

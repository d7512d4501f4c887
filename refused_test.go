package gimbal

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/safetensors"
)

// TestNonFiniteWeights: a model with a weight that is not finite is refused with its name wherever it is used. Its loss
// would be NaN, and checks that it fails would blame something else.
func TestNonFiniteWeights(t *testing.T) {
	good, dir := saveRandom(t, 64), filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, checkpoint.ManifestFile)); err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.OpenWeights(durable.OS, good)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var entries []safetensors.Entry
	for _, tensor := range c.Model().Tensors() {
		e := safetensors.Entry{Name: tensor.Name, Shape: tensor.Shape, Data: make([]float32, tensor.Len())}
		if err := c.Model().ReadF32(e.Data, e.Name); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	entries[3].Data[5] = float32(math.NaN())
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(safetensors.Write(f, entries, nil, "F32"), f.Close()); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("some text of a line\n", 200)), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, use := range map[string]func() error{
		"Open": func() error { _, err := Open(dir, OpenOptions{}); return err },
		"Evaluate": func() error {
			_, err := Evaluate(t.Context(), dir, EvalOptions{Data: []string{text}, LossOnly: true})
			return err
		},
		"Export": func() error {
			_, err := Export(t.Context(), dir, filepath.Join(t.TempDir(), "out"), ExportOptions{})
			return err
		},
		"Train": func() error {
			_, err := Train(t.Context(), TrainOptions{From: dir, Data: []string{text}, Steps: 2,
				Out: filepath.Join(t.TempDir(), "run")})
			return err
		},
	} {
		var fault *CheckpointError
		if err := use(); !errors.As(err, &fault) || !strings.Contains(err.Error(), entries[3].Name+"[5] is NaN") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAskNothing: no task is no result.
func TestAskNothing(t *testing.T) {
	var fault *DataError
	if _, err := Ask(t.Context(), "nowhere", TaskOptions{}); !errors.As(err, &fault) {
		t.Errorf("%v", err)
	}
}

// TestEmptyStop: a text to stop at that spells nothing is everywhere, or nowhere.
func TestEmptyStop(t *testing.T) {
	if _, err := openRandom(t, 16).Generate(t.Context(), "hi", GenerateOptions{Stop: []string{"x", ""}}); err == nil {
		t.Error("it is taken")
	}
}

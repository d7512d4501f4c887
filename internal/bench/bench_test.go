package bench

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
)

func newExec(t *testing.T, workers int) *kernel.Exec {
	t.Helper()
	x, err := kernel.NewExec(workers, kernel.TierAuto)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

// modelParts are those that multiply.
var modelParts = []string{model.PartQKVForward, model.PartQKVBackInput, model.PartQKVBackWeight, model.PartOForward, model.PartOBackInput, model.PartOBackWeight,
	model.PartMLPForward, model.PartMLPBackInput, model.PartMLPBackWeight, model.PartAttentionForward, model.PartAttentionBackward, model.PartHead}

// TestPartsCountAllOperations wants the operations of the parts to add up to those of the step, as counted by hand
// for GPT-2: 6 for each multiplied parameter, and attention.
func TestPartsCountAllOperations(t *testing.T) {
	for _, preset := range []string{"gpt2-124m", "char-10m", "nano", "small"} {
		_, arch, err := presetArch(preset, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, p := range modelParts {
			sum += partFLOPs(arch, p)
		}
		if want := stepFLOPs(arch); math.Abs(sum-want) > 1e-12*want {
			t.Errorf("%s: parts %g, step %g", preset, sum, want)
		}
	}
	_, arch, err := presetArch("gpt2-124m", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	matrices := 12*12*768*768 + 50257*768
	if got, want := stepFLOPs(arch), 6*float64(matrices)+0.5*12*12*768*1024; got != want {
		t.Errorf("GPT-2 124M: %g operations a token, want %g", got, want)
	}
}

// wrongUnit is a share of the peak that only a wrong unit or count explains; on a machine that is busy with other
// things, a short measurement of the peak can come out several times too low.
const wrongUnit = 10

func TestTrain(t *testing.T) {
	for _, mode := range []string{"auto", "fp32", "bf16"} {
		r, err := Train(t.Context(), TrainOptions{Preset: "nanogpt-cpu", Tokens: 192, Micro: 128, Context: 64, Steps: 2, Mode: mode, Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		if mode != "auto" && r.Mode != mode {
			t.Errorf("asked for %s, trained in %s", mode, r.Mode)
		}
		seconds, share := 0.0, 0.0
		have := map[string]bool{}
		for _, p := range r.Parts {
			if have[p.Name] || p.Seconds < 0 {
				t.Errorf("part %+v", p)
			}
			have[p.Name] = true
			seconds, share = seconds+p.Seconds, share+p.Share
		}
		for _, name := range append([]string{partClear, partNorm, partUpdate, partRefresh, model.PartEmbedding, model.PartNorms, model.PartActivation}, modelParts...) {
			if !have[name] {
				t.Errorf("%s: no part %q", mode, name)
			}
		}
		if math.Abs(seconds-r.Seconds) > 1e-9 || math.Abs(share-1) > 1e-9 {
			t.Errorf("%s: parts take %g of %g s, shares add up to %g", mode, seconds, r.Seconds, share)
		}
		if math.Abs(r.TokensPerSecond*r.Seconds-192) > 1e-6 || r.Best > r.Seconds || r.Tier == "" || r.Workers != 2 {
			t.Errorf("%s: %+v", mode, r)
		}
		if want := r.TFLOPs / r.PeakTFLOPs; !(r.PeakShare >= 0 && r.PeakShare <= wrongUnit) || r.PeakTFLOPs > 0 && math.Abs(r.PeakShare-want) > 1e-12 || r.PeakTFLOPs == 0 && r.Mode == "fp32" {
			t.Errorf("%s: %g TFLOP/s are %g of a peak of %g", mode, r.TFLOPs, r.PeakShare, r.PeakTFLOPs)
		}
		// All of a model is touched by a step, and there is little else in this process.
		if r.PeakMemory < r.Predicted/2 || r.Predicted < 16*r.Params {
			t.Errorf("%s: %d bytes at most, %d predicted for %d parameters", mode, r.PeakMemory, r.Predicted, r.Params)
		}
		if ln := math.Log(65); math.Abs(r.LossNats-ln) > 0.3 {
			t.Errorf("%s: a loss of %g on random tokens, want about %g", mode, r.LossNats, ln)
		}
	}
}

func TestTrainRefuses(t *testing.T) {
	for flag, o := range map[string]TrainOptions{
		"--model":         {Preset: "gpt5"},
		"--tokens":        {Preset: "nano", Tokens: 100, Context: 64},
		"--micro":         {Preset: "nano", Tokens: 128, Context: 64, Micro: 65},
		"numeric.mode":    {Preset: "nano", Mode: "fp8"},
		"--steps":         {Preset: "nano", Steps: -1},
		"--context":       {Preset: "nano", Context: -1},
		"checkpointing":   {Preset: "nano", Checkpointing: "some"},
		"tokenizer.vocab": {Preset: "nano", Vocab: -1},
	} {
		_, err := Train(t.Context(), o)
		var fault *config.Error
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), flag) {
			t.Errorf("%+v: %v, want a fault of %s", o, err, flag)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Train(ctx, TrainOptions{Preset: "nanogpt-cpu"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestKernels times all of them on small operands and wants a sane figure for each on every tier.
func TestKernels(t *testing.T) {
	seen := map[string][]string{}
	opt := KernelOptions{Seconds: 0.001, Workers: 2, stream: 1 << 16, shapes: [][3]int{{96, 64, 128}}}
	where, err := Kernels(t.Context(), opt, func(k Kernel) {
		seen[k.Tier] = append(seen[k.Tier], k.Name)
		if !(k.Rate > 0) || k.Best < k.Rate || (k.Peak == "") != (k.Share == 0) || math.IsInf(k.Rate, 0) || k.Shape == "" {
			t.Errorf("%+v", k)
		}
		if k.Unit == "GFLOP/s" && k.Share > wrongUnit {
			t.Errorf("%+v: far more than the peak", k)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if where.CPU == "" || where.Workers != 2 {
		t.Errorf("%+v", where)
	}
	for _, tier := range kernel.Tiers() {
		for _, name := range []string{"peak fma", "peak memory triad", "forward", "backward-input", "backward-weight", "attention q·kᵀ", "exp", "softmax", "gelu", "silu-mul",
			"adamw in memory", "sum of squares in memory", "rmsnorm", "layernorm backward"} {
			if !slices.Contains(seen[tier.String()], name) {
				t.Errorf("%s: no figure for %s", tier, name)
			}
		}
	}
	n := 0
	if _, err := Kernels(t.Context(), KernelOptions{Seconds: 0.001, Tier: kernel.Generic, Only: "softmax"}, func(Kernel) { n++ }); err != nil || n != 1 {
		t.Errorf("only softmax: %d figures, %v", n, err)
	}
}

func TestGenerate(t *testing.T) {
	r, err := Generate(t.Context(), GenerateOptions{Preset: "nanogpt-cpu", Texts: 3, Tokens: 8, Prompt: 4, Rounds: 1, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(r.TokensPerSecond*r.Seconds-24) > 1e-6 || r.Best > r.Seconds || r.PeakMemory <= 0 || r.Params == 0 {
		t.Errorf("%+v", r)
	}
	var fault *config.Error
	if _, err := Generate(t.Context(), GenerateOptions{Preset: "nanogpt-cpu", Tokens: 100}); !errors.As(err, &fault) {
		t.Errorf("beyond the context: %v", err)
	}
	if _, err := Generate(t.Context(), GenerateOptions{Preset: "nanogpt-cpu", Texts: -1}); !errors.As(err, &fault) {
		t.Errorf("no texts: %v", err)
	}
}

func TestTokenizer(t *testing.T) {
	dir := t.TempDir()
	text := strings.Repeat("the quick brown fox jumps over the lazy dog; whoever reads this aloud sells sea shells.\n", 500)
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := Tokenizer(t.Context(), TokenizerOptions{Paths: []string{dir}, Vocab: 300, Seconds: 0.001, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	if r.Bytes != int64(len(text)) || r.Vocab != 300 || r.BytesPerToken < 1.2 || min(r.TrainSeconds, r.TrainSecondsOne, r.EncodeMBs, r.EncodeMBsOne, r.DecodeMBsOne) <= 0 {
		t.Errorf("%+v", r)
	}
	if _, err := Tokenizer(t.Context(), TokenizerOptions{Paths: []string{filepath.Join(dir, "nowhere")}}); !errors.Is(err, ErrText) {
		t.Errorf("no text: %v", err)
	}
}

// TestRandom wants operands that look normal and are the same for any number of workers.
func TestRandom(t *testing.T) {
	const n = 1 << 18
	one, two := random(newExec(t, 1), make([]float32, n), 2, 7), random(newExec(t, 2), make([]float32, n), 2, 7)
	if !slices.Equal(one, two) {
		t.Error("the number of workers changes the operands")
	}
	var sum, squares float64
	for i, v := range one {
		sum, squares = sum+float64(v), squares+float64(v)*float64(v)
		if v == 0 || i > 0 && v == one[i-1] {
			t.Fatalf("element %d is %g", i, v)
		}
	}
	if mean, deviation := sum/n, math.Sqrt(squares/n); math.Abs(mean) > 0.02 || math.Abs(deviation-2) > 0.02 {
		t.Errorf("mean %g, deviation %g", mean, deviation)
	}
}

func TestRepeat(t *testing.T) {
	calls := 0
	median, best, err := repeat(t.Context(), 0, func() { calls++; time.Sleep(3 * time.Millisecond) })
	if err != nil || calls != 1+leastRuns || best < 0.003 || median < best {
		t.Errorf("%d calls, median %g, best %g, %v", calls, median, best, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, _, err := repeat(ctx, 60, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

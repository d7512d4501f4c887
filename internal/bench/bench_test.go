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
var modelParts = []string{model.PartQKVForward, model.PartQKVBackInput, model.PartQKVBackWeight,
	model.PartOForward, model.PartOBackInput, model.PartOBackWeight,
	model.PartMLPForward, model.PartMLPBackInput, model.PartMLPBackWeight,
	model.PartAttentionForward, model.PartAttentionBackward, model.PartHead}

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
		began := time.Now()
		r, err := Train(t.Context(), TrainOptions{Preset: "nanogpt-cpu", Tokens: 192, Micro: 128, Context: 64, Steps: 2,
			Mode: mode, Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(began).Seconds()
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
		others := []string{partClear, partNorm, partUpdate, partRefresh, model.PartEmbedding, model.PartNorms,
			model.PartActivation}
		for _, name := range append(others, modelParts...) {
			if !have[name] {
				t.Errorf("%s: no part %q", mode, name)
			}
		}
		if math.Abs(seconds-r.Seconds) > 1e-9 || math.Abs(share-1) > 1e-9 {
			t.Errorf("%s: parts take %g of %g s, shares add up to %g", mode, seconds, r.Seconds, share)
		}
		if r.Tokens != 192 || r.Tier == "" || r.Workers != 2 {
			t.Errorf("%s: %+v", mode, r)
		}
		if !(r.Best > 0 && r.Best <= r.Seconds && r.Best+r.Seconds <= took) { // there were two steps, and a third before
			t.Errorf("%s: steps of %g and %g s in %g s", mode, r.Best, r.Seconds, took)
		}
		if !(r.PeakShare >= 0 && r.PeakShare <= wrongUnit) || r.PeakTFLOPs == 0 && r.Mode == "fp32" {
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

// Rates are made of the step and the peak in the middle, whatever the order they came in.
func TestTrainSummary(t *testing.T) {
	_, arch, err := presetArch("gpt2-124m", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	step := func(seconds float64) timed {
		return timed{seconds, []Part{{Name: model.PartHead, Seconds: seconds / 4}, {Name: partUpdate, Seconds: seconds / 2}}}
	}
	r := TrainResult{Tokens: 1000}
	r.summarise(arch, []timed{step(4), step(1), step(2)}, []float64{9e12, 1e12, 2e12})
	if r.Seconds != 2 || r.Best != 1 || r.TokensPerSecond != 500 || r.PeakTFLOPs != 2 {
		t.Errorf("%+v", r)
	}
	// 6 for each of 123,532,032 multiplied parameters, and half of 12·L·d·T for attention, at 500 tokens a second.
	const tflops = (6*123_532_032 + 6*12*768*1024) * 500 / 1e12
	if math.Abs(r.TFLOPs-tflops) > 1e-12 || math.Abs(r.PeakShare-tflops/2) > 1e-12 {
		t.Errorf("%g TFLOP/s, %g of the peak, want %g and %g", r.TFLOPs, r.PeakShare, tflops, tflops/2)
	}
	// The head multiplies 768 by 50,257 three times, in half a second for 1,000 tokens.
	if head := 6 * 768 * 50257 * 1000 / 0.5 / 1e12; math.Abs(r.Parts[0].TFLOPs-head) > 1e-12 || r.Parts[1].TFLOPs != 0 {
		t.Errorf("%+v, want %g TFLOP/s of the head", r.Parts, head)
	}
	r.summarise(arch, []timed{step(1)}, []float64{0})
	if r.PeakTFLOPs != 0 || r.TokensPerSecond != 1000 {
		t.Errorf("without a peak: %+v", r)
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
		if o.Steps == 0 && flag != "--steps" {
			o.Steps = 1
		}
		_, err := Train(t.Context(), o)
		var fault *config.Error
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), flag) {
			t.Errorf("%+v: %v, want a fault of %s", o, err, flag)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Train(ctx, TrainOptions{Preset: "nanogpt-cpu", Steps: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestKernels measures all of them on small operands and wants a sane figure for each on every tier.
func TestKernels(t *testing.T) {
	seen := map[string][]string{}
	opt := KernelOptions{Seconds: 0.001, Workers: 2, stream: 1 << 16, shapes: [][3]int{{96, 64, 128}}}
	where, err := Kernels(t.Context(), opt, func(k Kernel) {
		seen[k.Tier] = append(seen[k.Tier], k.Name)
		sane := k.Rate > 0 && k.Best >= k.Rate && !math.IsInf(k.Best, 0) && k.Shape != "" && k.Unit != ""
		if !sane || (k.Peak == "") != (k.Share == 0) {
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
		for _, name := range []string{"peak fma", "peak memory triad", "forward", "backward-input", "backward-weight"} {
			if !slices.Contains(seen[tier.String()], name) {
				t.Errorf("%s: no figure for %s", tier, name)
			}
		}
	}
	n := 0
	opt.Tier, opt.Only = kernel.Generic, "backward-w"
	if _, err := Kernels(t.Context(), opt, func(Kernel) { n++ }); err != nil || n != 1 {
		t.Errorf("only %s: %d figures, %v", opt.Only, n, err)
	}
}

func TestGenerate(t *testing.T) {
	opt := GenerateOptions{Preset: "nanogpt-cpu", Texts: 3, Tokens: 8, Prompt: 4, Rounds: 2, Workers: 2}
	began := time.Now()
	r, err := Generate(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began).Seconds(); !(r.Best > 0 && r.Best <= r.Seconds && r.Best+r.Seconds <= took) {
		t.Errorf("rounds of %g and %g s in %g s", r.Best, r.Seconds, took)
	}
	if r.Texts != 3 || r.Tokens != 8 || r.PeakMemory <= 0 || r.Params == 0 {
		t.Errorf("%+v", r)
	}
	r.summarise([]float64{4, 1, 2})
	if r.Seconds != 2 || r.Best != 1 || r.TokensPerSecond != 12 {
		t.Errorf("3 texts of 8 tokens in 4, 1 and 2 s: %+v", r)
	}
	for flag, change := range map[string]func(o *GenerateOptions){
		"context of 64": func(o *GenerateOptions) { o.Tokens = 100 },
		"--texts":       func(o *GenerateOptions) { o.Texts = -1 },
		"--rounds":      func(o *GenerateOptions) { o.Rounds = 0 },
	} {
		wrong := opt
		change(&wrong)
		var fault *config.Error
		if _, err := Generate(t.Context(), wrong); !errors.As(err, &fault) || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestTokenizer(t *testing.T) {
	dir := t.TempDir()
	const line = "the quick brown fox jumps over the lazy dog; whoever reads this aloud sells sea shells.\n"
	text := strings.Repeat(line, 500)
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := Tokenizer(t.Context(), TokenizerOptions{Paths: []string{dir}, Vocab: 300, Seconds: 0.001, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	least := min(r.TrainSeconds, r.TrainSecondsOne, r.EncodeMBs, r.EncodeMBsOne, r.DecodeMBsOne)
	if r.Bytes != int64(len(text)) || r.Vocab != 300 || r.BytesPerToken < 1.2 || least <= 0 {
		t.Errorf("%+v", r)
	}
	_, err = Tokenizer(t.Context(), TokenizerOptions{Paths: []string{filepath.Join(dir, "nowhere")}, Vocab: 300})
	if !errors.Is(err, ErrText) {
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

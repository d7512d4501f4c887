package model

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/param"
)

// char is a GPT-2 shape of 10.7M parameters, gpt2 the 124M of the original, qwen a small one with everything that GPT-2
// does not have.
func benchShapes() (char, gpt2, qwen config.Arch) {
	char = config.Arch{Shape: "gpt2", Layers: 6, Width: 384, Heads: 6, KVHeads: 6, HeadSize: 64, MLP: 1536, Vocab: 65,
		Context: 256, Norm: "layer", NormEps: 1e-5, Position: "learned", MLPKind: "gelu",
		QKVBias: true, Bias: true, Tie: true}
	gpt2 = char
	gpt2.Layers, gpt2.Width, gpt2.Heads, gpt2.KVHeads = 12, 768, 12, 12
	gpt2.MLP, gpt2.Vocab, gpt2.Context = 3072, 50257, 1024
	qwen = char
	qwen.Shape, qwen.Norm, qwen.Position, qwen.RopeTheta, qwen.MLPKind = "qwen3", "rms", "rope", 10000, "swiglu"
	qwen.QKNorm, qwen.QKVBias, qwen.Bias, qwen.KVHeads, qwen.MLP, qwen.Vocab = true, false, false, 2, 1024, 4096
	return char, gpt2, qwen
}

// BenchmarkBackward is forward and backward of one micro-batch, in either mode. TFLOP/s counts 6 operations per
// multiplied parameter and token, and causal attention at half of 12·L·C·T. The share of each part of the pass is in
// the log of -v.
func BenchmarkBackward(b *testing.B) {
	char, gpt2, qwen := benchShapes()
	for _, c := range []struct {
		name      string
		arch      config.Arch
		sequences int
	}{{"char-10m", char, 64}, {"gpt2-124m", gpt2, 4}, {"qwen", qwen, 16}} {
		for _, mode := range []string{ModeFP32, ModeBF16} {
			for _, workers := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/%s/workers=%d", c.name, mode, workers), func(b *testing.B) {
					benchmarkBackward(b, c.arch, mode, workers, c.sequences)
				})
			}
		}
	}
}

func benchmarkBackward(b *testing.B, a config.Arch, mode string, workers, sequences int) {
	x := newExec(b, workers, kernel.TierAuto)
	parts, last := map[string]time.Duration{}, time.Now()
	m := newModel[float32](b, a, x, Options{MicroTokens: sequences * a.Context, Mode: mode, Clock: func(part string) {
		now := time.Now()
		parts[part] += now.Sub(last)
		last = now
	}})
	m.Init(1)
	lengths := make([]int, sequences)
	for i := range lengths {
		lengths[i] = a.Context
	}
	in := ragged(rand.New(rand.NewPCG(1, 1)), a.Vocab, lengths...)
	m.Backward(in, 1e-4)
	clear(parts)
	for b.Loop() {
		last = time.Now()
		m.Backward(in, 1e-4)
	}
	tokens := float64(b.N) * float64(len(in.Tokens)) / b.Elapsed().Seconds()
	_, multiplied := a.Params()
	flop := 6*float64(multiplied) + 6*float64(a.Layers*queryWidth(a)*a.Context)
	b.ReportMetric(tokens, "tokens/s")
	b.ReportMetric(tokens*flop/1e12, "TFLOP/s")
	for part, d := range parts {
		b.Logf("%-22s %8.2f ms", part, float64(d.Microseconds())/1e3/float64(b.N))
	}
}

// BenchmarkDecode writes 100 texts of 128 tokens at once with the model of 10.7M parameters, prompts of 32 read first.
func BenchmarkDecode(b *testing.B) {
	for _, mode := range []string{ModeFP32, ModeBF16} {
		b.Run(mode, func(b *testing.B) { benchmarkDecode(b, mode) })
	}
}

func benchmarkDecode(b *testing.B, mode string) {
	a, _, _ := benchShapes()
	const texts, prompt, length = 100, 32, 128
	x := newExec(b, 2, kernel.TierAuto)
	d, err := NewDecoder[float32](a, x, DecoderOptions{Tokens: 1024, Rows: texts, Mode: mode})
	if err != nil {
		b.Fatal(err)
	}
	d.Params().Init(x.Pool(), a.Layers, 1)
	d.Refresh()
	cache := NewCache[float32](a, texts, prompt+length)
	logits := make([]float32, texts*a.Vocab)
	prompts, owner := make([]int32, texts*prompt), make([]int32, texts*prompt)
	for i := range owner {
		owner[i] = int32(i / prompt)
	}
	tokens, rows := make([]int32, texts), make([]int32, texts)
	for i := range rows {
		rows[i] = int32(i)
	}
	for b.Loop() {
		for r := range texts {
			cache.Truncate(r, 0)
		}
		d.Decode(cache, prompts, owner, logits)
		for range length {
			d.Decode(cache, tokens, rows, logits)
		}
	}
	b.ReportMetric(float64(b.N)*texts*length/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkDecodeStep is one step of generation after 64 tokens; MB/s counts the bytes of the matrices.
func BenchmarkDecodeStep(b *testing.B) {
	char, gpt2, _ := benchShapes()
	for _, c := range []struct {
		name string
		arch config.Arch
	}{{"char-10m", char}, {"gpt2-124m", gpt2}} {
		for _, format := range param.Formats {
			for _, rows := range []int{1, 16} {
				b.Run(fmt.Sprintf("%s/%s/rows=%d", c.name, format, rows), func(b *testing.B) {
					benchmarkDecodeStep(b, c.arch, format, rows)
				})
			}
		}
	}
}

func benchmarkDecodeStep(b *testing.B, a config.Arch, format string, rows int) {
	x := newExec(b, 0, kernel.TierAuto)
	d, err := NewDecoder[float32](a, x, DecoderOptions{Tokens: 1024, Rows: rows, Weights: format})
	if err != nil {
		b.Fatal(err)
	}
	d.Params().Init(x.Pool(), a.Layers, 1)
	d.Refresh()
	cache := NewCache[float32](a, rows, 65)
	logits := make([]float32, rows*a.Vocab)
	var prompt, owner, tokens, each []int32
	for row := range int32(rows) {
		for i := range int32(64) {
			prompt, owner = append(prompt, (row+7*i)%int32(a.Vocab)), append(owner, row)
		}
		tokens, each = append(tokens, row), append(each, row)
	}
	d.Decode(cache, prompt, owner, logits)
	b.SetBytes(int64(overMatrices(a, func(out, in int) int {
		if format == param.FormatFP32 {
			return 4 * out * in
		}
		return kernel.CodedLen(kernelFormats[format], out, in)
	})))
	for b.Loop() {
		d.Decode(cache, tokens, each, logits)
		for row := range rows {
			cache.Truncate(row, 64)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}

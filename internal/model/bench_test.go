package model

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
)

// BenchmarkBackward is forward and backward of a GPT-2 shape of 10.7M parameters (6 × 384, 65 characters, sequences
// of 256), in micro-batches of 4,096 positions. TFLOP/s counts 6 operations per multiplied parameter and token, and
// causal attention at half of 12·L·C·T.
func BenchmarkBackward(b *testing.B) {
	a := config.Arch{Shape: "gpt2", Layers: 6, Width: 384, Heads: 6, KVHeads: 6, HeadSize: 64, MLP: 1536, Vocab: 65, Context: 256,
		Norm: "layer", NormEps: 1e-5, Position: "learned", MLPKind: "gelu", QKVBias: true, Bias: true, Tie: true}
	qwen := a
	qwen.Shape, qwen.Norm, qwen.Position, qwen.RopeTheta, qwen.MLPKind = "qwen3", "rms", "rope", 10000, "swiglu"
	qwen.QKNorm, qwen.QKVBias, qwen.Bias, qwen.KVHeads, qwen.MLP, qwen.Vocab = true, false, false, 2, 1024, 4096
	for _, a := range []config.Arch{a, qwen} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/workers=%d", a.Shape, workers), func(b *testing.B) {
				const sequences = 16
				x := newExec(b, workers, kernel.TierAuto)
				m := newModel[float32](b, a, x, Options{MicroTokens: sequences * a.Context})
				m.Init(1)
				lengths := make([]int, sequences)
				for i := range lengths {
					lengths[i] = a.Context
				}
				in := ragged(rand.New(rand.NewPCG(1, 1)), a.Vocab, lengths...)
				m.Backward(in, 1)
				for b.Loop() {
					m.Backward(in, 1)
				}
				tokens := float64(b.N) * float64(len(in.Tokens)) / b.Elapsed().Seconds()
				_, multiplied := a.Params()
				flop := 6*float64(multiplied) + 6*float64(a.Layers*queryWidth(a)*a.Context)
				b.ReportMetric(tokens, "tokens/s")
				b.ReportMetric(tokens*flop/1e12, "TFLOP/s")
			})
		}
	}
}

// BenchmarkDecode writes 100 texts of 128 tokens at once with the model of 10.7M parameters, prompts of 32 read first.
func BenchmarkDecode(b *testing.B) {
	a := config.Arch{Shape: "gpt2", Layers: 6, Width: 384, Heads: 6, KVHeads: 6, HeadSize: 64, MLP: 1536, Vocab: 65, Context: 256,
		Norm: "layer", NormEps: 1e-5, Position: "learned", MLPKind: "gelu", QKVBias: true, Bias: true, Tie: true}
	const texts, prompt, length = 100, 32, 128
	x := newExec(b, 2, kernel.TierAuto)
	d, err := NewDecoder[float32](a, x, DecoderOptions{Tokens: 1024, Rows: texts})
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

package device

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/engine"
	"gimbal/internal/generate"
	"gimbal/internal/model"
)

// Logits of prompts, of single tokens, of both in one call and of rows that were cut are those of the CPU, and on
// several devices, too.
func TestDecodeParity(t *testing.T) {
	for _, a := range shapes {
		for _, devices := range []int{1, 2} {
			if devices > 1 && a.Shape != "qwen3" {
				continue
			}
			t.Run(fmt.Sprintf("%s on %d", a.Shape, devices), func(t *testing.T) {
				testDecode(t, a, model.ModeFP32, devices, 1e-5)
			})
		}
	}
	for _, a := range []config.Arch{
		inFamily(t, "gemma2", func(a *config.Arch) {
			a.Window, a.Pattern, a.QueryScale, a.ScoreCap, a.LogitCap = 7, "lf", 12, 2, 3
		}),
		inFamily(t, "granite", func(a *config.Arch) {
			a.EmbedFactor, a.ScoreFactor, a.ResidualFactor, a.LogitDivisor = 3, 0.7, 0.6, 1.5
		}),
		inFamily(t, "phi", func(a *config.Arch) { a.MLPKind, a.Rotary = "gelu", 2 }),
		inFamily(t, "gpt_neo", func(a *config.Arch) { a.MLPKind, a.Window, a.Pattern = "gelu", 7, "fl" }),
		inFamily(t, "opt", func(*config.Arch) {}),
		inFamily(t, "gpt_neox", func(a *config.Arch) { a.Parallel, a.Rotary, a.MLPKind = true, 2, "gelu-exact" }),
	} {
		t.Run(a.Shape, func(t *testing.T) { testDecode(t, a, model.ModeFP32, 1, 1e-5) })
	}
	t.Run("bf16", func(t *testing.T) { testDecode(t, shapes[0], model.ModeBF16, 1, 0.1) })
}

func testDecode(t *testing.T, a config.Arch, mode string, devices int, tolerance float64) {
	const rows = 3
	s := spec(a, mode, false)
	var both [2]generate.Decoder
	for i, e := range []engine.Engine{open(t, cpu(t), s), open(t, on(t, devices), s)} {
		for block := range a.Layers { // so that attention matters
			e.(engine.Planter).Harm(engine.Fault{Kind: engine.ScaleBlock, Block: block, Factor: 8})
		}
		d, err := e.Decoder(rows, a.Context)
		if err != nil {
			t.Fatal(err)
		}
		d.Refresh()
		both[i] = d
	}
	r := rand.New(rand.NewPCG(5, 6))
	type part struct{ row, count int }
	for i, call := range [][]part{
		{{2, 7}, {0, 1}, {1, a.Context}}, // prompts; the second row is full
		{{0, 1}, {2, 1}},
		{{2, 1}, {0, 5}},
		{{1, 3}}, // after it was cut
		{{1, 1}, {2, 1}, {0, 1}},
	} {
		if i == 3 {
			for _, d := range both {
				d.Truncate(1, 4)
			}
		}
		var tokens, owner []int32
		for _, p := range call {
			for range p.count {
				tokens, owner = append(tokens, int32(r.IntN(a.Vocab))), append(owner, int32(p.row))
			}
		}
		var logits [2][]float32
		for k, d := range both {
			logits[k] = make([]float32, len(call)*a.Vocab)
			if err := d.Decode(t.Context(), tokens, owner, logits[k]); err != nil {
				t.Fatal(err)
			}
		}
		for k, p := range call {
			want, got := logits[0][k*a.Vocab:][:a.Vocab], logits[1][k*a.Vocab:][:a.Vocab]
			if far := farApart(got, want); far > tolerance {
				t.Errorf("call %d: logits of row %d are off by %g", i, p.row, far)
			}
			if both[0].Len(p.row) != both[1].Len(p.row) {
				t.Errorf("call %d: row %d has %d positions", i, p.row, both[1].Len(p.row))
			}
		}
	}
}

// A text does not depend on the texts beside it, and texts of a trained engine are those of the CPU.
func TestGenerateOnDevices(t *testing.T) {
	s := spec(shapes[0], model.ModeFP32, false)
	write := func(e engine.Engine, requests ...generate.Request) []generate.Sample {
		d, err := e.Decoder(2, length)
		if err != nil {
			t.Fatal(err)
		}
		d.Refresh()
		samples, err := generate.New(d).Generate(t.Context(), requests, generate.Options{MaxTokens: length, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		return samples
	}
	e := open(t, on(t, 1), s)
	var requests []generate.Request
	for i := range 5 {
		requests = append(requests, generate.Request{Prompt: []int32{1, int32(i), 3, 4}[:1+i%4], Index: uint64(i)})
	}
	all := write(e, requests...)
	alone := write(e, requests[4])
	if !slices.Equal(alone[0].Tokens, all[4].Tokens) {
		t.Errorf("a text beside others is %v, alone %v", all[4].Tokens, alone[0].Tokens)
	}
	for i, want := range write(open(t, cpu(t), s), requests...) {
		if !slices.Equal(all[i].Tokens, want.Tokens) {
			t.Errorf("text %d is %v, on the CPU %v", i, all[i].Tokens, want.Tokens)
		}
	}
	for _, d := range e.(*deviceEngine).decoders {
		if d.cache != nil {
			t.Error("a decoder without a text holds memory")
		}
	}
}

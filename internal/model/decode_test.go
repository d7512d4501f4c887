package model

import (
	"math"
	"slices"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/param"
)

// checkDecode feeds prompts of several lengths, then one token per row, and compares with Logits.
func checkDecode[T kernel.Float](t *testing.T, tier kernel.Tier, mode string, limit float64) {
	x := newExec(t, 2, tier)
	for shape := range shapes() {
		r := random(t)
		a := testArch(shape)
		lengths := []int{100, 1, 66, 9}
		in := ragged(r, a.Vocab, lengths...)
		m := newModel[T](t, a, x, Options{MicroTokens: len(in.Tokens), Mode: mode})
		m.Init(5)
		for _, v := range m.params.Views {
			for i := v.Lo; i < v.Hi && v.Kind != param.KindNorm; i++ {
				m.params.Flat[i] *= 3
			}
		}
		m.Refresh()
		all := make([]T, len(in.Tokens)*a.Vocab)
		m.Logits(all, in)
		d, err := m.Decoder(DecoderOptions{Tokens: 40, Rows: len(lengths)})
		if err != nil {
			t.Fatal(err)
		}
		cache := NewCache[T](a, len(lengths)+1, 120)
		got := make([]T, len(lengths)*a.Vocab)
		compare := func(i int, row int, at int32) {
			want := all[int(at)*a.Vocab:][:a.Vocab]
			worst := 0.0
			for v, z := range got[i*a.Vocab:][:a.Vocab] {
				worst = max(worst, math.Abs(float64(z)-float64(want[v])))
			}
			if !(worst <= limit) {
				t.Errorf("%s, %s: row %d position %d: logits differ by %g",
					tier, a.Shape, row, at-in.Bounds[row], worst)
			}
		}
		// Prompts: all but the last few tokens, in one call that is cut into chunks.
		held := make([]int32, len(lengths))
		var tokens, rows []int32
		for s, n := range lengths {
			held[s] = int32(max(1, n-4))
			for i := range held[s] {
				tokens, rows = append(tokens, in.Tokens[in.Bounds[s]+i]), append(rows, int32(s))
			}
		}
		if n := d.Decode(cache, tokens, rows, got); n != len(lengths) {
			t.Fatalf("logits of %d rows", n)
		}
		for s := range lengths {
			compare(s, s, in.Bounds[s]+held[s]-1)
		}
		// Rows that still run, one token each, the last row first.
		for {
			tokens, rows = tokens[:0], rows[:0]
			for s := len(lengths) - 1; s >= 0; s-- {
				if int(held[s]) < lengths[s] {
					tokens, rows = append(tokens, in.Tokens[in.Bounds[s]+held[s]]), append(rows, int32(s))
					held[s]++
				}
			}
			if len(tokens) == 0 {
				break
			}
			if n := d.Decode(cache, tokens, rows, got); n != len(rows) {
				t.Fatalf("logits of %d rows of %d", n, len(rows))
			}
			for i, s := range rows {
				compare(i, int(s), in.Bounds[s]+held[s]-1)
			}
		}
		// A row on its own goes on as among others, bit for bit.
		d.Decode(cache, []int32{7, 7, 3}, []int32{0, 4, 2}, got)
		among := slices.Clone(got[:a.Vocab])
		cache.Truncate(0, cache.Len(0)-1)
		d.Decode(cache, []int32{7}, []int32{0}, got)
		if !slices.Equal(got[:a.Vocab], among) {
			t.Errorf("%s, %s: a row depends on the others", tier, a.Shape)
		}
		// Whatever comes before it, and so wherever the call is cut: here after 41-n tokens.
		prompt, owner := in.Tokens[:41], make([]int32, 41)
		cache.Truncate(0, 0)
		d.Decode(cache, prompt, owner, got)
		alone := slices.Clone(got[:a.Vocab])
		for n := range 4 {
			cache.Truncate(0, 0)
			cache.Truncate(1, 0)
			other := []int32{1, 1, 1, 1}[:n]
			r := d.Decode(cache, append(slices.Clone(other), prompt...), append(other, owner...), got)
			if !slices.Equal(got[(r-1)*a.Vocab:][:a.Vocab], alone) {
				t.Errorf("%s, %s: a prompt after %d other tokens differs", tier, a.Shape, n)
			}
		}
	}
}

func TestDecodeAgreesWithLogits(t *testing.T) {
	for _, tier := range kernel.Tiers() {
		checkDecode[float32](t, tier, ModeFP32, 1e-5)
		// Attention to the cache is in full precision, that of Logits is not.
		checkDecode[float32](t, tier, ModeBF16, 0.1)
	}
	checkDecode[float64](t, kernel.Generic, ModeFP32, 1e-12)
}

func TestDecoderNeedsLittleMemory(t *testing.T) {
	x := newExec(t, 2, kernel.TierAuto)
	for mode, bytes := range map[string]int64{ModeFP32: 4, ModeBF16: 8} {
		decoderNeedsLittleMemory(t, x, mode, bytes)
	}
}

// decoderNeedsLittleMemory wants little more than bytes for each parameter, and nothing for each call.
func decoderNeedsLittleMemory(t *testing.T, x *kernel.Exec, mode string, bytes int64) {
	a := testArch(0)
	a.Width, a.MLP, a.Layers = 128, 512, 6
	d, err := NewDecoder[float32](a, x, DecoderOptions{Tokens: 64, Rows: 4, Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	_, total := param.Layout(a)
	if got := d.footprint.Total; got > int64(total)*bytes*13/10 {
		t.Errorf("a decoder of %d bytes of parameters takes %d", total*4, got)
	}
	d.Params().Init(x.Pool(), a.Layers, 1)
	d.Refresh()
	cache := NewCache[float32](a, 2, 50)
	logits := make([]float32, 2*a.Vocab)
	tokens, rows := []int32{1, 2}, []int32{0, 1}
	if n := testing.AllocsPerRun(3, func() { d.Decode(cache, tokens, rows, logits) }); n != 0 {
		t.Errorf("%v allocations per call", n)
	}
	if CacheBytes(a, 2, 50) < int64(2*a.Layers*2*50*a.KVHeads*a.HeadSize*4) {
		t.Error("cache counted too small")
	}
}

// A context costs nothing until it is used, and what a decoder computes does not depend on how long it could be.
func TestContextCostsNothing(t *testing.T) {
	x := newExec(t, 2, kernel.Tiers()[0])
	short := testArch(0)
	long := short
	long.Context = 1 << 24
	tokens, rows := []int32{1, 2, 3, 4, 5}, make([]int32, 5)
	logits := func(a config.Arch, capacity int) []float32 {
		m := newModel[float32](t, a, x, Options{MicroTokens: 8, Mode: ModeFP32})
		if got := m.Footprint().Total; got > 128<<20 {
			t.Errorf("context %d: %d bytes", a.Context, got)
		}
		m.Init(5)
		d, err := m.Decoder(DecoderOptions{Tokens: 8, Rows: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.footprint.Total; got > 128<<20 {
			t.Errorf("context %d: decoder of %d bytes", a.Context, got)
		}
		out := make([]float32, a.Vocab)
		d.Decode(NewCache[float32](a, 1, capacity), tokens, rows, out)
		return out
	}
	want := logits(short, 8)
	for _, capacity := range []int{8, tabled + 8} {
		if got := logits(long, capacity); !slices.Equal(got, want) {
			t.Errorf("capacity %d: other logits", capacity)
		}
	}
	long.HeadSize = 1 << 13 // whose angles alone would be a gigabyte
	long.Width, long.Layers, long.Heads, long.KVHeads = 2, 1, 1, 1
	logits(long, 8)
}

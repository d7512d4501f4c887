package kernel

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"gimbal/internal/testmem"
)

// newCoded returns W (out, in) in a format, and the values that stand for it.
func newCoded(x *Exec, w []float32, f Format, out, in int) (h *Weights[float32], values []float32) {
	h = NewWeightsCoded(w, make([]byte, CodedLen(f, out, in)), f, out, in)
	h.Refresh(x)
	values = slices.Clone(w)
	for o := 0; f == BF16 && o < out; o++ {
		h.coded.expandGo(&values[o*in], 1, o/panelRows, 0, o%panelRows, 1, in)
	}
	if f == Int8 {
		EncodeInt8(x, h.coded.panels, w, out, in)
		DecodeInt8(values, h.coded.panels, in, 0, out/3)
		DecodeInt8(values[out/3*in:], h.coded.panels, in, out/3, out)
	}
	return h, values
}

// TestCodedIsItsValues checks, bit for bit, that a product with coded weights is that with the values they stand for,
// on every tier, for any number of rows and workers, at sizes around the edges of panels, groups, blocks and tiles. So
// is a product with few rows, for which W is read otherwise.
func TestCodedIsItsValues(t *testing.T) {
	shapes := [][2]int{{1, 1}, {5, 3}, {16, 32}, {31, 33}, {32, 64}, {33, 31}, {48, kBlock}, {65, kBlock + 4},
		{64, 2*kBlock + 7}, {100, kBlock - 1}, {47, 132}}
	const more = 2 * fewRows // rows that make the tile kernel compute
	var upTo []int           // and all numbers of rows that do not
	for n := range fewRows + 1 {
		upTo = append(upTo, n+1)
	}
	for _, tier := range Tiers() {
		for _, workers := range []int{1, 3} {
			x, r := newExec(t, workers, tier), newRand(t)
			for _, s := range shapes {
				out, in := s[0], s[1]
				for f := FP32; f <= Int8; f++ {
					ar := testmem.NewArena[float32](r)
					h, values := newCoded(x, ar.Random("w", out*in, true), f, out, in)
					src := ar.Random("src", more*in, true)
					want := make([]float32, more*out)
					NewWeights(values, out, in).Forward(x, Dense(want, more, out), Dense(src, more, in), more)
					for _, n := range append(slices.Clip(upTo), more) {
						got := ar.Random("dst", n*out, false)
						h.Forward(x, Dense(got, n, out), Dense(src, n, in), n)
						what := fmt.Sprintf("%s, %d workers: format %d, W %v, %d rows", tier, workers, f, s, n)
						same(t, what, got, want[:n*out])
						ar.Check(t, what)
					}
				}
			}
		}
	}
}

// TestCodedError checks the values against their bounds. In bfloat16 that is half a unit in the last of 8 bits, and
// denormal numbers become zero. In 8 bits it is half a scale: the largest magnitude of the group over 127, at most
// 2⁻⁷ more.
func TestCodedError(t *testing.T) {
	x, r := newExec(t, 1, TierAuto), newRand(t)
	const out, in = 40, 3*groupSize + 5
	w := make([]float32, out*in)
	for i := range w {
		w[i] = float32(r.NormFloat64())
		switch i / in {
		case 0:
			w[i] = 0
		case 1: // all at the bound
			w[i] = float32(127 - 254*(i%2))
		case 2:
			w[i] *= math.MaxFloat32 / 8
		case 3:
			w[i] *= 1e-36
		case 4:
			w[i] = float32(math.Exp(10 * r.NormFloat64()))
		}
	}
	_, rounded := newCoded(x, w, BF16, out, in)
	_, values := newCoded(x, w, Int8, out, in)
	exact := true
	for i, v := range w {
		row, g := w[i/in*in:][:in], i%in/groupSize*groupSize
		var top float64
		for _, u := range row[g:min(g+groupSize, in)] {
			top = max(top, math.Abs(float64(u)))
		}
		if e := math.Abs(float64(values[i] - v)); !(e <= top/127*(1+1.0/128)/2*(1+1e-6)) {
			t.Errorf("8 bits: %g of a group up to %g became %g", v, top, values[i])
		}
		if e := math.Abs(float64(rounded[i]) - float64(v)); !(e <= max(math.Abs(float64(v))/256, 0x1p-126)) {
			t.Errorf("bfloat16: %g became %g", v, rounded[i])
		}
		exact = exact && values[i] == v
	}
	if exact {
		t.Error("8 bits change nothing: the test is blind")
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1))} {
		w[7*in+3] = bad
		_, values := newCoded(x, w, Int8, out, in)
		if values[7*in+3] == values[7*in+3] || values[7*in+groupSize] != values[7*in+groupSize] {
			t.Errorf("%v became %v, its neighbour in another group %v", bad, values[7*in+3], values[7*in+groupSize])
		}
	}
}

// TestInt8Properties checks that signs of the largest survive, that what has at most 127 steps of a scale in bfloat16 is
// exact, that a group of zeros stays zero, that denormal numbers keep their error below half a scale, and that the
// largest finite numbers stay finite.
func TestInt8Properties(t *testing.T) {
	x, r := newExec(t, 1, TierAuto), newRand(t)
	code := make([]byte, CodedLen(Int8, 1, groupSize))
	for range 2000 {
		top := math.Exp2(float64(r.IntN(277)-149)) * (1 + r.Float64()) / 2
		if r.IntN(20) == 0 {
			top = math.MaxFloat32
		}
		exact := r.IntN(2) == 0 && top < 1e38 && top > 1e-36
		w, got := make([]float32, groupSize), make([]float32, groupSize)
		scale := widenBF16(uint16(math.Float32bits(float32(top/127)) >> 16))
		for i := range w {
			if w[i] = float32(top * (2*r.Float64() - 1)); exact {
				w[i] = float32(r.IntN(255)-127) * scale
			}
		}
		at := r.IntN(groupSize)
		if w[at] = float32(-top); exact {
			w[at] = -127 * scale
		}
		EncodeInt8(x, code, w, 1, groupSize)
		DecodeInt8(got, code, groupSize, 0, 1)
		top = math.Abs(float64(w[at]))
		for i, v := range got {
			// A scale in bfloat16 is at most 2⁻⁷ more than needed, or the smallest there is more.
			half := math.Max(top/127*(1+1.0/128), top/127+0x1p-133) / 2 * (1 + 1e-6)
			if e := math.Abs(float64(v) - float64(w[i])); exact && v != w[i] || !(e <= half) {
				t.Fatalf("%g of a group up to %g became %g", w[i], top, v)
			}
			if math.Abs(float64(v)) > math.Abs(float64(got[at])) || got[at] > 0 {
				t.Fatalf("%g of a group up to %g became %g, more than the largest, %g", w[i], top, v, got[at])
			}
		}
		clear(w)
		EncodeInt8(x, code, w, 1, groupSize)
		DecodeInt8(got, code, groupSize, 0, 1)
		for i, v := range got {
			if v != 0 {
				t.Fatalf("zero %d of a group became %g", i, v)
			}
		}
	}
}

// TestCodedHasNoGradient checks that the multiplies of a backward pass refuse coded weights.
func TestCodedHasNoGradient(t *testing.T) {
	x := newExec(t, 1, TierAuto)
	w := make([]float32, 4*4)
	h, _ := newCoded(x, w, Int8, 4, 4)
	m := Dense(make([]float32, 16), 4, 4)
	for what, call := range map[string]func(){
		"BackInput":  func() { h.BackInput(x, m, Dense(w, 4, 4), 4) },
		"BackWeight": func() { h.BackWeight(x, w, m, m, 4) },
	} {
		func() {
			defer func() {
				if recover() != "kernel: gradient of coded weights" {
					t.Errorf("%s computes", what)
				}
			}()
			call()
		}()
	}
}

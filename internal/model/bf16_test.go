package model

import (
	"math"
	"testing"

	"gimbal/internal/kernel"
	"gimbal/internal/param"
)

// closeness compares two gradients of one tensor.
func closeness(a, b []float32) (cosine, relative float64) {
	var aa, bb, ab, dd float64
	for i, v := range a {
		x, y := float64(v), float64(b[i])
		aa += x * x
		bb += y * y
		ab += x * y
		dd += (x - y) * (x - y)
	}
	return ab / math.Sqrt(aa*bb), math.Sqrt(dd / bb)
}

// TestBF16AgreesWithFP32 compares loss and gradients, tensor by tensor, on every tier: at the initial weights, and with
// matrices, embeddings and biases three times as large.
func TestBF16AgreesWithFP32(t *testing.T) {
	for _, tier := range kernel.Tiers() {
		x := newExec(t, 2, tier)
		if x.BF16() == "" && tier != kernel.Generic {
			continue
		}
		for shape := range shapes() {
			for _, factor := range []float32{1, 3} {
				if tier == kernel.Generic && (shape%3 != 0 || factor == 1) {
					continue // it is slow
				}
				r := random(t)
				a := testArch(shape)
				a.Width, a.MLP, a.HeadSize = 64, 96, 16
				if factor > 1 {
					a.HeadSize = 32 // whole vectors
				}
				in := ragged(r, a.Vocab, 1, 150, 40, 77)
				opt := Options{MicroTokens: 300, Mode: ModeFP32}
				full := newModel[float32](t, a, x, opt)
				opt.Mode = ModeBF16
				half := newModel[float32](t, a, x, opt)
				full.Init(r.Uint64())
				for i := range full.params.Flat { // biases and gains, too, are not what they begin as
					full.params.Flat[i] += 0.02 * float32(r.NormFloat64())
				}
				for _, v := range full.params.Views {
					if v.Kind != param.KindNorm {
						for i := v.Lo; i < v.Hi; i++ {
							full.params.Flat[i] *= factor
						}
					}
				}
				copy(half.params.Flat, full.params.Flat)
				full.Refresh()
				half.Refresh()
				n := float64(len(in.Tokens))
				want, got := full.Backward(in, 1/n)/n, half.Backward(in, 1/n)/n
				if !(math.Abs(got-want) <= 0.002) {
					t.Errorf("%s, %s: loss %v in bf16, %v in fp32", tier, a.Shape, got, want)
				}
				norm := 0.0
				for _, g := range full.grads {
					norm += float64(g) * float64(g)
				}
				worstCosine, worstError := 1.0, 0.0
				for _, v := range full.params.Views {
					square := 0.0
					for _, g := range full.grads[v.Lo:v.Hi] {
						square += float64(g) * float64(g)
					}
					if square < 1e-8*norm { // the bias of the keys: zero but for rounding
						continue
					}
					cosine, relative := closeness(half.grads[v.Lo:v.Hi], full.grads[v.Lo:v.Hi])
					if !(cosine > 0.999) || !(relative < 0.045) {
						t.Errorf("%s, %s, weights times %v: gradient of %s has cosine %.6f and differs by %.4f",
							tier, a.Shape, factor, v.Name, cosine, relative)
					}
					worstCosine, worstError = min(worstCosine, cosine), max(worstError, relative)
				}
				t.Logf("%s, %s, weights times %v: loss %.5f and %.5f, worst cosine %.6f, worst error %.4f",
					tier, a.Shape, factor, got, want, worstCosine, worstError)
			}
		}
	}
}

package fused

import "gimbal/internal/kernel"

// loops are the loops in assembly over a row of bfloat16; the functions of similar names document them. Nil where Go
// does it, with the tier's functions on slices.
type loops struct {
	softmax       func(dst *uint16, src *float32, n int) (top, sum float32)
	softmaxBack   func(p, dscore *uint16, score, dp, lse, delta *float32, n int)
	gelu          func(dst, src *uint16, bias *float32, n int)
	geluBack      func(dsrc, dy, src *uint16, bias, sum *float32, n int)
	swiglu        func(dst, gate, up *uint16, n int)
	swigluBack    func(dgate, dup, dy, gate, up *uint16, n int)
	layerNorm     func(dst *uint16, src, gain, bias *float32, n int, eps float64) (mean, rstd float32)
	layerNormBack func(dx, dgain, dbias *float32, dy *uint16, src, gain *float32, mean, rstd float32, n int)
	rmsNorm       func(dst *uint16, src, gain *float32, n int, eps float64) (rstd float32)
	rmsNormBack   func(dx, dgain *float32, dy *uint16, src, gain *float32, rstd float32, n int)
	heads         func(a headsArgs) // by value, so that the caller can have them on its stack
	headsBack     func(a headsArgs)
	add           func(dst, src *float32, term *uint16, bias *float32, n int)
	roundSum      func(dst *uint16, src, sum *float32, n int)
	scale         func(dst *uint16, src *float32, scale float32, n int)
	dot           func(a, b *uint16, n int) float32
}

// generic is the table of tiers without hardware for bfloat16.
var generic loops

// loopsOf returns the loops of the tier of x: whatever multiplies bfloat16 there has AVX512-BF16.
func loopsOf(x *kernel.Exec) *loops {
	if x.BF16() == "" {
		return &generic
	}
	return &avx512BF16
}

// addTo adds v to sum unless that is nil.
func addTo[T kernel.Float](x *kernel.Exec, sum, v []T) {
	if sum != nil {
		kernel.Axpy(x, sum, 1, v)
	}
}

// biased returns the elements of r plus bias, unless that is nil, without changing r. temp has the row's length.
func biased[T kernel.Float](x *kernel.Exec, r kernel.Row[T], bias, temp []T) []T {
	if bias == nil {
		return r.Read(x, temp)
	}
	v := r.Load(x, temp)
	kernel.Axpy(x, v, 1, bias[:len(v)])
	return v
}

// first returns the address of the n elements of s, or nil. T is float32, as always with rows of bfloat16.
func first[T kernel.Float](s []T, n int) *float32 {
	if s == nil {
		return nil
	}
	f, ok := any(s).([]float32)
	if !ok {
		panic("fused: bfloat16 rows of a float64 model")
	}
	return &f[:n][0]
}

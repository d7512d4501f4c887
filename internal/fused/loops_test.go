package fused

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"unsafe"

	"gimbal/internal/kernel"
)

// rowOperands is what the calls of rowCases read and write, and what they return.
type rowOperands struct {
	h        [3][]uint16
	f        [5][]float32
	returned [2]float32
}

const rowLen, headLen = 192, 64

func newRowOperands() *rowOperands {
	r, o := rand.New(rand.NewPCG(1, 2)), new(rowOperands)
	for i := range o.f {
		o.f[i] = make([]float32, rowLen)
		for j := range o.f[i] {
			o.f[i][j] = float32(1 + r.Float64())
		}
	}
	for i := range o.h {
		o.h[i] = make([]uint16, rowLen)
		for j := range o.h[i] {
			o.h[i][j] = roundBF16(float32(r.NormFloat64()))
		}
	}
	return o
}

// rowCases calls every function on rows for which a tier may have a loop, in every way that has one. Where a row may be
// of either kind, kind makes it.
func rowCases(kind func(h []uint16) kernel.Row[float32]) map[string]func(
	x *kernel.Exec, o *rowOperands, temp []float32) {
	const half, size = rowLen / 2, headLen
	all := Heads[float32]{Size: size, Scale: 0.125, Eps: 1e-6}
	heads := func(o *rowOperands, bias, norm, turn bool) (h Heads[float32]) {
		if h = all; bias {
			h.Bias = o.f[0]
		}
		if norm {
			h.Gain = o.f[1][:size]
		}
		if turn {
			h.Cos, h.Sin = o.f[2][:size/2], o.f[2][size/2:size]
		}
		return h
	}
	return map[string]func(x *kernel.Exec, o *rowOperands, temp []float32){
		"softmax": func(x *kernel.Exec, o *rowOperands, _ []float32) {
			o.returned[0], o.returned[1] = Softmax(x, o.h[0], o.f[0])
		},
		"softmaxBack": func(x *kernel.Exec, o *rowOperands, _ []float32) {
			SoftmaxBack(x, o.h[0], o.h[1], o.f[0], o.f[1], o.f[2], o.f[3])
		},
		"dot": func(x *kernel.Exec, o *rowOperands, temp []float32) { o.returned[0] = Dot(x, o.h[0], o.h[1], temp) },
		"gelu": func(x *kernel.Exec, o *rowOperands, temp []float32) {
			GELU(x, kind(o.h[0]), kind(o.h[1]), o.f[0], temp)
			GELU(x, kind(o.h[2]), kind(o.h[2]), nil, temp)
		},
		"geluBack": func(x *kernel.Exec, o *rowOperands, temp []float32) {
			GELUBack(x, kind(o.h[0]), kind(o.h[1]), kind(o.h[2]), o.f[0], o.f[1], temp)
			GELUBack(x, kind(o.h[1]), kind(o.h[1]), kind(o.h[2]), o.f[0], nil, temp)
			GELUBack(x, kind(o.h[2]), kind(o.h[1]), kind(o.h[0]), nil, o.f[2], temp)
		},
		"swiglu": func(x *kernel.Exec, o *rowOperands, temp []float32) {
			SwiGLU(x, kind(o.h[0][:half]), kind(o.h[1]), nil, temp)
		},
		"swigluBack": func(x *kernel.Exec, o *rowOperands, temp []float32) {
			SwiGLUBack(x, kind(o.h[0]), kind(o.h[1][:half]), kind(o.h[2]), nil, nil, temp)
		},
		"scale": func(x *kernel.Exec, o *rowOperands, temp []float32) { Scale(x, kind(o.h[0]), o.f[0], 1.5, temp) },
		"layerNorm": func(x *kernel.Exec, o *rowOperands, temp []float32) {
			o.returned[0], o.returned[1] = LayerNorm(x, kind(o.h[0]), o.f[0], o.f[1], o.f[2], 1e-5, temp)
		},
		"layerNormBack": func(x *kernel.Exec, o *rowOperands, temp []float32) {
			LayerNormBack(x, o.f[0], o.f[1], o.f[2], kind(o.h[0]), o.f[3], o.f[4], 0.5, 1.5, temp)
		},
		"rmsNorm": func(x *kernel.Exec, o *rowOperands, temp []float32) {
			o.returned[0] = RMSNorm(x, kind(o.h[0]), o.f[0], o.f[1], 1e-5, temp)
		},
		"rmsNormBack": func(x *kernel.Exec, o *rowOperands, temp []float32) {
			RMSNormBack(x, o.f[0], o.f[1], kind(o.h[0]), o.f[2], o.f[3], 1.5, temp)
		},
		"add": func(x *kernel.Exec, o *rowOperands, temp []float32) {
			Add(x, o.f[0], o.f[1], kind(o.h[0]), o.f[2], temp)
			Add(x, o.f[3], o.f[3], kind(o.h[1]), nil, temp)
		},
		"roundSum": func(x *kernel.Exec, o *rowOperands, _ []float32) { RoundSum(x, kind(o.h[0]), o.f[0], o.f[1]) },
		"heads": func(x *kernel.Exec, o *rowOperands, temp []float32) {
			for choice := range 8 {
				h := heads(o, choice&1 != 0, choice&2 != 0, choice&4 != 0)
				h.Forward(x, 0, kind(o.h[0]), kind(o.h[1]), o.f[3], temp)
			}
		},
		"headsBack": func(x *kernel.Exec, o *rowOperands, temp []float32) {
			for choice := range 16 {
				h, sum := heads(o, choice&1 != 0, choice&2 != 0, choice&4 != 0), o.f[4]
				if choice&8 != 0 {
					sum = nil
				}
				h.Backward(x, 0, kind(o.h[0]), kind(o.h[1]), 1, kind(o.h[2]), o.f[3], o.f[2][size:], sum, temp)
				h.Backward(x, 0, kind(o.h[0][:size]), kind(o.h[1][:2*size]), 2, kind(o.h[2][:size]),
					o.f[3], o.f[2][size:], sum, temp)
			}
		},
	}
}

// twinRows is a table of loops in Go, which make slices of their pointers again and call the twin on y.
func twinRows(y *kernel.Exec) loops {
	temp := make([]float32, 8*rowLen)
	h := func(p *uint16, n int) []uint16 { return unsafe.Slice(p, n) }
	row := func(p *uint16, n int) kernel.Row[float32] { return bf(unsafe.Slice(p, n)) }
	f := func(p *float32, n int) []float32 {
		if p == nil {
			return nil
		}
		return unsafe.Slice(p, n)
	}
	pair := func(a, b *uint16, n int) kernel.Row[float32] {
		if unsafe.Pointer(b) != unsafe.Add(unsafe.Pointer(a), 2*n) {
			panic("the second half does not follow the first")
		}
		return row(a, 2*n)
	}
	heads := func(a headsArgs) *Heads[float32] {
		return &Heads[float32]{Size: 2 * a.half, Bias: f(a.bias, 2*a.half*a.heads), Gain: f(a.gain, 2*a.half),
			Cos: f(a.cos, a.half), Sin: f(a.sin, a.half), Scale: a.scale, Eps: a.eps}
	}
	return loops{
		softmax: func(dst *uint16, src *float32, n int) (top, sum float32) {
			return Softmax(y, h(dst, n), f(src, n))
		},
		softmaxBack: func(p, dscore *uint16, score, dp, lse, delta *float32, n int) {
			SoftmaxBack(y, h(p, n), h(dscore, n), f(score, n), f(dp, n), f(lse, n), f(delta, n))
		},
		gelu: func(dst, src *uint16, bias *float32, n int) {
			GELU(y, row(dst, n), row(src, n), f(bias, n), temp)
		},
		geluBack: func(dsrc, dy, src *uint16, bias, sum *float32, n int) {
			GELUBack(y, row(dsrc, n), row(dy, n), row(src, n), f(bias, n), f(sum, n), temp)
		},
		swiglu: func(dst, gate, up *uint16, n int) { SwiGLU(y, row(dst, n), pair(gate, up, n), nil, temp) },
		swigluBack: func(dgate, dup, dy, gate, up *uint16, n int) {
			SwiGLUBack(y, pair(dgate, dup, n), row(dy, n), pair(gate, up, n), nil, nil, temp)
		},
		layerNorm: func(dst *uint16, src, gain, bias *float32, n int, eps float64) (mean, rstd float32) {
			return LayerNorm(y, row(dst, n), f(src, n), f(gain, n), f(bias, n), eps, temp)
		},
		layerNormBack: func(dx, dgain, dbias *float32, dy *uint16, src, gain *float32, mean, rstd float32, n int) {
			LayerNormBack(y, f(dx, n), f(dgain, n), f(dbias, n), row(dy, n), f(src, n), f(gain, n), mean, rstd, temp)
		},
		rmsNorm: func(dst *uint16, src, gain *float32, n int, eps float64) (rstd float32) {
			return RMSNorm(y, row(dst, n), f(src, n), f(gain, n), eps, temp)
		},
		rmsNormBack: func(dx, dgain *float32, dy *uint16, src, gain *float32, rstd float32, n int) {
			RMSNormBack(y, f(dx, n), f(dgain, n), row(dy, n), f(src, n), f(gain, n), rstd, temp)
		},
		heads: func(a headsArgs) {
			n := 2 * a.half * a.heads
			heads(a).Forward(y, 0, row(a.dst, n), row(a.src, n), f(a.rstd, a.heads), temp)
		},
		headsBack: func(a headsArgs) {
			n, src := 2*a.half*a.heads, kernel.Row[float32]{}
			if a.src != nil {
				src = row(a.src, n)
			}
			heads(a).Backward(y, 0, row(a.dst, n), row(a.dy, n*a.group), a.group, src, f(a.rstd, a.heads),
				f(a.dgain, 2*a.half), f(a.sum, n), temp)
		},
		add: func(dst, src *float32, term *uint16, bias *float32, n int) {
			Add(y, f(dst, n), f(src, n), row(term, n), f(bias, n), temp)
		},
		roundSum: func(dst *uint16, src, sum *float32, n int) { RoundSum(y, row(dst, n), f(src, n), f(sum, n)) },
		scale: func(dst *uint16, src *float32, scale float32, n int) {
			Scale(y, row(dst, n), f(src, n), scale, temp)
		},
		dot: func(a, b *uint16, n int) float32 { return Dot(y, h(a, n), h(b, n), temp) },
	}
}

// plant makes l the loops of the generic tier until the test ends.
func plant(t *testing.T, l loops) {
	t.Cleanup(func() { generic = loops{} })
	generic = l
}

// TestFusedRowsGetTheirOperands calls the functions on rows with a table of loops that are the twin: every operand must
// arrive at its place, on CPUs without such loops, too. Rows in full precision have none.
func TestFusedRowsGetTheirOperands(t *testing.T) {
	x, y := newExec(t, 1, kernel.Generic), newExec(t, 1, kernel.Generic)
	called := ""
	noting := twinRows(y)
	v := reflect.ValueOf(&noting).Elem()
	for i := range v.NumField() { // each loop notes that it was called, and calls the twin without loops
		name, loop := v.Type().Field(i).Name, reflect.NewAt(v.Field(i).Type(), v.Field(i).Addr().UnsafePointer()).Elem()
		inner := reflect.ValueOf(loop.Interface())
		loop.Set(reflect.MakeFunc(inner.Type(), func(args []reflect.Value) []reflect.Value {
			called += name + " "
			planted := generic
			generic = loops{}
			defer func() { generic = planted }()
			return inner.Call(args)
		}))
	}
	temp := make([]float32, 8*rowLen)
	for name, call := range rowCases(bf) {
		want, got := newRowOperands(), newRowOperands()
		generic = loops{}
		call(y, want, temp)
		called = ""
		plant(t, noting)
		if call(x, got, temp); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: other results through the table", name)
		}
		if before := newRowOperands(); reflect.DeepEqual(got, before) {
			t.Errorf("%s: nothing computed", name)
		}
		if len(called) < len(name) || called[:len(name)] != name {
			t.Errorf("%s: called %q", name, called)
		}
	}
	full := func(h []uint16) kernel.Row[float32] { return kernel.Row[float32]{F: make([]float32, len(h))} }
	for name, call := range rowCases(full) {
		called = ""
		call(x, newRowOperands(), temp)
		if bfOnly := name == "softmax" || name == "softmaxBack" || name == "dot"; called != "" && !bfOnly {
			t.Errorf("%s: rows in full precision went to %q", name, called)
		}
	}
}

// idleRows is a table of loops that do nothing.
var idleRows = loops{
	softmax:       func(*uint16, *float32, int) (top, sum float32) { return 0, 1 },
	softmaxBack:   func(_, _ *uint16, _, _, _, _ *float32, _ int) {},
	gelu:          func(_, _ *uint16, _ *float32, _ int) {},
	geluBack:      func(_, _, _ *uint16, _, _ *float32, _ int) {},
	swiglu:        func(_, _, _ *uint16, _ int) {},
	swigluBack:    func(_, _, _, _, _ *uint16, _ int) {},
	layerNorm:     func(_ *uint16, _, _, _ *float32, _ int, _ float64) (mean, rstd float32) { return 0, 1 },
	layerNormBack: func(_, _, _ *float32, _ *uint16, _, _ *float32, _, _ float32, _ int) {},
	rmsNorm:       func(_ *uint16, _, _ *float32, _ int, _ float64) (rstd float32) { return 1 },
	rmsNormBack:   func(_, _ *float32, _ *uint16, _, _ *float32, _ float32, _ int) {},
	heads:         func(headsArgs) {},
	headsBack:     func(headsArgs) {},
	add:           func(_, _ *float32, _ *uint16, _ *float32, _ int) {},
	roundSum:      func(_ *uint16, _, _ *float32, _ int) {},
	scale:         func(_ *uint16, _ *float32, _ float32, _ int) {},
	dot:           func(_, _ *uint16, _ int) float32 { return 0 },
}

// TestRowsAllocateNothing counts allocations with the twin, and with a table of loops: what a function of a table is
// given escapes, so that it must not lie on the stack.
func TestRowsAllocateNothing(t *testing.T) {
	count := func(what string, x *kernel.Exec) {
		o, temp := newRowOperands(), make([]float32, 8*rowLen)
		for name, call := range rowCases(bf) {
			if n := testing.AllocsPerRun(5, func() { call(x, o, temp) }); n != 0 {
				t.Errorf("%s, %s: %v allocations", what, name, n)
			}
		}
	}
	count("the tier's rows", newExec(t, 1, kernel.TierAuto))
	plant(t, idleRows)
	count("a table", newExec(t, 1, kernel.Generic))
}

// lacks returns the loops that a table has not.
func lacks(l loops) (names []string) {
	for i, v := 0, reflect.ValueOf(l); i < v.NumField(); i++ {
		if v.Field(i).IsNil() {
			names = append(names, v.Type().Field(i).Name)
		}
	}
	return names
}

// TestGenericHasNoLoops: Go does the work of tiers without the instructions.
func TestGenericHasNoLoops(t *testing.T) {
	if names, every := lacks(generic), reflect.TypeFor[loops]().NumField(); len(names) != every {
		t.Errorf("of %d loops the generic table lacks only %q", every, names)
	}
}

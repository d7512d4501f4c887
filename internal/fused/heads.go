package fused

import (
	"cmp"
	"unsafe"

	"gimbal/internal/kernel"
)

// Heads is what is done to neighbouring heads of one position: bias, RMSNorm over the channels of each head or of
// all of them, rotation of channels j and j+Rotary/2, scale.
//
// Formula: y = Scale·rotate(Gain·v·r) with v = src+Bias and r = 1/√(mean(v²)+Eps).
type Heads[T kernel.Float] struct {
	Size     int // channels of a head, even
	Bias     []T // (heads·Size), or nil
	Gain     []T // (Size), or (heads·Size) for a norm over all heads, or nil without the norm
	Rotary   int // channels of a head that are rotated, from the first on; 0: all
	Cos, Sin []T // (positions, Rotary/2), or nil without rotation
	Scale    T
	Eps      float64
}

// headsArgs is what assembly gets.
type headsArgs struct {
	dst, src, dy           *uint16
	bias, gain, cos, sin   *float32
	rstd, dgain, sum, temp *float32
	heads, half, group     int
	eps                    float64
	scale                  float32

	//lint:ignore U1000 the assembly uses it: an address that may lie beyond the sums, where a pointer must not be
	wsum uintptr
}

// args returns the arguments that both directions need. Backward reads src and rstd only where there is a norm.
func (h *Heads[T]) args(pos int, dst, src []uint16, rstd []T) headsArgs {
	n := len(dst)
	if (h.Cos == nil) != (h.Sin == nil) || n%h.Size != 0 {
		panic("fused: heads: wrong shape")
	}
	cos, sin := h.angles(pos)
	a := headsArgs{dst: &dst[0], bias: first(h.Bias, n), gain: first(h.Gain, h.Size),
		cos: first(cos, h.Size/2), sin: first(sin, h.Size/2),
		heads: n / h.Size, half: h.Size / 2, eps: h.Eps, scale: float32(h.Scale)}
	if src != nil {
		a.src = &src[:n][0]
	}
	if h.Gain != nil {
		a.rstd = first(rstd, a.heads)
	}
	return a
}

// angles returns the cosines and sines of a position, nil without rotation.
func (h *Heads[T]) angles(pos int) (cos, sin []T) {
	if h.Cos == nil {
		return nil, nil
	}
	n := h.rotary()
	lo, hi := pos*n/2, (pos+1)*n/2
	return h.Cos[lo:hi], h.Sin[lo:hi]
}

func (h *Heads[T]) rotary() int { return cmp.Or(h.Rotary, h.Size) }

// wide reports whether the norm is over all heads.
func (h *Heads[T]) wide() bool { return len(h.Gain) > h.Size }

// fused reports whether assembly takes rows of bfloat16.
func (h *Heads[T]) fused() bool { return h.Size%headBlock == 0 && h.rotary() == h.Size && !h.wide() }

// headBlock is the number of channels that assembly takes at a time: one vector of each half of a head.
const headBlock = 32

// Forward overwrites dst (heads·Size), which may be src, and where there is a norm rstd (heads), by each head's r, or
// its first by that of all. temp has dst's length.
//
// Numerics: squares are added in float64; bits depend on the values, Size and the tier only.
func (h *Heads[T]) Forward(x *kernel.Exec, pos int, dst, src kernel.Row[T], rstd, temp []T) {
	if f, n := loopsOf(x).heads, len(dst.H); f != nil && n > 0 && len(src.H) == n && h.fused() {
		f(h.args(pos, dst.H, src.H, rstd))
		for i := 0; h.Gain != nil && i < n/h.Size; i++ {
			rstd[i] = sound(x, dst.Slice(i*h.Size, (i+1)*h.Size), rstd[i], temp)
		}
		return
	}
	v := dst.Target(temp)
	if !same(dst, src) {
		copy(v, src.Read(x, v))
	}
	if h.Bias != nil {
		kernel.Axpy(x, v, 1, h.Bias[:len(v)])
	}
	cos, sin := h.angles(pos)
	if h.wide() {
		rstd[0] = RMSNorm(x, kernel.Row[T]{F: v}, v, h.Gain, h.Eps, nil)
	}
	for i, at := 0, 0; at < len(v) && (h.Gain != nil || cos != nil); i, at = i+1, at+h.Size {
		head := v[at : at+h.Size]
		if h.Gain != nil && !h.wide() {
			rstd[i] = RMSNorm(x, kernel.Row[T]{F: head}, head, h.Gain, h.Eps, nil)
		}
		if a, b := h.halves(head); cos != nil {
			kernel.Rotate(x, a, b, a, b, cos, sin)
		}
	}
	if h.Scale != 1 {
		kernel.Affine(x, v, v, h.Scale, 0)
	}
	dst.Write(x, v)
}

// Backward overwrites dst (heads·Size) by the gradient of Forward's src. dy (heads·group·Size) is the gradient of its
// output before Scale: group gradients of each head, which are added in order. With a group of 1 dst may be dy. Where
// there is a norm, Backward reads src and rstd as Forward did and adds to dgain (Gain). It adds the result, before
// rounding, to sum (heads·Size) unless that is nil. temp has three times dst's length and dy's.
//
// Formula: with g the gradient rotated back, dv = r·(Gain·g − v·r²·mean(Gain·g·v)), dgain += r·g·v.
// Numerics: T; bits depend on the values, Size and the tier only.
func (h *Heads[T]) Backward(x *kernel.Exec, pos int, dst, dy kernel.Row[T], group int, src kernel.Row[T],
	rstd, dgain, sum, temp []T) {
	if h.Gain == nil && h.Cos == nil && same(dst, dy) { // the gradient is there: only that of the bias is missing
		if sum != nil {
			Add(x, sum, sum, dy, nil, temp)
		}
		return
	}
	if f, n := loopsOf(x).headsBack, len(dst.H); f != nil && n > 0 && len(dy.H) == n*group && h.fused() {
		if h.Gain == nil {
			src.H = nil
		}
		a := h.args(pos, dst.H, src.H, rstd)
		a.dy, a.group, a.sum, a.temp = &dy.H[0], group, first(sum, n), first(temp, h.Size)
		if h.Gain != nil {
			a.dgain = first(dgain, h.Size)
		}
		f(a)
		return
	}
	parts := dy.Read(x, temp)
	n := len(parts) / group
	temp = temp[n*group:]
	d, v, t := dst.Target(temp[:n]), temp[n:2*n], temp[2*n:3*n]
	if h.Gain != nil {
		v = biased(x, src, h.Bias, v)
	}
	cos, sin := h.angles(pos)
	for i, at := 0, 0; at < n; i, at = i+1, at+h.Size {
		g, part := d[at:at+h.Size], parts[at*group:]
		if &g[0] != &part[0] {
			copy(g, part)
		}
		for j := 1; j < group; j++ {
			kernel.Axpy(x, g, 1, part[j*h.Size:(j+1)*h.Size])
		}
		if a, b := h.halves(g); cos != nil { // the pair in the other order turns the other way
			kernel.Rotate(x, b, a, b, a, cos, sin)
		}
		if h.Gain != nil && !h.wide() {
			headNormBack(x, g, dgain, v[at:at+h.Size], h.Gain, t[:h.Size], rstd[i])
		}
	}
	if h.wide() {
		headNormBack(x, d, dgain, v, h.Gain, t[:n], rstd[0])
	}
	addTo(x, sum, d)
	dst.Write(x, d)
}

// same reports whether r and o are the same memory.
func same[T kernel.Float](r, o kernel.Row[T]) bool {
	return unsafe.SliceData(r.F) == unsafe.SliceData(o.F) && unsafe.SliceData(r.H) == unsafe.SliceData(o.H)
}

// halves are the channels of a head that are rotated.
func (h *Heads[T]) halves(head []T) (a, b []T) {
	n := h.rotary()
	return head[:n/2], head[n/2 : n]
}

// headNormBack turns dy, the gradient of a head after RMSNorm, into that of the head v before it, and adds to dgain.
// r is what RMSNorm returned. temp has the length of a head.
func headNormBack[T kernel.Float](x *kernel.Exec, dy, dgain, v, gain, temp []T, r T) {
	kernel.Mul(x, temp, dy, v)
	kernel.Axpy(x, dgain, r, temp)
	m := kernel.Dot(x, temp, gain) * r * r / T(len(v))
	kernel.Mul(x, dy, dy, gain)
	kernel.Affine(x, dy, dy, r, 0)
	kernel.Axpy(x, dy, -r*m, v)
}

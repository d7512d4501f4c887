package kernel

import "math"

// HeadsRow turns neighbouring heads of one position, from and to bfloat16, on the calling goroutine: bias, RMSNorm
// over the channels of each head, rotation of channels j and j+Size/2, scale.
//
// Formula: y = Scale·rotate(Gain·v·r) with v = src+Bias and r = 1/√(mean(v²)+Eps).
type HeadsRow struct {
	Size     int       // channels of a head, even
	Bias     []float32 // (heads·Size), or nil
	Gain     []float32 // (Size), or nil without the norm
	Cos, Sin []float32 // (Size/2), or nil without rotation
	Scale    float32
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

// args fills in what both directions need; src and rstd count only where there is a norm, or no gradient.
func (h *HeadsRow) args(dst, src []uint16, rstd []float32) headsArgs {
	n, half := len(dst), h.Size/2
	a := headsArgs{dst: &dst[0], bias: first(h.Bias, n), gain: first(h.Gain, h.Size), cos: first(h.Cos, half), sin: first(h.Sin, half),
		heads: n / h.Size, half: half, eps: h.Eps, scale: h.Scale}
	if (a.cos == nil) != (a.sin == nil) || n%h.Size != 0 {
		panic("kernel: heads: wrong shape")
	}
	if src != nil {
		a.src = &src[:n][0]
	}
	if h.Gain != nil {
		a.rstd = &rstd[:a.heads][0]
	}
	return a
}

// headBlock is the number of channels that assembly takes at a time: one vector of each half of a head.
const headBlock = 32

// Forward overwrites dst (heads·Size) and, where there is a norm, rstd (heads) by each head's r. temp is scratch memory
// of dst's length.
//
// Numerics: squares are added in float64; bits depend on the values, Size and the tier only.
func (h *HeadsRow) Forward(x *Exec, dst, src []uint16, rstd, temp []float32) {
	if f := x.bf16.fused.heads; f != nil && h.Size%headBlock == 0 {
		a := h.args(dst, src, rstd)
		f(a)
		return
	}
	temp = h.load(x, src[:len(dst)], temp)
	for i, at := 0, 0; at < len(temp); i, at = i+1, at+h.Size {
		v := temp[at : at+h.Size]
		if h.Gain != nil {
			rstd[i] = float32(1 / math.Sqrt(SumSquares(x, v)/float64(h.Size)+h.Eps))
			Affine(x, v, v, rstd[i], 0)
			Mul(x, v, v, h.Gain)
		}
		if h.Cos != nil {
			Rotate(x, v[:h.Size/2], v[h.Size/2:], v[:h.Size/2], v[h.Size/2:], h.Cos, h.Sin)
		}
	}
	Affine(x, temp, temp, h.Scale, 0)
	ToBF16(x, dst, temp)
}

// load returns src+Bias in temp.
func (h *HeadsRow) load(x *Exec, src []uint16, temp []float32) []float32 {
	temp = temp[:len(src)]
	FromBF16(x, temp, src)
	if h.Bias != nil {
		Axpy(x, temp, 1, h.Bias[:len(src)])
	}
	return temp
}

// Backward overwrites dst (heads·Size) by the gradient of Forward's src, given dy (heads·group·Size), that of its
// output before Scale: group gradients of each head, which are added in order. With a norm it reads src and rstd as
// Forward did and adds to dgain (Size). It adds the result, before rounding, to sum (heads·Size) unless that is nil.
// temp is scratch memory of three times dst's length and dy's.
//
// Formula: with g the gradient rotated back, dv = r·(Gain·g − v·r²·mean(Gain·g·v)), dgain += r·g·v.
// Numerics: float32; bits depend on the values, Size and the tier only.
func (h *HeadsRow) Backward(x *Exec, dst, dy []uint16, group int, src []uint16, rstd, dgain, sum, temp []float32) {
	n := len(dst)
	dy = dy[:n*group]
	if f := x.bf16.fused.headsBack; f != nil && h.Size%headBlock == 0 {
		if h.Gain == nil {
			src = nil
		}
		a := h.args(dst, src, rstd)
		a.dy, a.group, a.sum, a.temp = &dy[0], group, first(sum, n), &temp[:h.Size][0]
		if h.Gain != nil {
			a.dgain = &dgain[:h.Size][0]
		}
		f(a)
		return
	}
	d, v, t, parts := temp[:n], temp[n:2*n], temp[2*n:3*n], temp[3*n:][:n*group]
	FromBF16(x, parts, dy)
	if h.Gain != nil {
		h.load(x, src[:n], v)
	}
	for i, at := 0, 0; at < n; i, at = i+1, at+h.Size {
		g, part := d[at:at+h.Size], parts[at*group:]
		copy(g, part)
		for j := 1; j < group; j++ {
			Axpy(x, g, 1, part[j*h.Size:(j+1)*h.Size])
		}
		if h.Cos != nil { // the pair the other way round turns the other way
			a, b := g[:h.Size/2], g[h.Size/2:]
			Rotate(x, b, a, b, a, h.Cos, h.Sin)
		}
		if h.Gain != nil {
			normHeadBack(x, g, dgain, v[at:at+h.Size], h.Gain, t[:h.Size], rstd[i])
		}
	}
	if sum != nil {
		Axpy(x, sum[:n], 1, d)
	}
	ToBF16(x, dst, d)
}

// normHeadBack turns dy into the gradient of v, which was normed, and adds to dgain. temp is as long.
func normHeadBack(x *Exec, dy, dgain, v, gain, temp []float32, r float32) {
	Mul(x, temp, dy, v)
	Axpy(x, dgain, r, temp)
	m := Dot(x, temp, gain) * r * r / float32(len(v))
	Mul(x, dy, dy, gain)
	Affine(x, dy, dy, r, 0)
	Axpy(x, dy, -r*m, v)
}

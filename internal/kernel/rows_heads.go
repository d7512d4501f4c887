package kernel

// HeadsRow turns neighbouring heads of one position: bias, RMSNorm over the channels of each head, rotation of channels
// j and j+Size/2, scale.
//
// Formula: y = Scale·rotate(Gain·v·r) with v = src+Bias and r = 1/√(mean(v²)+Eps).
type HeadsRow[T Float] struct {
	Size     int // channels of a head, even
	Bias     []T // (heads·Size), or nil
	Gain     []T // (Size), or nil without the norm
	Cos, Sin []T // (Size/2), or nil without rotation
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

// args fills in what both directions need; src and rstd count only where there is a norm, or no gradient.
func (h *HeadsRow[T]) args(dst, src []uint16, rstd []T) headsArgs {
	n, half := len(dst), h.Size/2
	a := headsArgs{dst: &dst[0], bias: first(h.Bias, n), gain: first(h.Gain, h.Size),
		cos: first(h.Cos, half), sin: first(h.Sin, half),
		heads: n / h.Size, half: half, eps: h.Eps, scale: float32(h.Scale)}
	if (a.cos == nil) != (a.sin == nil) || n%h.Size != 0 {
		panic("kernel: heads: wrong shape")
	}
	if src != nil {
		a.src = &src[:n][0]
	}
	if h.Gain != nil {
		a.rstd = first(rstd, a.heads)
	}
	return a
}

// headBlock is the number of channels that assembly takes at a time: one vector of each half of a head.
const headBlock = 32

// Forward overwrites dst (heads·Size) and, where there is a norm, rstd (heads) by each head's r. temp has dst's length.
//
// Numerics: squares are added in float64; bits depend on the values, Size and the tier only.
func (h *HeadsRow[T]) Forward(x *Exec, dst, src Row[T], rstd, temp []T) {
	if f, n := x.bf16.fused.heads, len(dst.H); f != nil && n > 0 && len(src.H) == n && h.Size%headBlock == 0 {
		f(h.args(dst.H, src.H, rstd))
		return
	}
	temp = src.Load(x, temp)
	if h.Bias != nil {
		Axpy(x, temp, 1, h.Bias[:len(temp)])
	}
	for i, at := 0, 0; at < len(temp); i, at = i+1, at+h.Size {
		v := temp[at : at+h.Size]
		if h.Gain != nil {
			rstd[i] = RMSNormRow(x, Row[T]{F: v}, v, h.Gain, h.Eps, nil)
		}
		if h.Cos != nil {
			Rotate(x, v[:h.Size/2], v[h.Size/2:], v[:h.Size/2], v[h.Size/2:], h.Cos, h.Sin)
		}
	}
	Affine(x, temp, temp, h.Scale, 0)
	dst.Write(x, temp)
}

// Backward overwrites dst (heads·Size) by the gradient of Forward's src, given dy (heads·group·Size), that of its
// output before Scale: group gradients of each head, which are added in order. With a norm it reads src and rstd as
// Forward did and adds to dgain (Size). It adds the result, before rounding, to sum (heads·Size) unless that is nil.
// temp has three times dst's length and dy's.
//
// Formula: with g the gradient rotated back, dv = r·(Gain·g − v·r²·mean(Gain·g·v)), dgain += r·g·v.
// Numerics: T; bits depend on the values, Size and the tier only.
func (h *HeadsRow[T]) Backward(x *Exec, dst, dy Row[T], group int, src Row[T], rstd, dgain, sum, temp []T) {
	if f, n := x.bf16.fused.headsBack, len(dst.H); f != nil && n > 0 && len(dy.H) == n*group && h.Size%headBlock == 0 {
		if h.Gain == nil {
			src.H = nil
		}
		a := h.args(dst.H, src.H, rstd)
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
	d, v, t := temp[:n], temp[n:2*n], temp[2*n:3*n]
	if h.Gain != nil {
		v = src.biased(x, h.Bias, v)
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
			HeadNormBackRow(x, g, dgain, v[at:at+h.Size], h.Gain, t[:h.Size], rstd[i])
		}
	}
	addTo(x, sum, d)
	dst.Write(x, d)
}

// HeadNormBackRow turns dy, one head of one position, into the gradient of v, which RMSNormRow normed and returned r,
// and adds to dgain. temp is as long.
func HeadNormBackRow[T Float](x *Exec, dy, dgain, v, gain, temp []T, r T) {
	Mul(x, temp, dy, v)
	Axpy(x, dgain, r, temp)
	m := Dot(x, temp, gain) * r * r / T(len(v))
	Mul(x, dy, dy, gain)
	Affine(x, dy, dy, r, 0)
	Axpy(x, dy, -r*m, v)
}

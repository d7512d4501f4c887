package optim

import (
	"math"

	"gimbal/internal/kernel"
)

// Constants of Muon.
const (
	muonRMS     = 0.2  // of an update, in rates: about that of AdamW, so that one rate fits both
	muonLeast   = 1e-7 // norm of a moment from which there is a direction
	muonRounds  = 5    // of the Newton–Schulz iteration
	muonA       = 3.4445
	muonB       = -4.7750
	muonC       = 2.0315
	muonLoadMin = 1 << 14 // elements that are worth a worker
)

// muon is what Muon needs beside the moments: memory for the largest matrix.
//
// For a matrix W (r, c) with the gradient g, after scaling:
//
//	m = β·m + (1-β)·g
//	d = orthogonalize((1-β)·g + β·m)     the direction, all singular values near 1
//	W -= lr·(0.2·√max(r,c)·d + λ·W)
//
// The look ahead in the second line is Nesterov's. The direction has an RMS of about 1/√max(r,c), so that of an update
// is about 0.2·lr. Orthogonalize divides by the Frobenius norm and makes five rounds of X = a·X + (b·XXᵀ + c·(XXᵀ)²)·X.
//
// Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon, which has the coefficients; the factor 0.2·√max(r,c)
// and the weight decay of Liu et al. 2025, arXiv:2502.16982; the form of torch.optim.Muon.
// Numerics: arithmetic in T. Multiplies and sums have a fixed order: any number of workers gives the same bits.
type muon[T kernel.Float] struct {
	valid bool    // V holds the directions for scale, the gradients and the moments as they are
	scale float64 // factor on the gradients

	x          []T       // the largest matrix
	gram, poly []T       // square, of its shorter side
	sums       []float64 // of squares, by block

	load struct { // of the loop in progress
		dst, m, g []T
		keep, add T // dst = keep·m + add·g
	}
}

// newMuon allocates the memory for these segments.
func newMuon[T kernel.Float](segments []Segment) *muon[T] {
	most, side := largest(segments)
	return &muon[T]{x: make([]T, most), gram: make([]T, side*side), poly: make([]T, side*side),
		sums: make([]float64, (most+block-1)/block)}
}

// largest returns the elements of the largest matrix, and the longest of the matrices' shorter sides.
func largest(segments []Segment) (most, side int) {
	for _, s := range segments {
		most, side = max(most, s.Rows*s.Cols), max(side, min(s.Rows, s.Cols))
	}
	return most, side
}

// Bytes is the memory of an optimizer of n parameters in float32.
func Bytes(n int, segments []Segment, o Options) int64 {
	numbers := 2 * int64(n)
	if most, side := largest(segments); o.Muon {
		numbers += int64(most) + 2*int64(side)*int64(side)
	}
	return 4 * numbers
}

// Changed says that gradients or slots have changed since the last question about an update. Update and ScaleSegments
// say it themselves.
func (a *Optimizer[T]) Changed() {
	if a.muon != nil {
		a.muon.valid = false
	}
}

// direct leaves the direction of each of Muon's matrices in V, unless it is there.
func (a *Optimizer[T]) direct(grads []T, scale float64) {
	u := a.muon
	if u == nil || u.valid && u.scale == scale {
		return
	}
	for _, s := range a.segments {
		for lo := s.Lo; a.byMuon(s) && lo < s.Hi; lo += s.Rows * s.Cols {
			hi := lo + s.Rows*s.Cols
			norm := u.ahead(a, a.M[lo:hi], grads[lo:hi], scale)
			u.orthogonalize(a.x, a.V[lo:hi], s.Rows, s.Cols, norm)
		}
	}
	u.valid, u.scale = true, scale
}

// ahead sets the first elements of x to the moment that follows, with Nesterov's look ahead, and returns their norm.
func (u *muon[T]) ahead(a *Optimizer[T], m, g []T, scale float64) (norm float64) {
	beta, n := a.options.Momentum, len(m)
	l := &u.load
	l.dst, l.m, l.g = u.x[:n], m, g
	l.keep, l.add = T(beta*beta), T((1-beta)*(1+beta)*scale)
	a.x.Pool().Do((n+block-1)/block, muonLoadMin/block, (*loadLoop[T])(u))
	l.dst, l.m, l.g = nil, nil, nil
	sum := 0.0
	for _, s := range u.sums[:(n+block-1)/block] {
		sum += s
	}
	return math.Sqrt(sum)
}

// loadLoop is the loop of ahead.
type loadLoop[T kernel.Float] muon[T]

// Part fills the blocks [lo,hi) and sums their squares.
func (u *loadLoop[T]) Part(_, lo, hi int) {
	l := &u.load
	for b := lo; b < hi; b++ {
		from, to, sum := b*block, min((b+1)*block, len(l.dst)), 0.0
		for i, m := range l.m[from:to] {
			v := l.keep*m + l.add*l.g[from+i]
			l.dst[from+i] = v
			sum += float64(v) * float64(v)
		}
		u.sums[b] = sum
	}
}

// orthogonalize sets dst to the matrix in x with all its singular values near 1: between 0.68 and 1.13, or less where
// they were below a thousandth of the norm.
//
// Shapes: dst (rows, cols); x holds (rows, cols) with the Frobenius norm that is given, and is overwritten.
func (u *muon[T]) orthogonalize(x *kernel.Exec, dst []T, rows, cols int, norm float64) {
	n, long := min(rows, cols), max(rows, cols)
	gram, poly := u.gram[:n*n], u.poly[:n*n]
	scale := T(1 / max(norm, muonLeast)) // of the first round; the later ones begin with what is scaled
	for from, to, round := u.x[:rows*cols], dst, 0; round < muonRounds; round++ {
		wide := rows <= cols
		kernel.GemmAll(x, !wide, wide, n, n, long, scale*scale, from, cols, from, cols, 0, gram, n)
		kernel.Affine(x, poly, gram, muonB, 0)
		for i := range n {
			poly[i*n+i] += muonA
		}
		kernel.GemmAll(x, false, false, n, n, n, muonC, gram, n, gram, n, 1, poly, n)
		if wide {
			kernel.GemmAll(x, false, false, rows, cols, n, scale, poly, n, from, cols, 0, to, cols)
		} else {
			kernel.GemmAll(x, false, false, rows, cols, n, scale, from, cols, poly, n, 0, to, cols)
		}
		from, to, scale = to, from, 1 // an odd number of rounds ends in dst
	}
}

// muonRemember renews part of a moment by the gradient of the step in progress.
func (a *Optimizer[T]) muonRemember(m, g []T) {
	beta := a.options.Momentum
	kernel.Affine(a.x, m, m, T(beta), 0)
	kernel.Axpy(a.x, m, T((1-beta)*a.step.Scale), g)
}

// muonMove moves part of a matrix in its direction d by the step in progress.
func (a *Optimizer[T]) muonMove(p, d []T, s Segment) {
	step := a.stepOf(s)
	kernel.Affine(a.x, p, p, T(1-step.LR*step.Decay), 0)
	kernel.Axpy(a.x, p, T(-step.LR*muonRMS*math.Sqrt(float64(max(s.Rows, s.Cols)))), d)
}

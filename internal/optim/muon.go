package optim

import (
	"math"
	"slices"

	"gimbal/internal/kernel"
)

// Constants of Muon, for whoever computes it elsewhere.
const (
	MuonRMS    = 0.2  // of an update, in rates: about that of AdamW, so that one rate fits both
	MuonLeast  = 1e-7 // norm of a moment from which there is a direction
	MuonRounds = 5    // of the Newton–Schulz iteration
	MuonA      = 3.4445
	MuonB      = -4.7750
	MuonC      = 2.0315
)

// muon is what Muon needs beside the moments.
//
// For a matrix W (r, c) with the gradient g, after scaling:
//
//	m = β·m + (1-β)·g
//	d = orthogonalize((1-β)·g + β·m)     the direction, all singular values near 1
//	W -= lr·(0.2·√max(r,c)·d + λ·W)
//
// The look ahead in the second line is Nesterov's. The direction has an RMS of about 1/√max(r,c), so that of an update
// is about 0.2·lr.
//
// Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon, which has the coefficients; the factor 0.2·√max(r,c)
// and the weight decay of Liu et al. 2025, arXiv:2502.16982; the form of torch.optim.Muon.
// Numerics: arithmetic in T. A matrix is computed by one worker, so any number of workers gives the same bits.
type muon[T kernel.Float] struct {
	valid bool    // V holds the directions for scale, the gradients and the moments as they are
	scale float64 // factor on the gradients

	shares [][]matrix // by worker, of about equal work
	room   []room[T]  // by worker
}

// matrix is the place of one matrix in the flat parameters.
type matrix struct{ lo, rows, cols int }

func (m matrix) len() int  { return m.rows * m.cols }
func (m matrix) side() int { return min(m.rows, m.cols) }

// work is the multiplications of a round of orthogonalize.
func (m matrix) work() int { return m.side() * (3*m.len() + m.side()*m.side()) / 2 }

// room is memory for the largest matrix of a share.
type room[T kernel.Float] struct {
	x          []T // the matrix
	gram, poly []T // square, of its shorter side
}

// newMuon deals the matrices of segments out to the workers, the largest first, each to the one with the least work.
func newMuon[T kernel.Float](segments []Segment, workers int) *muon[T] {
	shares, sizes := deal(segments, workers)
	u := &muon[T]{shares: shares, room: make([]room[T], workers)}
	for w, s := range sizes {
		u.room[w] = room[T]{make([]T, s.most), make([]T, s.side*s.side), make([]T, s.side*s.side)}
	}
	return u
}

// size is the room that a share needs: elements of its largest matrix, and its longest shorter side.
type size struct{ most, side int }

// deal returns the matrices of each worker and the room for them.
func deal(segments []Segment, workers int) (shares [][]matrix, sizes []size) {
	var all []matrix
	for _, s := range segments {
		for lo := s.Lo; s.Rows > 0 && lo < s.Hi; lo += s.Rows * s.Cols {
			all = append(all, matrix{lo, s.Rows, s.Cols})
		}
	}
	slices.SortStableFunc(all, func(a, b matrix) int { return b.work() - a.work() })
	shares, sizes = make([][]matrix, workers), make([]size, workers)
	load := make([]int, workers)
	for _, m := range all {
		least := slices.Index(load, slices.Min(load))
		load[least] += m.work()
		shares[least] = append(shares[least], m)
		s := &sizes[least]
		s.most, s.side = max(s.most, m.len()), max(s.side, m.side())
	}
	return shares, sizes
}

// MuonWork is the operations of an update by Muon, but for what AdamW does, too.
func MuonWork(segments []Segment) float64 {
	shares, _ := deal(segments, 1)
	sum := 0.0
	for _, m := range shares[0] {
		sum += 2 * MuonRounds * float64(m.work())
	}
	return sum
}

// Bytes is the memory of an optimizer of n parameters in float32.
func Bytes(n int64, segments []Segment, o Options, workers int) int64 {
	numbers := 2 * n
	if o.Muon {
		_, sizes := deal(segments, workers)
		for _, s := range sizes {
			numbers += int64(s.most) + 2*int64(s.side)*int64(s.side)
		}
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
	if u := a.muon; u != nil && !(u.valid && u.scale == scale) {
		u.valid, u.scale = true, scale
		a.run((*directLoop[T])(a), len(u.shares), 1, nil, grads)
	}
}

// directLoop is the loop of direct.
type directLoop[T kernel.Float] Optimizer[T]

// Part computes the directions of the shares [lo,hi).
func (l *directLoop[T]) Part(worker, lo, hi int) {
	for share := lo; share < hi; share++ {
		for _, m := range l.muon.shares[share] {
			r, end := &l.muon.room[share], m.lo+m.len()
			r.ahead(l, m.lo, end)
			r.orthogonalize(l.x, worker, l.V[m.lo:end], m.rows, m.cols)
		}
	}
}

// ahead sets x to the moment of elements [lo,hi) that follows, with Nesterov's look ahead.
func (r *room[T]) ahead(l *directLoop[T], lo, hi int) {
	beta, x := l.options.Momentum, r.x[:hi-lo]
	kernel.Affine(l.x, x, l.M[lo:hi], T(beta*beta), 0)
	kernel.Axpy(l.x, x, T((1-beta)*(1+beta)*l.muon.scale), l.grads[lo:hi])
}

// orthogonalize sets dst to the matrix in x with its singular values near 1: between 0.68 and 1.13, or less where they
// were below a thousandth of the norm. It divides by the norm and makes five rounds of X = a·X + (b·XXᵀ + c·(XXᵀ)²)·X,
// the iteration of Newton and Schulz.
//
// Shapes: dst (rows, cols); x holds (rows, cols) and is overwritten.
func (r *room[T]) orthogonalize(x *kernel.Exec, worker int, dst []T, rows, cols int) {
	n, long, wide := min(rows, cols), max(rows, cols), rows <= cols
	from, to, gram, poly := r.x[:rows*cols], dst, r.gram[:n*n], r.poly[:n*n]
	scale := T(1 / max(math.Sqrt(kernel.SumSquares(x, from)), MuonLeast)) // the later rounds begin with what is scaled
	for range MuonRounds {
		kernel.Syrk(x, worker, !wide, n, long, scale*scale, from, cols, 0, gram, n)
		kernel.Affine(x, poly, gram, MuonB, 0)
		for i := range n {
			poly[i*n+i] += MuonA
		}
		kernel.Syrk(x, worker, false, n, n, MuonC, gram, n, 1, poly, n)
		if wide {
			kernel.Gemm(x, worker, false, false, rows, cols, n, scale, poly, n, from, cols, 0, to, cols)
		} else {
			kernel.Gemm(x, worker, false, false, rows, cols, n, scale, from, cols, poly, n, 0, to, cols)
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
	kernel.Axpy(a.x, p, T(-step.LR*MuonRMS*math.Sqrt(float64(max(s.Rows, s.Cols)))), d)
}

package optim

import (
	"errors"
	"math"
	"sort"

	"gimbal/internal/kernel"
)

// Segment is a range [Lo,Hi) of the flat parameters, and whether weight decay acts on it.
type Segment struct {
	Lo, Hi int
	Decay  bool
}

// Options are the constants of AdamW.
type Options struct {
	Beta1, Beta2 float64 // decay of the moments, in [0,1)
	Eps          float64 // added to the root of the second moment, > 0
	WeightDecay  float64 // decoupled: multiplies the rate
}

// AdamW is the optimizer of one flat slice of parameters. M and V are all its state: save them, and put them back
// before the next Update. Not safe for concurrent use.
type AdamW[T kernel.Float] struct {
	M, V []T // first and second moment, laid out as the parameters

	options  Options
	segments []Segment
	x        *kernel.Exec
	update   update[T]
	squares  squares[T]
	observer observer[T]
	glance   observer[T]
	glanced  []TensorUpdate
}

// block is the number of elements that are worked on and summed as one. It is part of the order of GlobalNorm's sum.
const block = 4096

// NewAdamW returns an optimizer of n parameters with zero moments.
//
// segments are in ascending order and do not overlap; what no segment covers (the gaps of alignment) is never
// touched. All memory is allocated here. Panics if a segment or an option is out of range.
func NewAdamW[T kernel.Float](x *kernel.Exec, n int, segments []Segment, o Options) *AdamW[T] {
	end := 0
	for _, s := range segments {
		if s.Lo < end || s.Hi < s.Lo || s.Hi > n {
			panic("optim: segments out of order")
		}
		end = s.Hi
	}
	if !(o.Beta1 >= 0 && o.Beta1 < 1 && o.Beta2 >= 0 && o.Beta2 < 1 && o.Eps > 0 && o.WeightDecay >= 0) {
		panic("optim: option out of range")
	}
	a := &AdamW[T]{
		M: make([]T, n), V: make([]T, n),
		options: o, segments: append([]Segment(nil), segments...), x: x,
	}
	a.squares.x = x
	a.squares.sums = make([]float64, (n+block-1)/block)
	a.update.a = a
	a.observer, a.glance = newObserver(a, true), newObserver(a, false)
	a.glanced = make([]TensorUpdate, len(segments))
	return a
}

// Update makes update number step, counted from 1, at the rate lr, with every gradient multiplied by scale.
//
// Shapes: params, grads (n).
// Formula: g = scale·grad; m = β1·m + (1-β1)g; v = β2·v + (1-β2)g²;
// p -= lr·λ·p + lr/(1-β1^step) · m / (√v/√(1-β2^step) + ε), with λ zero where a segment does not decay.
// Source: Loshchilov and Hutter 2019, arXiv:1711.05101, in the form of torch.optim.AdamW.
// Memory: overwrites params, M and V; only reads grads.
// Numerics: arithmetic in T, constants from float64; each element by itself, so the same bits for any number of
// workers. A gradient that is not finite spoils its element for good: check GlobalNorm first.
func (a *AdamW[T]) Update(params, grads []T, step int64, lr, scale float64) {
	if len(params) != len(a.M) || len(grads) != len(a.M) || len(a.V) != len(a.M) {
		panic("optim: slice of the wrong length")
	}
	u := &a.update
	u.params, u.grads, u.step = params, grads, a.stepAt(step, lr, scale)
	a.x.Pool().Do(len(params), block, u)
	u.params, u.grads = nil, nil
}

// stepAt is what is the same for all elements in update number step.
func (a *AdamW[T]) stepAt(step int64, lr, scale float64) kernel.AdamWStep {
	if step < 1 {
		panic("optim: step before the first")
	}
	o := a.options
	return kernel.AdamWStep{
		LR: lr, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, Decay: o.WeightDecay, Scale: scale,
		Correction1: 1 - math.Pow(o.Beta1, float64(step)),
		Correction2: 1 - math.Pow(o.Beta2, float64(step)),
	}
}

// update is the loop of Update.
type update[T kernel.Float] struct {
	a             *AdamW[T]
	params, grads []T
	step          kernel.AdamWStep
}

// Part updates what the segments cover of [lo,hi).
func (u *update[T]) Part(_, lo, hi int) {
	a, segments := u.a, u.a.segments
	first := sort.Search(len(segments), func(i int) bool { return segments[i].Hi > lo })
	for _, s := range segments[first:] {
		if s.Lo >= hi {
			return
		}
		from, to := max(lo, s.Lo), min(hi, s.Hi)
		step := u.step
		if !s.Decay {
			step.Decay = 0
		}
		kernel.AdamW(a.x, u.params[from:to], u.grads[from:to], a.M[from:to], a.V[from:to], step)
	}
}

// GlobalNorm returns the Euclidean norm of grads.
//
// Shapes: grads (n).
// Numerics: squares and sums in float64, so a large finite float32 gradient does not look infinite; blocks of fixed
// size whose sums are added in their order: the same bits for any number of workers. NaN and Inf are returned as
// they come: whoever asked refuses the step.
func (a *AdamW[T]) GlobalNorm(grads []T) float64 {
	if len(grads) != len(a.M) {
		panic("optim: slice of the wrong length")
	}
	s := &a.squares
	s.grads = grads
	a.x.Pool().Do(len(s.sums), 1, s)
	s.grads = nil
	sum := 0.0
	for _, x := range s.sums {
		sum += x
	}
	return math.Sqrt(sum)
}

// squares is the loop of GlobalNorm.
type squares[T kernel.Float] struct {
	x     *kernel.Exec
	grads []T
	sums  []float64
}

// Part sums the squares of the blocks [lo,hi).
func (s *squares[T]) Part(_, lo, hi int) {
	for b := lo; b < hi; b++ {
		s.sums[b] = kernel.SumSquares(s.x, s.grads[b*block:min((b+1)*block, len(s.grads))])
	}
}

// ErrNonFinite is returned by ClipScale for a norm that is NaN or infinite.
var ErrNonFinite = errors.New("optim: gradient norm is not finite")

// ClipScale returns min(1, clip/norm), the factor that brings a gradient of this norm down to clip. There is no
// factor that mends a norm that is not finite (0·NaN is NaN): that is ErrNonFinite, and the step must not be made.
func ClipScale(norm, clip float64) (float64, error) {
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return 0, ErrNonFinite
	}
	if norm <= clip {
		return 1, nil
	}
	return clip / norm, nil
}

package optim

import (
	"errors"
	"math"
	"slices"
	"sort"

	"gimbal/internal/kernel"
	"gimbal/internal/par"
)

// Segment is a range [Lo,Hi) of the flat parameters.
type Segment struct {
	Lo, Hi int
	Decay  bool // whether weight decay acts on it

	// The shape of a matrix that Muon may update, row by row; the segment holds one such matrix or several. Zero for
	// what AdamW updates in any case: embeddings, heads, gains and biases.
	Rows, Cols int
}

// Options are the constants of the updates.
type Options struct {
	Beta1, Beta2 float64 // AdamW: decay of the moments, in [0,1)
	Eps          float64 // AdamW: added to the root of the second moment, > 0
	WeightDecay  float64 // decoupled: multiplies the rate
	Muon         bool    // update matrices by Muon
	Momentum     float64 // Muon: decay of the moment, in [0,1)
}

// Optimizer updates one flat slice of parameters: with Options.Muon its matrices by Muon, all else by AdamW. The slots
// that States names are all its state: save them, and put them back before the next Update. Not safe for concurrent
// use.
type Optimizer[T kernel.Float] struct {
	// M is the first moment, laid out as the parameters. V is the second; where Muon updates it holds the direction of
	// the update that was asked about last, which is no state.
	M, V []T

	options  Options
	segments []Segment
	x        *kernel.Exec
	muon     *muon[T]      // nil: AdamW updates everything
	sums     []float64     // of squares, by block
	all      observer[T]   // of all elements
	sample   observer[T]   // of the first block of each matrix
	sampled  []TensorState // of the last UpdateRatio

	params, grads []T // of the loop in progress
	step          kernel.AdamWStep
}

// block is the number of elements that are updated and summed as one. It is part of the order of GlobalNorm's sum.
const block = 4096

// New returns an optimizer of n parameters with zero moments.
//
// segments are in ascending order and do not overlap. What no segment covers (the gaps of alignment) is never touched.
// All memory is allocated here. Panics if a segment or an option is out of range.
func New[T kernel.Float](x *kernel.Exec, n int, segments []Segment, o Options) *Optimizer[T] {
	end := 0
	for _, s := range segments {
		if s.Lo < end || s.Hi < s.Lo || s.Hi > n {
			panic("optim: segments out of order")
		}
		if m := s.Rows * s.Cols; m < 0 || m == 0 && s.Rows+s.Cols != 0 || m > 0 && (s.Hi-s.Lo)%m != 0 {
			panic("optim: a segment that its matrices do not fill")
		}
		end = s.Hi
	}
	if !(o.Beta1 >= 0 && o.Beta1 < 1 && o.Beta2 >= 0 && o.Beta2 < 1 && o.Eps > 0 && o.WeightDecay >= 0 &&
		o.Momentum >= 0 && o.Momentum < 1) {
		panic("optim: option out of range")
	}
	a := &Optimizer[T]{M: make([]T, n), V: make([]T, n), options: o, segments: slices.Clone(segments), x: x,
		sums: make([]float64, (n+block-1)/block), sampled: make([]TensorState, len(segments))}
	if o.Muon {
		a.muon = newMuon[T](segments, x.Workers())
	}
	a.all, a.sample = newObserver(a, true), newObserver(a, false)
	return a
}

// byMuon reports whether Muon updates a segment.
func (a *Optimizer[T]) byMuon(s Segment) bool { return a.muon != nil && s.Rows > 0 }

// A State is one slot of a segment: numbers that an update depends on, laid out as the segment.
type State[T kernel.Float] struct {
	Name string // as PyTorch names it: exp_avg and exp_avg_sq of AdamW, momentum_buffer of Muon
	Data []T
}

// States returns the slots of a segment. It shares their memory; call Changed after writing to it.
func (a *Optimizer[T]) States(segment int) []State[T] {
	s := a.segments[segment]
	if a.byMuon(s) {
		return []State[T]{{"momentum_buffer", a.M[s.Lo:s.Hi]}}
	}
	return []State[T]{{"exp_avg", a.M[s.Lo:s.Hi]}, {"exp_avg_sq", a.V[s.Lo:s.Hi]}}
}

// check panics unless flat slices have the length of the parameters, and lists by segment that of the segments.
func (a *Optimizer[T]) check(segments int, flat ...[]T) {
	for _, s := range flat {
		if len(s) != len(a.M) {
			panic("optim: slice of the wrong length")
		}
	}
	if segments != len(a.segments) {
		panic("optim: list of the wrong number of segments")
	}
}

// run runs a loop of n parts on params and grads.
func (a *Optimizer[T]) run(loop par.Job, n, grain int, params, grads []T) {
	a.params, a.grads = params, grads
	a.x.Pool().Do(n, grain, loop)
	a.params, a.grads = nil, nil
}

// Update makes update number step, counted from 1, at the rate lr, with every gradient multiplied by scale.
//
// Shapes: params, grads (n).
// Formula: g = scale·grad; m = β1·m + (1-β1)g; v = β2·v + (1-β2)g²;
// p -= lr·λ·p + lr/(1-β1^step) · m / (√v/√(1-β2^step) + ε), with λ zero where a segment does not decay. For Muon see
// muon.
// Source: Loshchilov and Hutter 2019, arXiv:1711.05101, in the form of torch.optim.AdamW.
// Memory: overwrites params, M and V; only reads grads.
// Numerics: arithmetic in T, constants from float64. Any number of workers gives the same bits. A gradient that is not
// finite destroys its element for good, with Muon its whole matrix: check GlobalNorm first.
func (a *Optimizer[T]) Update(params, grads []T, step int64, lr, scale float64) {
	a.check(len(a.segments), params, grads, a.V)
	a.direct(grads, scale)
	a.step = a.stepAt(step, lr, scale)
	a.run((*updateLoop[T])(a), len(params), block, params, grads)
	a.Changed()
}

// stepAt is what is the same for all elements in update number step.
func (a *Optimizer[T]) stepAt(step int64, lr, scale float64) kernel.AdamWStep {
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

// stepOf is the step for the elements of a segment.
func (a *Optimizer[T]) stepOf(s Segment) kernel.AdamWStep {
	step := a.step
	if !s.Decay {
		step.Decay = 0
	}
	return step
}

// updateLoop is the loop of Update.
type updateLoop[T kernel.Float] Optimizer[T]

// Part updates what the segments cover of [lo,hi).
func (l *updateLoop[T]) Part(_, lo, hi int) {
	a := (*Optimizer[T])(l)
	first := sort.Search(len(a.segments), func(i int) bool { return a.segments[i].Hi > lo })
	for _, s := range a.segments[first:] {
		if s.Lo >= hi {
			return
		}
		from, to := max(lo, s.Lo), min(hi, s.Hi)
		p, g, m, v := a.params[from:to], a.grads[from:to], a.M[from:to], a.V[from:to]
		if a.byMuon(s) {
			a.muonRemember(m, g)
			a.muonMove(p, v, s)
			continue
		}
		kernel.AdamW(a.x, p, g, m, v, a.stepOf(s))
	}
}

// GlobalNorm returns the Euclidean norm of grads.
//
// Shapes: grads (n).
// Numerics: squares and sums in float64, so a large finite float32 gradient does not look infinite. Blocks have a
// fixed size and their sums are added in order, so any number of workers gives the same bits. NaN and Inf are
// returned as they come: the caller refuses the step.
func (a *Optimizer[T]) GlobalNorm(grads []T) float64 {
	a.check(len(a.segments), grads)
	a.run((*squaresLoop[T])(a), len(a.sums), 1, nil, grads)
	sum := 0.0
	for _, x := range a.sums {
		sum += x
	}
	return math.Sqrt(sum)
}

// squaresLoop is the loop of GlobalNorm.
type squaresLoop[T kernel.Float] Optimizer[T]

// Part sums the squares of the blocks [lo,hi).
func (a *squaresLoop[T]) Part(_, lo, hi int) {
	for b := lo; b < hi; b++ {
		a.sums[b] = kernel.SumSquares(a.x, a.grads[b*block:min((b+1)*block, len(a.grads))])
	}
}

// ErrNonFinite is returned by ClipScale for a norm that is NaN or infinite.
var ErrNonFinite = errors.New("optim: gradient norm is not finite")

// ClipScale returns min(1, clip/norm), the factor that brings a gradient of this norm down to clip. It returns
// ErrNonFinite for a norm that is not finite: no factor repairs that (0·NaN is NaN), and the step must not be made.
func ClipScale(norm, clip float64) (float64, error) {
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return 0, ErrNonFinite
	}
	if norm <= clip {
		return 1, nil
	}
	return clip / norm, nil
}

package engine

import (
	"context"
	"math"

	"gimbal/internal/data"
)

// Preference is what is learned from pairs of answers: the preferred one is to become likelier than by a reference, and
// the other one less likely.
//
// Formula: with π and ρ the log-probabilities of an answer by the model and by the reference, the margin of a pair is
// h = β·((π − ρ) of the preferred answer − (π − ρ) of the other), and its loss (1−ε)·softplus(−h) + ε·softplus(h).
// Source: DPO, Rafailov et al. 2023, arXiv:2305.18290, equation 7; ε: conservative DPO, Mitchell 2023.
type Preference struct {
	Beta, Smoothing float64
	Reference       []float64 // nats of each document of the set, by the reference; nil: zeros
}

// Pairs is sums over pairs. Of two numbers, the first is of the preferred answers and the second of the others.
type Pairs struct {
	Count   int64
	Loss    float64    // nats
	Correct float64    // pairs with a margin above 0; one of 0 counts half
	Ratio   [2]float64 // π − ρ, nats
	Tokens  [2]int64   // that count
}

// Mean is a sum divided by the pairs.
func (p Pairs) Mean(sum float64) float64 { return sum / float64(p.Count) }

// Margin is the mean margin.
func (p Pairs) Margin(beta float64) float64 { return beta * p.Mean(p.Ratio[0]-p.Ratio[1]) }

// Add adds other pairs.
func (p *Pairs) Add(o Pairs) {
	p.Count, p.Loss, p.Correct = p.Count+o.Count, p.Loss+o.Loss, p.Correct+o.Correct
	for i := range 2 {
		p.Ratio[i], p.Tokens[i] = p.Ratio[i]+o.Ratio[i], p.Tokens[i]+o.Tokens[i]
	}
}

// SequenceNats appends the nats of each sequence of passes.
func SequenceNats(ctx context.Context, e Engine, dst []float64, passes []data.Micro) ([]float64, error) {
	for _, m := range passes {
		v, err := e.Pass(ctx, MicroInput(m), PerToken)
		if err != nil {
			return nil, err
		}
		for s := range m.Spans {
			sum := 0.0
			for _, n := range v.TokenNats[m.Bounds[s]:m.Bounds[s+1]] {
				sum += n
			}
			dst = append(dst, sum)
		}
	}
	return dst, nil
}

// Score returns what the pairs of a batch come to, given the nats of its sequences. weights (N), unless nil, is
// overwritten by the derivative of the summed loss by the nats of each position.
func (p *Preference) Score(b *data.Batch, nats, weights []float64) (all Pairs) {
	for k := 0; k+1 < len(b.Spans); k += 2 {
		one := Pairs{Count: 1}
		for i, s := range b.Spans[k : k+2] {
			if one.Ratio[i] = -nats[k+i]; p.Reference != nil {
				one.Ratio[i] += p.Reference[s.Index]
			}
			for _, c := range b.Counts[s.Start : s.Start+s.Len] {
				if c {
					one.Tokens[i]++
				}
			}
		}
		h := one.Margin(p.Beta)
		switch {
		case h > 0:
			one.Correct = 1
		case h == 0:
			one.Correct = 0.5
		}
		one.Loss = (1-p.Smoothing)*softplus(-h) + p.Smoothing*softplus(h)
		all.Add(one)
		if weights == nil {
			continue
		}
		slope := p.Smoothing*sigmoid(h) - (1-p.Smoothing)*sigmoid(-h) // of the loss by h
		for i, s := range b.Spans[k : k+2] {
			for at := s.Start; at < s.Start+s.Len; at++ {
				weights[at] = slope * p.Beta * float64(2*i-1)
			}
		}
	}
	return all
}

// softplus is ln(1 + eˣ).
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func sigmoid(x float64) float64 {
	if x < 0 {
		return math.Exp(x) / (1 + math.Exp(x))
	}
	return 1 / (1 + math.Exp(-x))
}

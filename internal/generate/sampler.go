package generate

import (
	"cmp"
	"math"
	"slices"
)

// candidate is a token that may be drawn.
type candidate struct {
	id     int32
	logit  float32
	weight float64
}

// better orders by logit, ties by lower id: a total order, so the k best are one set.
func better(a, b candidate) bool {
	return a.logit > b.logit || a.logit == b.logit && a.id < b.id
}

// sampler draws tokens from logits. It keeps its scratch; not safe for concurrent use.
type sampler struct {
	topK        int
	temperature float64
	kept        []candidate
}

func newSampler(topK int, temperature float64) *sampler {
	return &sampler{topK: topK, temperature: temperature}
}

// draw returns the token that u in [0,1) picks, and false when the logits hold a NaN or +Inf, or
// nothing above -Inf.
//
// Temperature 0 takes the largest logit, ties by lower id. Otherwise the topK largest (all of them for 0) share
// the probability in proportion to exp(logit/temperature), laid out over [0,1) in the order of their ids.
//
// Numerics: exact selection; weights and their sum in float64, in the order of ids.
func (s *sampler) draw(logits []float32, u float64) (token int32, ok bool) {
	best := candidate{id: -1, logit: float32(math.Inf(-1))}
	for i, l := range logits {
		if !(l <= math.MaxFloat32) {
			return 0, false
		}
		if l > best.logit {
			best = candidate{id: int32(i), logit: l}
		}
	}
	if best.id < 0 {
		return 0, false
	}
	if s.temperature == 0 {
		return best.id, true
	}
	s.keep(logits)
	sum := 0.0
	for i := range s.kept {
		c := &s.kept[i]
		c.weight = math.Exp((float64(c.logit) - float64(best.logit)) / s.temperature)
		sum += c.weight
	}
	at := u * sum
	last := best.id // rounding may carry at past the end; a token of weight 0 must not be the one it falls on
	for _, c := range s.kept {
		if c.weight == 0 {
			continue
		}
		if at -= c.weight; at < 0 {
			return c.id, true
		}
		last = c.id
	}
	return last, true
}

// keep fills s.kept with the topK best candidates in the order of their ids.
func (s *sampler) keep(logits []float32) {
	s.kept = s.kept[:0]
	if s.topK == 0 || s.topK >= len(logits) {
		for i, l := range logits {
			s.kept = append(s.kept, candidate{id: int32(i), logit: l})
		}
		return
	}
	// A heap with the worst of the kept on top: almost every token loses against it at once.
	h := s.kept
	for i, l := range logits {
		c := candidate{id: int32(i), logit: l}
		if len(h) < s.topK {
			h = append(h, c)
			for j := len(h) - 1; j > 0 && better(h[(j-1)/2], h[j]); j = (j - 1) / 2 {
				h[j], h[(j-1)/2] = h[(j-1)/2], h[j]
			}
			continue
		}
		if !better(c, h[0]) {
			continue
		}
		h[0] = c
		for j := 0; ; {
			worst := j
			for _, child := range [2]int{2*j + 1, 2*j + 2} {
				if child < len(h) && better(h[worst], h[child]) {
					worst = child
				}
			}
			if worst == j {
				break
			}
			h[j], h[worst] = h[worst], h[j]
			j = worst
		}
	}
	slices.SortFunc(h, func(a, b candidate) int { return cmp.Compare(a.id, b.id) })
	s.kept = h
}

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

// better orders by logit, then by lower id. It is a total order, so the k best are one set.
func better(a, b candidate) bool {
	return a.logit > b.logit || a.logit == b.logit && a.id < b.id
}

// sampler draws tokens from logits. Not safe for concurrent use.
type sampler struct {
	topK        int
	temperature float64
	topP, minP  float64
	kept        []candidate
}

// penalize makes tokens that were seen less probable: a logit above 0 is divided by penalty, another is multiplied.
//
// Source: Keskar et al. 2019, arXiv:1909.05858, in the form of transformers.
func penalize(logits []float32, seen map[int32]bool, penalty float64) {
	for id := range seen {
		if l := &logits[id]; *l > 0 {
			*l = float32(float64(*l) / penalty)
		} else {
			*l = float32(float64(*l) * penalty)
		}
	}
}

// thin gives no weight to the kept candidates that minP and topP leave out: those whose weight is below minP times the
// largest, which is 1, and those behind the most probable ones whose share reaches topP. It returns the sum that is
// left.
//
// Source: Holtzman et al. 2020, arXiv:1904.09751; Nguyen et al. 2024, arXiv:2407.01082.
func (s *sampler) thin(sum float64) float64 {
	if s.topP > 0 && s.topP < 1 {
		slices.SortFunc(s.kept, func(a, b candidate) int {
			return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.id, b.id))
		})
		before := 0.0
		for i := range s.kept {
			c := &s.kept[i]
			if before >= s.topP*sum {
				c.weight = 0
			}
			before += c.weight
		}
		slices.SortFunc(s.kept, func(a, b candidate) int { return cmp.Compare(a.id, b.id) })
	}
	left := 0.0
	for i := range s.kept {
		c := &s.kept[i]
		if c.weight < s.minP {
			c.weight = 0
		}
		left += c.weight
	}
	return left
}

// draw returns the token that u in [0,1) picks. ok is false if a logit is NaN or +Inf, or none is above -Inf.
//
// Temperature 0 takes the largest logit, the lower id of equal ones. Otherwise the topK largest (all for topK 0) share
// the interval [0,1) in proportion to exp(logit/temperature), in the order of their ids, as far as topP and minP leave
// them.
//
// Numerics: the selection is exact; weights and their sum are float64, in the order of ids.
func (s *sampler) draw(logits []float32, u float64) (token int32, ok bool) {
	if !s.keep(logits) {
		return 0, false
	}
	best := candidate{id: -1, logit: float32(math.Inf(-1))}
	for _, c := range s.kept {
		if c.logit > best.logit {
			best = c
		}
	}
	if best.id < 0 {
		return 0, false
	}
	if s.temperature == 0 {
		return best.id, true
	}
	sum := 0.0
	for i := range s.kept {
		c := &s.kept[i]
		c.weight = math.Exp((float64(c.logit) - float64(best.logit)) / s.temperature)
		sum += c.weight
	}
	if s.topP > 0 || s.minP > 0 {
		sum = s.thin(sum)
	}
	at := u * sum
	last := best.id // rounding may carry u past the end, where no token of weight 0 may be drawn
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

// keep fills s.kept with the topK best candidates in the order of their ids, and returns false if a logit is NaN or
// +Inf.
//
// It collects twice as many candidates and then cuts them back to the best. From then on a token must exceed the
// worst of those. That one comparison drops almost every token.
func (s *sampler) keep(logits []float32) bool {
	k := s.topK
	switch {
	case s.temperature == 0:
		k = 1
	case k == 0 || k > len(logits):
		k = len(logits)
	}
	if cap(s.kept) < 2*k {
		s.kept = make([]candidate, 2*k)
	}
	h, n := s.kept[:2*k], 0
	limit := float32(math.Inf(-1)) // logits up to here are dropped: probability 0, or a tie with a lower id
	for i, l := range logits {
		if l <= limit {
			continue
		}
		if !(l <= math.MaxFloat32) {
			return false
		}
		if n == len(h) {
			cut(h, k)
			n, limit = k, h[k-1].logit
			if l <= limit {
				continue
			}
		}
		h[n] = candidate{id: int32(i), logit: l}
		n++
	}
	if n > k {
		cut(h[:n], k)
		n = k
	}
	s.kept = h[:n]
	slices.SortFunc(s.kept, func(a, b candidate) int { return cmp.Compare(a.id, b.id) })
	return true
}

// cut moves the k best candidates to the front, the worst of them last: quickselect (Hoare 1961).
func cut(h []candidate, k int) {
	for lo, hi := 0, len(h)-1; lo < hi; {
		pivot := h[(lo+hi)/2]
		i, j := lo, hi
		for i <= j {
			for better(h[i], pivot) {
				i++
			}
			for better(pivot, h[j]) {
				j--
			}
			if i <= j {
				h[i], h[j] = h[j], h[i]
				i++
				j--
			}
		}
		switch {
		case k-1 <= j:
			hi = j
		case k-1 >= i:
			lo = i
		default:
			return
		}
	}
}

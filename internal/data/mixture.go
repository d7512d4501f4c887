package data

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	"gimbal/internal/corpus"
	"gimbal/internal/rng"
)

// mixture draws from the roots of a corpus by weight.
//
// An epoch has as many sequences as the split. Root g gets so many of them, at least one, that its labels have the
// share of its weight. A permutation keyed by the epoch says which places of the epoch belong to which root. A place
// holds the next sequence of its root's own endless row, in which every pass over the root has a permutation of its
// own. So no sequence comes a second time before all of its root have come once, and the sequence at any place is
// computed from the place alone.
type mixture struct {
	begin  []int64 // first sequence of each root in the split
	seqs   []int64 // sequences of each root
	quota  []int64 // sequences of an epoch that each root gives
	ends   []int64 // sums of quota
	labels []int64 // of each root
}

// newMixture returns nil for a set without weights.
func newMixture(sp *Split) (*mixture, error) {
	weights := sp.set.weights
	if weights == nil {
		return nil, nil
	}
	n := len(weights)
	m := &mixture{begin: make([]int64, n), seqs: make([]int64, n), labels: make([]int64, n)}
	for k, d := range sp.docs {
		g := sp.set.roots[sp.set.index.Source(int(d))]
		lo, hi := sp.labels(k)
		m.seqs[g] += sp.ends[k] - sp.sequencesBefore(k)
		m.labels[g] += hi - lo
	}
	end := int64(0)
	for g, w := range weights {
		if m.labels[g] == 0 {
			what := fmt.Sprintf("data.weights gives %v to path %d, which has no text to train on", w, g+1)
			return nil, &corpus.Error{What: what, Advice: "add text there, or take the path out"}
		}
		m.begin[g] = end // sources are in the order of their roots, so that each root is a run of sequences
		end += m.seqs[g]
	}
	m.share(weights, sp.Sequences())
	return m, nil
}

// share gives each root its part of n sequences: at least one, the rest by the largest remainder.
func (m *mixture) share(weights []float64, n int64) {
	rates := make([]float64, len(weights)) // sequences that a root gives for its weight
	sum := 0.0
	for g, w := range weights {
		rates[g] = w * float64(m.seqs[g]) / float64(m.labels[g])
		sum += rates[g]
	}
	free := n - int64(len(rates))
	left := free
	rest := make([]int, len(rates))
	parts := make([]float64, len(rates))
	m.quota = make([]int64, len(rates))
	for g := range rates {
		want := float64(free) * rates[g] / sum
		m.quota[g] = 1 + int64(want)
		left -= int64(want)
		parts[g], rest[g] = want-float64(int64(want)), g
	}
	slices.SortStableFunc(rest, func(a, b int) int { return cmp.Compare(parts[b], parts[a]) })
	for i := range left {
		m.quota[rest[i%int64(len(rest))]]++
	}
	end := int64(0)
	for _, q := range m.quota {
		end += q
		m.ends = append(m.ends, end)
	}
}

// at returns the sequence in a slot of an epoch.
func (m *mixture) at(order rng.Key, epoch, slot int64) int64 {
	g := sort.Search(len(m.ends), func(g int) bool { return m.ends[g] > slot })
	i := epoch*m.quota[g] + slot - (m.ends[g] - m.quota[g])
	perm := order.Sub(^uint64(g)).Sub(uint64(i / m.seqs[g])).Perm(uint64(m.seqs[g])) // ^g is no epoch
	return m.begin[g] + int64(perm.At(uint64(i%m.seqs[g])))
}

// Share is the part of one path in a mixture.
type Share struct {
	Weight float64 `json:"weight"`
	Labels int64   `json:"labels"` // in the path
	Share  float64 `json:"share"`  // of the labels of an epoch
	Passes float64 `json:"passes"` // over the path in an epoch
}

// Mixture returns the share of each path, nil without weights.
func (sp *Split) Mixture() ([]Share, error) {
	m, err := newMixture(sp)
	if m == nil {
		return nil, err
	}
	shares := make([]Share, len(m.quota))
	total := 0.0
	for g := range shares {
		s := &shares[g]
		s.Weight, s.Labels, s.Passes = sp.set.weights[g], m.labels[g], float64(m.quota[g])/float64(m.seqs[g])
		s.Share = s.Passes * float64(s.Labels)
		total += s.Share
	}
	for g := range shares {
		shares[g].Share /= total
	}
	return shares, nil
}

// sequencesBefore returns how many sequences the first k documents of the split have.
func (sp *Split) sequencesBefore(k int) int64 {
	if k == 0 {
		return 0
	}
	return sp.ends[k-1]
}

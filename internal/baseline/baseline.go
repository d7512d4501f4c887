// Package baseline gives the loss that plain n-gram counting has on the same text as a language model.
//
// It is a count model of token n-grams with interpolated Witten-Bell smoothing. Best fits one on the training sequences
// and reports the validation loss of every order up to a maximum, so that a run can print its own loss next to the best
// of them and to the unigram. Fit and Score are its two halves, for callers that keep the counts.
//
// A sequence is the labels of one document in order, with the end token: exactly what the decoder is scored on. An
// n-gram never looks beyond its own sequence. Before the first label is a mark in place of the decoder's start token;
// it is only a context.
//
// The package knows token ids only: no text, no files, no tokenizer. It is deterministic, uses one core, and its memory
// is bounded (see Fit).
package baseline

import (
	"iter"
	"math"
)

// MaxOrder is the longest n-gram a model may count.
const MaxOrder = 8

// MaxVocab is the largest vocabulary a model may have: a table entry counts the distinct successors of a context in 20
// bits.
const MaxVocab = 1<<20 - 1

// tableSlots bounds the table of n-grams longer than one token. With 16 bytes a slot it takes 256 MiB and has room for
// 12.6 million n-grams.
const tableSlots = 1 << 24

// Model is a Witten-Bell interpolated n-gram model.
//
// With h the last k-1 tokens, c(hw) the times w followed h, c(h) their sum over w, and T(h) the number of distinct
// such w,
//
//	P_k(w|h) = (c(hw) + T(h)·P_{k-1}(w|h')) / (c(h) + T(h)),  P_0 = 1/V,
//
// where h' is h without its oldest token, and P_k = P_{k-1} where h was never seen.
// Source: Witten and Bell 1991, in the interpolated form of Chen and Goodman 1998, section 2.4.
type Model struct {
	order  int
	vocab  int
	tokens int64 // labels counted
	missed int64 // observations of any order that found no room
	types  float64
	uni    []unigram // (vocab+1); the last is the start mark
	grams  table
}

// unigram counts one token: how often it was a label, and what followed it.
type unigram struct {
	count, total uint64
	types        uint32
}

// Fit counts the n-grams of lengths 1 to order in seqs.
//
// A yielded slice is used only until the next. Ids must be in [0, vocab).
//
// Memory: 24 bytes per vocabulary entry, and a table that grows to at most 256 MiB (1.5 times that while it grows for
// the last time). As it fills, new n-grams are no longer counted, the longest first: length k stops at (10-k)/8 of the
// room. Such an observation leaves its context unchanged, so the model stays a distribution. N-grams are stored by
// 64-bit hashes: the chance that two of them share an entry is about 10⁻⁵ for a whole full table.
//
// Panics if order, vocab or a token is out of range.
func Fit(order, vocab int, seqs iter.Seq[[]int32]) *Model {
	return fit(order, vocab, tableSlots, seqs)
}

func fit(order, vocab, slots int, seqs iter.Seq[[]int32]) *Model {
	if order < 1 || order > MaxOrder {
		panic("baseline: order out of range")
	}
	if vocab < 1 || vocab > MaxVocab {
		panic("baseline: vocabulary out of range")
	}
	m := &Model{order: order, vocab: vocab, uni: make([]unigram, vocab+1)}
	m.grams.init(slots)
	for seq := range seqs {
		m.count(seq)
	}
	for _, u := range m.uni {
		if u.count > 0 {
			m.types++
		}
	}
	return m
}

// window holds the n-grams that end at one position, by length: their hashes and their slots in the table. Length 1 has
// no slot; a missing one is -1.
type window struct {
	n    int // longest length held
	hash [MaxOrder + 1]uint64
	slot [MaxOrder + 1]int
}

// begin makes w the window that ends with tok, n tokens deep, and fills length 1.
func (w *window) begin(tok int32, n int) {
	w.n = n
	w.hash[1] = mix(0, tok)
}

// count adds one sequence. The n-grams that ended at the previous position are the contexts of this one, so each
// position costs one lookup per order.
func (m *Model) count(seq []int32) {
	m.check(seq)
	var prev, cur window
	before := int32(m.vocab)
	prev.begin(before, 1)
	for _, tok := range seq {
		if m.grams.tight(m.order) {
			m.grams.grow()
			for k := 2; k <= prev.n; k++ {
				prev.slot[k] = m.grams.find(prev.hash[k])
			}
		}
		cur.begin(tok, min(prev.n+1, m.order))
		m.uni[tok].count++
		for k := 2; k <= cur.n; k++ {
			h := mix(prev.hash[k-1], tok)
			cur.hash[k] = h
			if k == 2 {
				cur.slot[k] = m.observe2(&m.uni[before], h)
			} else {
				cur.slot[k] = m.observe(prev.slot[k-1], k, h)
			}
		}
		m.tokens++
		prev, before = cur, tok
	}
}

// observe2 counts a bigram after the token whose entry is ctx.
func (m *Model) observe2(ctx *unigram, h uint64) int {
	s, fresh := m.grams.findOrAdd(h, 2)
	if s < 0 || m.grams.slots[s].count() == maxCount {
		m.missed++
		return s
	}
	if fresh {
		ctx.types++
	}
	ctx.total++
	m.grams.slots[s].stat += oneCount
	return s
}

// observe counts an n-gram of length k ≥ 3 whose context is in slot ctx.
func (m *Model) observe(ctx, k int, h uint64) int {
	if ctx < 0 || m.grams.slots[ctx].total() == maxCount {
		m.missed++
		return m.grams.find(h)
	}
	s, fresh := m.grams.findOrAdd(h, k)
	if s < 0 || m.grams.slots[s].count() == maxCount {
		m.missed++
		return s
	}
	if fresh {
		m.grams.slots[ctx].stat += oneType
	}
	m.grams.slots[ctx].stat += oneTotal
	m.grams.slots[s].stat += oneCount
	return s
}

func (m *Model) check(seq []int32) {
	for _, t := range seq {
		if uint(t) >= uint(m.vocab) {
			panic("baseline: token outside the vocabulary")
		}
	}
}

// Result is the loss of a model on some sequences.
type Result struct {
	Nats    float64   // summed over the labels, at the model's order
	ByOrder []float64 // summed nats of the orders 1, 2, … (ByOrder[0] is the unigram)
	Tokens  int64     // labels

	each func(sequence, label int, nats []float64) // called for every label that counts; nil: not
}

// Score sums -ln P over the counted labels of seqs, for every order at once. The second value says which labels of a
// sequence count; nil: all. The others are only context.
//
// Panics if a token is outside the vocabulary. Safe for concurrent use.
func (m *Model) Score(seqs iter.Seq2[[]int32, []bool]) Result { return m.scoreEach(seqs, nil) }

func (m *Model) scoreEach(seqs iter.Seq2[[]int32, []bool], each func(sequence, label int, nats []float64)) Result {
	r := Result{ByOrder: make([]float64, m.order), each: each}
	n := 0
	for seq, counts := range seqs {
		m.check(seq)
		m.score(&r, n, seq, counts)
		n++
	}
	r.Nats = r.ByOrder[m.order-1]
	return r
}

func (m *Model) score(r *Result, number int, seq []int32, counts []bool) {
	var prev, cur window
	var byOrder [MaxOrder]float64
	before := int32(m.vocab)
	prev.begin(before, 1)
	for i, tok := range seq {
		weight := 1.0
		if counts != nil && !counts[i] {
			weight = 0
		}
		p := 1 / float64(m.vocab)
		if m.tokens > 0 {
			p = (float64(m.uni[tok].count) + m.types*p) / (float64(m.tokens) + m.types)
		}
		nats := -math.Log(p)
		r.ByOrder[0] += weight * nats
		byOrder[0] = nats
		cur.begin(tok, min(prev.n+1, m.order))
		for k := 2; k <= cur.n; k++ {
			h := mix(prev.hash[k-1], tok)
			s := m.grams.find(h)
			cur.hash[k], cur.slot[k] = h, s
			var total, types float64
			if k == 2 {
				c := &m.uni[before]
				total, types = float64(c.total), float64(c.types)
			} else if c := prev.slot[k-1]; c >= 0 {
				total, types = float64(m.grams.slots[c].total()), float64(m.grams.slots[c].types())
			}
			if types > 0 {
				var n float64
				if s >= 0 {
					n = float64(m.grams.slots[s].count())
				}
				p = (n + types*p) / (total + types)
				nats = -math.Log(p)
			}
			r.ByOrder[k-1] += weight * nats
			byOrder[k-1] = nats
		}
		// Near the start of a sequence the longer contexts do not exist.
		for k := cur.n + 1; k <= m.order; k++ {
			r.ByOrder[k-1] += weight * nats
			byOrder[k-1] = nats
		}
		r.Tokens += int64(weight)
		if r.each != nil && weight > 0 {
			r.each(number, i, byOrder[:m.order])
		}
		prev, before = cur, tok
	}
}

// Report is the baseline of a split.
type Report struct {
	Order       int       // the order with the lowest loss
	Loss        float64   // its loss in nats per label
	Unigram     float64   // the loss of order 1
	ByOrder     []float64 // nats per label of the orders 1, 2, …
	Tokens      int64     // labels scored
	TrainTokens int64     // labels counted
}

// Best fits on train, scores the counted labels of val, and reports the best order up to maxOrder. each, unless nil,
// gets the nats of every counted label, by order. Losses are NaN when val has no label.
func Best(maxOrder, vocab int, train iter.Seq[[]int32], val iter.Seq2[[]int32, []bool],
	each func(sequence, label int, nats []float64)) Report {
	m := Fit(maxOrder, vocab, train)
	s := m.scoreEach(val, each)
	r := Report{Order: 1, ByOrder: s.ByOrder, Tokens: s.Tokens, TrainTokens: m.tokens}
	for k := range r.ByOrder {
		r.ByOrder[k] /= float64(s.Tokens)
		if r.ByOrder[k] < r.ByOrder[r.Order-1] {
			r.Order = k + 1
		}
	}
	r.Unigram, r.Loss = r.ByOrder[0], r.ByOrder[r.Order-1]
	return r
}

package bpe

import (
	"context"
	"errors"
	"math"
	"slices"
)

// trainer holds the different pieces as tokens, and counts their pairs.
type trainer struct {
	words  []uint32 // the pieces end to end: header, tokens; a piece shrinks in place
	pairs  map[uint64]*pairCount
	queue  heap[candidate]
	ranks  map[uint64]int32 // pairs merged already, with their rank
	ids    map[string]int32 // tokens by what they spell
	vocab  [][]byte
	merges []Merge
	last   int64           // count of the last merge
	step   []*pairCount    // pairs that changed since the last settle
	near   [4][]*pairCount // see apply
}

// A piece begins with its count, low half first, and the number of its tokens. They lie before the tokens so that a
// visit, which is a miss of the cache, is one miss.
const header = 3

// pairCount has how often a pair occurs, and where the words that have it or had it begin, some more than once.
type pairCount struct {
	key   uint64
	count int64
	words []uint32
	grown bool // in this step
}

// candidate is a pair in the queue with its count when it was put there. Counts in the queue may be too high, never too
// low: the first candidate is right if its count is that of the table.
type candidate struct {
	key   uint64
	count int64
}

func (c candidate) before(d candidate) bool {
	if c.count != d.count {
		return c.count > d.count
	}
	return c.key < d.key // by the first id, then the second
}

// ErrTooMany says that the pieces do not fit into the tables of learning.
var ErrTooMany = errors.New("too many different pieces")

// Learned is what Learn found.
type Learned struct {
	Vocab     [][]byte // what each token spells: the bytes, then what merges made
	Merges    []Merge
	LastCount int64 // how often the pair of the last merge occurred
}

// Learn makes a new token of the most frequent pair of neighbouring tokens within pieces, until the vocabulary has size
// tokens or no pair occurs twice. Of equally frequent pairs it takes the one with the smallest ids, the first id before
// the second. counts has the pieces, in any parts, which are lost; alphabet has the bytes by the ids that they get.
// Merges that spell the same share an id.
func Learn(ctx context.Context, counts []map[string]*int64, alphabet []byte, size int) (Learned, error) {
	t, err := newTrainer(counts, alphabet)
	if err == nil {
		err = t.train(ctx, size)
	}
	if err != nil {
		return Learned{}, err
	}
	return Learned{t.vocab, t.merges, t.last}, nil
}

func newTrainer(counts []map[string]*int64, alphabet []byte) (*trainer, error) {
	t := &trainer{pairs: map[uint64]*pairCount{}, ranks: map[uint64]int32{}, ids: map[string]int32{}}
	var byteID [256]int32
	for id, c := range alphabet {
		byteID[c] = int32(id)
		t.vocab = append(t.vocab, []byte{c})
		t.ids[string([]byte{c})] = int32(id)
	}
	size := 0
	for i := range counts {
		for w := range counts[i] {
			size += header + len(w)
		}
	}
	if size > math.MaxUint32 {
		return nil, ErrTooMany
	}
	t.words = make([]uint32, 0, size)
	near := make([][256]*pairCount, 256)
	for i := range counts {
		for w, n := range counts[i] {
			at := uint32(len(t.words))
			t.words = append(t.words, uint32(*n), uint32(*n>>32), uint32(len(w)))
			for i := range len(w) {
				t.words = append(t.words, uint32(byteID[w[i]]))
				if i > 0 {
					a, b := byteID[w[i-1]], byteID[w[i]]
					t.pair(near[a][:], b, PairKey(a, b)).add(*n, at)
				}
			}
		}
		counts[i] = nil // its memory is free for the pairs
	}
	return t, nil
}

// pair returns the count of the pair with the given key, and keeps it at near[i] to save later look-ups. The pair joins
// the step.
func (t *trainer) pair(near []*pairCount, i int32, key uint64) *pairCount {
	if p := near[i]; p != nil {
		return p
	}
	p := t.pairs[key]
	if p == nil {
		p = &pairCount{key: key}
		t.pairs[key] = p
	}
	near[i] = p
	t.step = append(t.step, p)
	return p
}

// add counts the pair n more times in word at.
func (p *pairCount) add(n int64, at uint32) {
	p.count += n
	p.grown = true
	if k := len(p.words); k == 0 || p.words[k-1] != at {
		p.words = append(p.words, at)
	}
}

// train merges until the vocabulary has size tokens or no pair occurs twice.
func (t *trainer) train(ctx context.Context, size int) error {
	t.settle()
	for len(t.vocab) < size && len(t.queue) > 0 {
		if len(t.merges)%64 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		top := t.queue.pop()
		p := t.pairs[top.key]
		if p == nil || p.count < 2 {
			continue
		}
		if p.count != top.count {
			t.queue.push(candidate{top.key, p.count})
			continue
		}
		m := Merge{A: int32(top.key >> 32), B: int32(uint32(top.key))}
		spelled := slices.Concat(t.vocab[m.A], t.vocab[m.B])
		id, ok := t.ids[string(spelled)]
		if !ok {
			id = int32(len(t.vocab))
			t.vocab = append(t.vocab, spelled)
			t.ids[string(spelled)] = id
		}
		m.ID = id
		t.ranks[top.key] = int32(len(t.merges))
		t.merges = append(t.merges, m)
		t.last = p.count
		t.apply(m)
		t.settle()
	}
	return nil
}

// settle puts the pairs that grew into the queue and drops those that are gone. A pair that is merged already can
// come back when a later merge spells one of its tokens in another way; it is merged again at once, lowest rank
// first, as encoding would.
func (t *trainer) settle() {
	for {
		again := int32(-1)
		for _, p := range t.step {
			if rank, ok := t.ranks[p.key]; ok && p.count > 0 && (again < 0 || rank < again) {
				again = rank
			}
		}
		if again < 0 {
			break
		}
		t.apply(t.merges[again])
	}
	for _, p := range t.step {
		switch {
		case p.count <= 0:
			delete(t.pairs, p.key)
		case p.grown && p.count > 1:
			t.queue.push(candidate{p.key, p.count})
		}
		p.grown = false
	}
	t.step = t.step[:0]
}

// apply replaces the pair of m by its token wherever it occurs, from left to right within a word, and updates the
// counts of its neighbours.
func (t *trainer) apply(m Merge) {
	// The pairs that change all have a neighbour x of a, b: (x, a), (x, ab), (b, x) and (ab, x). near has them by x.
	for i := range t.near {
		t.near[i] = append(t.near[i], make([]*pairCount, len(t.vocab)-len(t.near[i]))...)
	}
	start := len(t.step)
	self, a, b := t.pairs[PairKey(m.A, m.B)], uint32(m.A), uint32(m.B)
	for _, at := range self.words {
		head := t.words[at : at+header]
		count, n := int64(head[0])|int64(head[1])<<32, head[2]
		s := t.words[at+header : at+header+n]
		out := 0
		for i := 0; i < len(s); i++ {
			if s[i] != a || i+1 == len(s) || s[i+1] != b {
				s[out] = s[i]
				out++
				continue
			}
			if out > 0 {
				x := int32(s[out-1])
				t.pair(t.near[0], x, PairKey(x, m.A)).count -= count
				t.pair(t.near[1], x, PairKey(x, m.ID)).add(count, at)
			}
			if i+2 < len(s) {
				x := int32(s[i+2])
				t.pair(t.near[2], x, PairKey(m.B, x)).count -= count
				t.pair(t.near[3], x, PairKey(m.ID, x)).add(count, at)
			}
			s[out] = uint32(m.ID)
			out++
			i++
		}
		head[2] = uint32(out)
	}
	for _, p := range t.step[start:] {
		a, b := int32(p.key>>32), int32(uint32(p.key))
		t.near[0][a], t.near[1][a], t.near[2][b], t.near[3][b] = nil, nil, nil, nil
	}
	// The count may be above 0 yet: occurrences that overlapped, as in "aaa".
	self.count, self.words, self.grown = 0, nil, false
	t.step = append(t.step, self)
}

package tokenizer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"gimbal/internal/split"
)

// TrainOptions describes the tokenizer to train.
type TrainOptions struct {
	VocabSize int // tokens wanted: 256 bytes, the merges, and the end-of-text token
	Workers   int // goroutines that count pieces; 0 means GOMAXPROCS. The result does not depend on it

	// SampleBytes bounds the text that is counted; 0 means 128 MiB. If TotalBytes, the size of all documents, is
	// known and larger, parts of about 1 MiB are taken evenly over all of it. Otherwise the first SampleBytes are
	// counted, and the rest is not read.
	SampleBytes int64
	TotalBytes  int64
}

// TrainReport says what training found.
type TrainReport struct {
	Documents int64 // read
	Bytes     int64 // read
	Sampled   int64 // bytes of them that were counted
	Pieces    int64 // pieces counted
	Unique    int   // different pieces
	VocabSize int   // reached; less than wanted if no pair was left that occurs twice
	Merges    int
	LastCount int64 // how often the pair of the last merge occurred
}

// ErrNoText says that there was nothing to train on.
var ErrNoText = errors.New("tokenizer: the documents hold no text to train on")

const (
	minVocab      = 257       // bytes and end of text
	maxVocab      = 1 << 22   // far above any use; keeps ids and ranks small
	defaultSample = 128 << 20 // bytes
	partSize      = 1 << 20   // bytes of text handed to a worker at once
	trainPiece    = 4 << 10   // bytes of the longest piece that is counted
)

// TrainBPE trains byte-level byte-pair encoding on documents, with Qwen 2's split. It repeatedly makes a new token of
// the most frequent pair of neighbouring tokens within the pieces. Of equally frequent pairs it takes the one with
// the smallest ids, the first id before the second, as Hugging Face's tokenizers does. Training ends at the wanted
// size or when no pair occurs twice; the report says which.
//
// The ids are 0 to 255 for the bytes in the order of GPT-2's alphabet, then the merges by rank, then end of text.
// Merges that spell the same share an id.
//
// The result depends only on the documents, their order and the options other than Workers.
// Source: Sennrich et al. 2016, arXiv:1508.07909, algorithm 1.
// Memory: about 350 bytes for each different piece of the sample, and 3 MiB for each worker; not more for a larger
// corpus or more workers. A document may be reused after its step of docs.
// Failure: the first error of docs, ctx.Err(), or ErrNoText.
func TrainBPE(ctx context.Context, docs iter.Seq2[[]byte, error], opt TrainOptions) (*Tokenizer, TrainReport, error) {
	if opt.VocabSize < minVocab || opt.VocabSize > maxVocab {
		return nil, TrainReport{}, fmt.Errorf("tokenizer: vocabulary size %d is not between %d "+
			"(bytes and end of text) and %d", opt.VocabSize, minVocab, maxVocab)
	}
	words, report, err := countPieces(ctx, docs, opt)
	if err != nil {
		return nil, report, err
	}
	if report.Sampled == 0 {
		return nil, report, ErrNoText
	}
	tr, err := newTrainer(words, report.Sampled)
	if err != nil {
		return nil, report, err
	}
	if err := tr.train(ctx, opt.VocabSize-1); err != nil {
		return nil, report, err
	}
	eos := added{id: int32(len(tr.vocab)), content: EndOfText, special: true}
	t := build(KindBPE, split.Qwen2, tr.vocab, tr.merges, []added{eos})
	report.VocabSize, report.Merges, report.LastCount = t.VocabSize(), len(tr.merges), tr.last
	return t, report, nil
}

// trainer holds the different pieces as tokens, and counts their pairs.
type trainer struct {
	words  []uint32 // the pieces end to end: header, tokens; a piece shrinks in place
	pairs  map[uint64]*pairCount
	queue  heap[candidate]
	ranks  map[uint64]int32 // pairs merged already, with their rank
	ids    map[string]int32 // tokens by what they spell
	vocab  [][]byte
	merges []merge
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

// newTrainer takes the counts of a sample of so many bytes, and leaves none.
func newTrainer(counts *tally, sampled int64) (*trainer, error) {
	t := &trainer{pairs: map[uint64]*pairCount{}, ranks: map[uint64]int32{}, ids: map[string]int32{}}
	var byteID [256]int32
	for id, c := range byteOrder {
		byteID[c] = int32(id)
		t.vocab = append(t.vocab, []byte{c})
		t.ids[string([]byte{c})] = int32(id)
	}
	size := 0
	for i := range counts {
		for w := range counts[i].counts {
			size += header + len(w)
		}
	}
	if size > math.MaxUint32 {
		return nil, fmt.Errorf("tokenizer: the different pieces of %d bytes are too many; lower the sample", sampled)
	}
	t.words = make([]uint32, 0, size)
	near := make([][256]*pairCount, 256)
	for i := range counts {
		for w, n := range counts[i].counts {
			at := uint32(len(t.words))
			t.words = append(t.words, uint32(*n), uint32(*n>>32), uint32(len(w)))
			for i := range len(w) {
				t.words = append(t.words, uint32(byteID[w[i]]))
				if i > 0 {
					a, b := byteID[w[i-1]], byteID[w[i]]
					t.pair(near[a][:], b, pairKey(a, b)).add(*n, at)
				}
			}
		}
		counts[i].counts = nil // its memory is free for the pairs
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
		m := merge{a: int32(top.key >> 32), b: int32(uint32(top.key))}
		spelled := slices.Concat(t.vocab[m.a], t.vocab[m.b])
		id, ok := t.ids[string(spelled)]
		if !ok {
			id = int32(len(t.vocab))
			t.vocab = append(t.vocab, spelled)
			t.ids[string(spelled)] = id
		}
		m.id = id
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
func (t *trainer) apply(m merge) {
	// The pairs that change all have a neighbour x of a, b: (x, a), (x, ab), (b, x) and (ab, x). near has them by x.
	for i := range t.near {
		t.near[i] = append(t.near[i], make([]*pairCount, len(t.vocab)-len(t.near[i]))...)
	}
	start := len(t.step)
	self, a, b := t.pairs[pairKey(m.a, m.b)], uint32(m.a), uint32(m.b)
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
				t.pair(t.near[0], x, pairKey(x, m.a)).count -= count
				t.pair(t.near[1], x, pairKey(x, m.id)).add(count, at)
			}
			if i+2 < len(s) {
				x := int32(s[i+2])
				t.pair(t.near[2], x, pairKey(m.b, x)).count -= count
				t.pair(t.near[3], x, pairKey(m.id, x)).add(count, at)
			}
			s[out] = uint32(m.id)
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

package data

import (
	"encoding/binary"
	"fmt"
	"slices"

	"gimbal/internal/corpus"
)

// pairStats counts the pairs of one side of a set.
type pairStats struct {
	long, same, silent int64    // left out: longer than the context, the same tokens twice, without tokens that count
	counted            [2]int64 // tokens that count in the answers: of the preferred ones, and of the others
}

// Pairs reports whether a sequence is a pair of a preference.
func (sp *Split) Pairs() bool { return sp.set.pairs }

// pair makes the sequences of a set of preferences: each is a pair, and a pair of which one side does not fit the
// context is left out.
func (sp *Split) pair() {
	s, n := sp.set, &sp.sums
	for d := 0; d+1 < s.index.Len(); d += 2 {
		lo, hi := s.labels(d, sp.side, false)
		lo2, hi2 := s.labels(d+1, sp.side, false)
		counted, counted2 := s.counted(d, lo, hi), s.counted(d+1, lo2, hi2)
		switch {
		case lo >= hi && lo2 >= hi2: // of the other side
			continue
		case max(hi-lo, hi2-lo2) > sp.context:
			sp.pairs.long++
			continue
		case counted == 0 || counted2 == 0:
			sp.pairs.silent++
			continue
		case hi-lo == hi2-lo2 && slices.Equal(s.row(nil, d, lo, hi), s.row(nil, d+1, lo2, hi2)):
			sp.pairs.same++
			continue
		}
		n.Sequences++
		n.Documents++ // whose text is shown, and counted by n-grams
		n.Answers += 2
		n.EOS += 2
		n.Labels += hi - lo + hi2 - lo2
		n.Counted += counted + counted2
		sp.pairs.counted[0] += counted
		sp.pairs.counted[1] += counted2
		sp.most = max(sp.most, hi-lo+hi2-lo2)
		sp.docs, sp.ends = append(sp.docs, uint32(d)), append(sp.ends, n.Sequences)
	}
}

// size is the tokens of the sequence that begins with labels [lo, hi) of a document.
func (sp *Split) size(doc int, lo, hi int64) int64 {
	if sp.set.pairs {
		lo2, hi2 := sp.set.labels(doc+1, sp.side, false)
		hi += hi2 - lo2
	}
	return hi - lo
}

// pairHash is that of both answers of the pair that begins with a document.
func (s *Set) pairHash(doc int) uint64 {
	own := func(d int) uint64 { return binary.BigEndian.Uint64(s.index.Hash(d)[promptHash:]) }
	return own(doc) ^ 31*own(doc+1) ^ s.index.Hash64(doc)
}

// manyPairs is the share of pairs left out from which a warning is due, and longerThan times as long are preferred
// answers that teach to write more, whatever they say.
const (
	manyPairs  = 0.01
	longerThan = 1.5
)

// pairFindings returns what is to be told of the pairs of a split.
func (sp *Split) pairFindings() (f []corpus.Finding) {
	p, all := sp.pairs, sp.sums.Sequences+sp.pairs.long+sp.pairs.same+sp.pairs.silent
	tell := func(n int64, why, advice string) {
		if n > 0 {
			f = append(f, corpus.Finding{Text: fmt.Sprintf("%s of %s left out: %s", group(n), count(all, "pair"), why),
				Advice: advice, Warn: float64(n) > manyPairs*float64(all)})
		}
	}
	tell(p.long, fmt.Sprintf("longer than the context of %d tokens", sp.context), fmt.Sprintf(
		"raise train.context (the longest document has %s), or shorten the prompts",
		count(sp.set.census.Lengths[len(sp.set.census.Lengths)-1], "token")))
	tell(p.same, "both answers have the same tokens", "")
	tell(p.silent, "the template leaves nothing of an answer that counts", "")
	if ratio := float64(p.counted[0]) / float64(p.counted[1]); ratio > longerThan {
		f = append(f, corpus.Finding{Warn: true, Advice: "choose pairs of like length, and watch the length of the samples",
			Text: fmt.Sprintf("preferred answers are %.1f times as long as the others: the model learns to write more", ratio)})
	}
	return f
}

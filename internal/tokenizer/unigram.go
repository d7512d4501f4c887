package tokenizer

import (
	"slices"
	"unicode/utf8"
)

// unigram finds the tokens of a piece whose scores have the highest sum.
//
// Source: Kudo 2018, arXiv:1804.10959, section 3; equal sums are decided as in Hugging Face's library.
type unigram struct {
	trie
	scores  []float64 // by token
	unknown float64   // of a character that is no token
}

// newUnigram returns the model of tokens with scores. Special tokens and those of bytes are not among those in text.
func newUnigram(names []string, scores []float64, inText func(id int32) bool) *unigram {
	u := &unigram{trie: newTrie(), scores: scores, unknown: slices.Min(scores) - 10}
	for id := range scores {
		if inText(int32(id)) {
			u.add([]byte(names[id]), int32(id))
		}
	}
	return u
}

// reached is the best path to a place in a piece: its score, its last token and where that begins; -1: none yet.
type reached struct {
	score    float64
	id, from int32
}

func (r *reached) try(score float64, id, from int32) {
	if r.from < 0 || score > r.score {
		*r = reached{score, id, from}
	}
}

// appendBest appends the tokens of w to dst. memory is the room for the paths.
func (t *Tokenizer) appendBest(dst []int32, memory *[]reached, w []byte) []int32 {
	best := slices.Grow((*memory)[:0], len(w)+1)[:len(w)+1]
	for i := range best {
		best[i] = reached{from: -1}
	}
	best[0], *memory = reached{}, best
	for i := 0; i < len(w); {
		_, width := utf8.DecodeRune(w[i:])
		single := false
		for node, j := int32(0), i; j < len(w); j++ {
			to, ok := t.best.next[uint64(node)<<8|uint64(w[j])]
			if !ok {
				break
			}
			node = to
			if id := t.best.tokens[node]; id >= 0 {
				best[j+1].try(best[i].score+t.best.scores[id], id, int32(i))
				single = single || j+1 == i+width
			}
		}
		if !single {
			best[i+width].try(best[i].score+t.best.unknown, -1, int32(i))
		}
		i += width
	}
	have, unknown := len(dst), false
	for end := int32(len(w)); end > 0; end = best[end].from {
		b := best[end]
		switch {
		case b.id >= 0:
			dst = append(dst, b.id)
		case t.unk < 0:
			for i := end - 1; i >= b.from; i-- {
				dst = append(dst, t.byteID[w[i]])
			}
		case !unknown:
			dst = append(dst, t.unk)
		}
		unknown = b.id < 0
	}
	slices.Reverse(dst[have:])
	return dst
}

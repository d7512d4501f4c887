package judge

import "iter"

// How much of the training text is used. These limits also bound the memory.
const (
	gramOrder  = 5
	gramTokens = 512 << 10 // counted for the n-gram range: at most 64 MiB of table
	wordTokens = 8 << 20   // whose words are known
	sifTokens  = 1 << 20   // whose words are counted for their weight
	copyTokens = 8 << 20   // compared with the generated texts, at every evaluation
	sifWindows = 200       // from which comes what all texts of the corpus have in common
	chunk      = 4096      // tokens that are taken or left out together
)

// Bytes is the approximate memory of a Judge. Most of it is the n-grams.
func Bytes(trainTokens int64) int64 {
	const fixed, perToken = 8 << 20, 100
	return fixed + perToken*min(trainTokens, gramTokens)
}

// Known is the text that a model was trained on. The judge reads it several times and never holds it whole.
type Known struct {
	Tokens int64                    // in Labels
	Labels func() iter.Seq[[]int32] // documents, or pieces of them; a slice is valid until the next
	Spell  func(dst []byte, ids []int32) []byte
}

// spread yields pieces spread evenly over the training text, about limit tokens in all, or the whole text if it is
// shorter.
func (k Known) spread(limit int64) iter.Seq[[]int32] {
	return func(yield func([]int32) bool) {
		share := min(1, float64(limit)/float64(max(1, k.Tokens)))
		due := 1.0
		for doc := range k.Labels() {
			for lo := 0; lo < len(doc); lo += chunk {
				piece := doc[lo:min(len(doc), lo+chunk)]
				if share == 1 {
					piece, lo = doc, len(doc)
				}
				if due += share; due < 1 {
					continue
				}
				due--
				if !yield(piece) {
					return
				}
			}
		}
	}
}

// texts yields what spread yields, as text. A slice is valid until the next.
func (k Known) texts(limit int64) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var text []byte
		for ids := range k.spread(limit) {
			if text = k.Spell(text[:0], ids); !yield(text) {
				return
			}
		}
	}
}

// windows returns up to n pieces of size tokens, spread evenly over the text, as text.
func (k Known) windows(n, size int) (texts [][]byte) {
	for ids := range k.spread(max(int64(n*size), int64(n)*chunk)) {
		if len(texts) == n {
			break
		}
		if len(ids) > 0 {
			texts = append(texts, k.Spell(nil, ids[:min(len(ids), size)]))
		}
	}
	return texts
}

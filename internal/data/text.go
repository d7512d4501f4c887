package data

import (
	"errors"

	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

// Text is what a run reads: documents as tokens, cut into what trains and what validates. The set is closed by whoever
// made it.
type Text struct {
	Docs  *corpus.Corpus
	Tok   *tokenizer.Tokenizer
	Set   *Set
	Train *Split // nil where nothing is trained on
	Val   *Split
}

// Source overwrites b with the batch of an update and returns the cursor behind it. Loader.Next is one for any step;
// planted faults wrap it.
type Source func(step int64, b *Batch, cur Cursor) Cursor

// Source returns the loader as a source of batches.
func (l *Loader) Source() Source {
	return func(_ int64, b *Batch, cur Cursor) Cursor { return l.Next(b, cur) }
}

// CountedLabels is the number of labels of a pass that count.
func (m Micro) CountedLabels() (n int) {
	for _, c := range m.Counts {
		if c {
			n++
		}
	}
	return n
}

// ErrUnusable says that a text cannot be trained on, or measured.
var ErrUnusable = errors.New("unusable data")

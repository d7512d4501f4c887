package tokenizer

import "slices"

// WithSpecial returns a tokenizer that has the given special tokens beside
// those of t, which must have been made here, with the ids behind its own. Text
// gives the same ids as before. It panics if a name is empty or taken.
func (t *Tokenizer) WithSpecial(names ...string) *Tokenizer {
	if t.nfc || t.words != nil || len(t.front) > 0 {
		panic("tokenizer: special tokens for a tokenizer that was read")
	}
	vocab := make([][]byte, t.VocabSize())
	for id := range vocab {
		vocab[id] = t.Bytes(int32(id))
	}
	extra := slices.Clone(t.added)
	for i, name := range names {
		if _, taken := t.Added(name); taken || name == "" || slices.Index(names, name) != i {
			panic("tokenizer: a special token without a name of its own")
		}
		extra = append(extra, added{id: int32(len(vocab) + i), content: name, special: true})
	}
	return build(t.kind, t.split, vocab, t.merges, extra)
}

// Name returns what a person calls a token: the name of an added token, else
// what it spells. It panics if id is not in [0, VocabSize()).
func (t *Tokenizer) Name(id int32) string {
	for _, a := range t.added {
		if a.id == id {
			return a.content
		}
	}
	return string(t.Bytes(id))
}

package tokenizer

import (
	"fmt"
	"unicode/utf8"

	"gimbal/internal/split"
)

// BPE of SentencePiece as tokenizer.json writes it: merges join characters, not bytes. A character that is no token
// becomes its bytes, each a token such as <0x41>, or else the unknown token. Often nothing cuts the text before it is
// merged; then it is cut where no merge goes.

// sentencePiece is what such a tokenizer has besides. The zero value is none.
type sentencePiece struct {
	byChar bool     // merges join characters
	best   *unigram // instead of merges; nil: merges
	unk    int32    // stands for a character that is no token; -1: its bytes do
	fuse   bool     // one unk stands for several
	strips bool     // the space at the start of a text is not decoded
}

// byteToken returns the byte that the name of a token stands for.
func byteToken(name string) (c byte, ok bool) {
	if len(name) != len("<0x00>") {
		return 0, false
	}
	_, err := fmt.Sscanf(name, "<0x%02X>", &c)
	return c, err == nil && name == fmt.Sprintf("<0x%02X>", c)
}

// mergeCharacters makes t a tokenizer whose merges join characters. names has the names of its tokens by id.
func (t *Tokenizer) mergeCharacters(p *parser, names []string) error {
	t.sentencePiece = sentencePiece{byChar: true, unk: -1, fuse: p.fuse, strips: p.decoding.strips}
	t.gaps = false
	single := make([][]byte, len(names))
	for id, name := range names {
		if utf8.RuneCountInString(name) == 1 && !outside(p.added, int32(id)) {
			single[id] = []byte(name)
		}
	}
	t.chars = newAlphabet(single)
	bytes := map[int32]bool{}
	for c := range t.byteID {
		name := fmt.Sprintf("<0x%02X>", c)
		id, ok := p.vocab[name]
		if p.fallback && !ok {
			return unsupported("model.byte_fallback", "true without "+name)
		}
		if t.byteID[c] = -1; p.fallback {
			t.byteID[c], bytes[id] = id, true
		}
	}
	var loose func(r rune) bool
	if !p.fallback {
		t.unk = p.vocab[p.unknown]
		p.notes = append(p.notes, fmt.Sprintf("tokenizer.json has no tokens for single bytes: a character that is no "+
			"token becomes %s, and its text is lost", quote(p.unknown)))
		if p.fuse {
			loose = func(r rune) bool { return t.chars.id(r) < 0 }
		}
	}
	if p.scores != nil {
		t.best = newUnigram(names, p.scores, func(id int32) bool {
			return !bytes[id] && names[id] != p.unknown && !outside(p.added, id)
		})
	}
	made := make([]string, len(t.merges))
	for i, m := range t.merges {
		if bytes[m.A] || bytes[m.B] {
			return unsupported(fmt.Sprintf("model.merges[%d]", i), "a merge of a byte")
		}
		made[i] = names[m.A] + names[m.B]
	}
	last := split.NewJoints(made, p.words, loose).Split()
	if t.best != nil {
		last = split.Words
	}
	if t.split != nil {
		last = split.Sequence(t.split, last)
	}
	t.split = last
	for c := range t.one {
		t.one[c] = t.appendWord(nil, new(scratch), []byte{byte(c)})[0]
	}
	return nil
}

// outside reports whether a token is an added one that merges neither join nor make.
func outside(all []added, id int32) bool {
	i, ok := findAdded(all, id)
	return ok && (all[i].special || !all[i].inVocab)
}

// symbols appends to dst the tokens with which the merges of a piece begin.
func (t *Tokenizer) symbols(dst []int32, w []byte) []int32 {
	if !t.byChar {
		for _, c := range w {
			dst = append(dst, t.byteID[c])
		}
		return dst
	}
	have := len(dst)
	for i := 0; i < len(w); {
		r, n := rune(w[i]), 1
		if r >= utf8.RuneSelf {
			if r, n = utf8.DecodeRune(w[i:]); n == 1 {
				r = -1
			}
		}
		switch id := t.chars.id(r); {
		case id >= 0:
			dst = append(dst, id)
		case t.unk < 0:
			for _, c := range w[i : i+n] {
				dst = append(dst, t.byteID[c])
			}
		case !t.fuse || len(dst) == have || dst[len(dst)-1] != t.unk:
			dst = append(dst, t.unk)
		}
		i += n
	}
	return dst
}

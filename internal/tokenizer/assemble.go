package tokenizer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"gimbal/internal/bpe"
)

// tokenizer checks that the parts fit together and makes the tokenizer of them.
func (p *parser) tokenizer(roles Roles) (*Tokenizer, error) {
	kind, err := p.kind()
	if err != nil {
		return nil, err
	}

	// Each id of 0 … n-1 comes once. A token that is both added and in the vocabulary has one id.
	slices.SortFunc(p.added, func(a, b added) int { return cmp.Compare(a.id, b.id) })
	special := map[string]bool{}
	for i := range p.added {
		a := &p.added[i]
		id, known := p.vocab[a.content]
		switch {
		case special[a.content]:
			return nil, broken("added token %s comes twice", quote(a.content))
		case known && id != a.id:
			return nil, broken("token %s has the ids %d and %d", quote(a.content), id, a.id)
		}
		special[a.content], p.vocab[a.content], a.inVocab = true, a.id, known
	}
	n := len(p.vocab)
	names := make([]string, n)
	for name, id := range p.vocab {
		switch {
		case name == "":
			return nil, broken("the token with the id %d is empty", id)
		case int(id) >= n:
			return nil, broken("token %s has the id %d, but there are only %d tokens", quote(name), id, n)
		case names[id] != "":
			a, b := min(name, names[id]), max(name, names[id])
			return nil, broken("tokens %s and %s share the id %d", quote(a), quote(b), id)
		}
		names[id] = name
	}

	vocab := make([][]byte, n)
	for id, name := range names {
		if special[name] && p.decoding.kind != metaspace {
			continue
		}
		if vocab[id], err = p.spell(kind, name); err != nil {
			return nil, err
		}
	}
	for _, a := range p.added {
		if text := changed(p.normal, a.content); a.normalized && !a.special {
			vocab[a.id] = []byte(text)
			if p.decoding.kind == metaspace {
				vocab[a.id] = []byte(strings.ReplaceAll(text, blank, " "))
			}
		}
	}
	merges, err := p.ranks()
	if err != nil {
		return nil, err
	}
	if p.unknown != "" && !special[p.unknown] {
		return nil, unsupported("model.unk_token", p.unknown)
	}
	t := build(kind, p.split, vocab, merges, p.added)
	if p.decoding.kind == metaspace {
		if err := t.mergeCharacters(p, names); err != nil {
			return nil, err
		}
	}
	t.normal, t.cut, t.notes = p.normal, p.cut, append(p.notes, t.gapNote()...)
	t.setFronts()
	if p.ignoreMerges {
		t.words = make(map[string]int32, len(vocab))
		for id, v := range vocab {
			if len(v) > 0 { // else an added token
				t.words[string(v)] = int32(id)
			}
		}
	}
	return t, t.assign(roles, p.first)
}

// kind returns the kind of the tokenizer, and refuses parts that do not go together.
func (p *parser) kind() (string, error) {
	kind, decoder := KindBPE, p.decoding.kind
	switch {
	case decoder == metaspace && p.byteLevel:
		return "", unsupported("decoder.type", decoder)
	case decoder == metaspace && p.fallback && !p.decoding.bytes:
		return "", unsupported("decoder", "no ByteFallback")
	case decoder == metaspace && !p.fallback && p.unknown == "":
		return "", unsupported("model.byte_fallback", false)
	case p.scores != nil && decoder != metaspace:
		return "", unsupported("decoder.type", decoder)
	case p.scores != nil && !p.words:
		return "", unsupported("model.type", "Unigram without a Metaspace that splits")
	case decoder == metaspace && p.ignoreMerges:
		return "", unsupported("model.ignore_merges", true)
	case p.wantsNoBlanks != "" && !p.noBlanks:
		return "", unsupported(p.wantsNoBlanks, " ")
	case decoder == metaspace:
		return kind, nil
	case p.fallback:
		return "", unsupported("model.byte_fallback", true)
	case p.split == nil && !p.byteLevel && decoder == "Fuse":
		kind = KindChars
	case !p.byteLevel:
		return "", unsupported("pre_tokenizer", nil)
	case decoder != "ByteLevel":
		return "", unsupported("decoder.type", decoder)
	case p.split == nil:
		kind = KindBytes
	}
	switch {
	case kind == KindBPE:
	case len(p.merges) > 0:
		return "", unsupported("model.merges", "merges without a split of the text")
	case p.normal != nil:
		return "", unsupported("normalizer", "one without a split of the text")
	case p.cut != nil:
		return "", unsupported("pre_tokenizer.add_prefix_space", true)
	case p.ignoreMerges:
		return "", unsupported("model.ignore_merges", true)
	case slices.ContainsFunc(p.added, func(a added) bool { return !a.special }):
		return "", unsupported("added_tokens", "a token that is not special, without a split of the text")
	}
	return kind, nil
}

// spell returns what a token of the vocabulary spells.
func (p *parser) spell(kind, name string) (spelled []byte, err error) {
	switch {
	case kind == KindChars:
		if utf8.RuneCountInString(name) != 1 {
			return nil, broken("token %s is not one character", quote(name))
		}
		return []byte(name), nil
	case p.decoding.kind == metaspace:
		if c, ok := byteToken(name); ok && p.decoding.bytes {
			return []byte{c}, nil
		}
		return []byte(strings.ReplaceAll(name, blank, " ")), nil
	}
	for _, r := range name {
		c, ok := runeByte[r]
		if !ok && (len(name) == 1 || kind == KindBytes) {
			return nil, broken("token %s holds %q, which stands for no byte", quote(name), r)
		} else if !ok { // no text becomes it, and it is decoded as it is (Command R)
			return []byte(name), nil
		}
		spelled = append(spelled, c)
	}
	if kind == KindBytes && len(spelled) != 1 {
		return nil, unsupported("model.vocab", name)
	}
	return spelled, nil
}

// ranks returns the merges with the ids of their tokens.
func (p *parser) ranks() ([]bpe.Merge, error) {
	merges := make([]bpe.Merge, len(p.merges))
	seen := make(map[uint64]bool, len(merges))
	for i, m := range p.merges {
		a, aok := p.vocab[m[0]]
		b, bok := p.vocab[m[1]]
		id, ok := p.vocab[m[0]+m[1]]
		switch {
		case !aok || !bok || !ok || outside(p.added, a) || outside(p.added, b) ||
			outside(p.added, id):
			return nil, broken("merges[%d]: %s, %s or what they make is not in the vocabulary",
				i, quote(m[0]), quote(m[1]))
		case seen[bpe.PairKey(a, b)]:
			return nil, broken("merges[%d]: %s and %s merge twice", i, quote(m[0]), quote(m[1]))
		}
		seen[bpe.PairKey(a, b)] = true
		merges[i] = bpe.Merge{A: a, B: b, ID: id}
	}
	return merges, nil
}

// assign gives tokens their roles. first is the token that the file puts before a text.
func (t *Tokenizer) assign(roles Roles, first string) error {
	bad := func(role, format string, args ...any) error {
		return &RoleError{role, fmt.Sprintf(format, args...)}
	}
	if first != "" {
		id, ok := t.Added(first)
		if !ok {
			return broken("post_processor: %s is not among the added tokens", quote(first))
		}
		t.first, t.bos = id, id
	}
	for _, r := range []struct {
		name string
		id   int32
		to   *int32
	}{{"EOS", roles.EOS, &t.eos}, {"BOS", roles.BOS, &t.bos}} {
		if r.id < 0 {
			continue
		}
		i, ok := findAdded(t.added, r.id)
		switch {
		case int(r.id) >= t.VocabSize():
			return bad(r.name, "there is no token %d: tokenizer.json has %d", r.id, t.VocabSize())
		case !ok || !t.added[i].special:
			return bad(r.name, "token %d is %s, which text can hold: it must be a special token",
				r.id, quote(string(t.Bytes(r.id))))
		}
		*r.to = r.id
	}
	t.begins = t.first >= 0 && t.first == t.bos
	if t.eos < 0 {
		return unsupported("added_tokens", "no special token "+EndOfText)
	}
	if roles.Size != 0 && roles.Size < t.VocabSize() {
		return bad("Size", "tokenizer.json has %d tokens, more than the %d of the model", t.VocabSize(), roles.Size)
	}
	if extra := roles.Size - t.VocabSize(); extra > 0 {
		t.starts = append(t.starts, slices.Repeat(t.starts[t.VocabSize():], extra)...)
	}
	return nil
}

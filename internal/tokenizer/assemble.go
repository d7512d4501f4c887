package tokenizer

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// tokenizer checks that the parts fit together and builds the tokenizer.
func (p *parser) tokenizer() (*Tokenizer, error) {
	kind := KindBPE
	switch {
	case !p.pre && p.decoder == "Fuse":
		kind = KindChars
	case !p.pre:
		return nil, unsupported("pre_tokenizer", nil)
	case p.decoder != "ByteLevel":
		return nil, unsupported("decoder.type", p.decoder)
	case p.split == splitNone:
		kind = KindBytes
	}
	if kind != KindBPE && len(p.merges) > 0 {
		return nil, unsupported("model.merges", "merges without a split of the text")
	}

	// Ids: each of 0 … n-1 once, a token that is both added and in the
	// vocabulary with the same id in both.
	slices.SortFunc(p.added, func(a, b added) int { return cmp.Compare(a.id, b.id) })
	n := len(p.vocab) + len(p.added)
	special := map[string]bool{}
	for i := range p.added {
		a := &p.added[i]
		if special[a.content] {
			return nil, broken("added token %s comes twice", quote(a.content))
		}
		special[a.content] = true
		if id, ok := p.vocab[a.content]; ok {
			if id != a.id {
				return nil, broken("token %s has the ids %d and %d", quote(a.content), id, a.id)
			}
			a.inVocab = true
			n--
		}
	}
	names := make([]string, n)
	set := func(name string, id int32) error {
		if int(id) >= n {
			return broken("token %s has the id %d, but there are only %d tokens", quote(name), id, n)
		}
		if names[id] != "" {
			return broken("tokens %s and %s share the id %d", quote(min(name, names[id])), quote(max(name, names[id])), id)
		}
		names[id] = name
		return nil
	}
	for name, id := range p.vocab {
		if name == "" {
			return nil, broken("the token with the id %d is empty", id)
		}
		if err := set(name, id); err != nil {
			return nil, err
		}
	}
	for _, a := range p.added {
		if !a.inVocab {
			if err := set(a.content, a.id); err != nil {
				return nil, err
			}
		}
	}

	vocab := make([][]byte, n)
	single := map[byte]bool{}
	for id, name := range names {
		if special[name] {
			continue
		}
		if kind == KindChars {
			if utf8.RuneCountInString(name) != 1 {
				return nil, broken("token %s is not one character", quote(name))
			}
			vocab[id] = []byte(name)
			continue
		}
		for _, r := range name {
			c, ok := runeByte[r]
			if !ok {
				return nil, broken("token %s holds %q, which stands for no byte", quote(name), r)
			}
			vocab[id] = append(vocab[id], c)
		}
		if len(vocab[id]) == 1 {
			single[vocab[id][0]] = true
		} else if kind == KindBytes {
			return nil, unsupported("model.vocab", name)
		}
	}
	if kind != KindChars && len(single) < 256 {
		return nil, broken("only %d of the 256 bytes are tokens", len(single))
	}

	merges := make([]merge, len(p.merges))
	seen := make(map[uint64]bool, len(merges))
	for i, m := range p.merges {
		a, aok := p.vocab[m[0]]
		b, bok := p.vocab[m[1]]
		id, ok := p.vocab[m[0]+m[1]]
		switch {
		case !aok || !bok || !ok || special[m[0]] || special[m[1]] || special[m[0]+m[1]]:
			return nil, broken("merges[%d]: %s, %s or what they make is not in the vocabulary", i, quote(m[0]), quote(m[1]))
		case seen[pairKey(a, b)]:
			return nil, broken("merges[%d]: %s and %s merge twice", i, quote(m[0]), quote(m[1]))
		}
		seen[pairKey(a, b)] = true
		merges[i] = merge{a, b, id}
	}
	t := build(kind, p.split, vocab, merges, p.added)
	if t.eos < 0 {
		return nil, unsupported("added_tokens", "no "+EndOfText)
	}
	return t, nil
}

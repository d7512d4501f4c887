package tokenizer

import (
	"bytes"
	"slices"
)

// trie finds strings at the start of others.
type trie struct {
	next   map[uint64]int32 // node<<8 | byte to node; the root is 0
	tokens []int32          // by node: the token that ends there, or -1
}

func newTrie() trie { return trie{map[uint64]int32{}, []int32{-1}} }

// add makes content a token.
func (t *trie) add(content []byte, token int32) {
	node := int32(0)
	for _, c := range content {
		key := uint64(node)<<8 | uint64(c)
		to, ok := t.next[key]
		if !ok {
			to = int32(len(t.tokens))
			t.next[key] = to
			t.tokens = append(t.tokens, -1)
		}
		node = to
	}
	t.tokens[node] = token
}

// literals finds added tokens in text: the leftmost, and of those that begin there the longest.
type literals struct {
	trie           // of their indices
	first   []byte // the bytes that begin one, ascending
	longest int    // bytes
	strips  bool   // one of them takes the white space before it
}

// newLiterals returns the trie of the added tokens that want chooses; nil if it chooses none. Tokens for normalized
// text are normalized.
func newLiterals(all []added, normal []change, want func(added) bool) *literals {
	l := &literals{trie: newTrie()}
	for i, a := range all {
		if !want(a) {
			continue
		}
		content := a.content
		if a.normalized {
			content = changed(normal, content)
		}
		if content == "" { // it is never found
			continue
		}
		l.add([]byte(content), int32(i))
		l.longest = max(l.longest, len(content))
		l.first = append(l.first, content[0])
		l.strips = l.strips || a.edges&leftSpaces != 0
	}
	if l.longest == 0 {
		return nil
	}
	slices.Sort(l.first)
	l.first = slices.Compact(l.first)
	return l
}

// find returns the first match in text that begins in [at, limit): where it is, and the index of the added token, or
// -1.
func (l *literals) find(text []byte, at, limit int) (begin, end, token int) {
	for ; at < limit; at++ {
		skip := l.skip(text[at:limit])
		if skip < 0 {
			break
		}
		at += skip
		token, node := -1, int32(0)
		for i := at; i < len(text); i++ {
			to, ok := l.next[uint64(node)<<8|uint64(text[i])]
			if !ok {
				break
			}
			node = to
			if t := l.tokens[node]; t >= 0 {
				token, end = int(t), i+1
			}
		}
		if token >= 0 {
			return at, end, token
		}
	}
	return limit, limit, -1
}

// skip returns the distance to the next byte that begins an added token; -1 if there is none.
func (l *literals) skip(text []byte) int {
	if len(l.first) == 1 {
		return bytes.IndexByte(text, l.first[0])
	}
	return slices.IndexFunc(text, func(c byte) bool {
		_, ok := slices.BinarySearch(l.first, c)
		return ok
	})
}

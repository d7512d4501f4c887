package tokenizer

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// alphabet has the ids of the characters.
type alphabet struct {
	ascii [utf8.RuneSelf]int32 // -1 if not in the alphabet
	runes map[rune]int32
}

func newAlphabet(vocab [][]byte) (a alphabet) {
	for i := range a.ascii {
		a.ascii[i] = -1
	}
	a.runes = make(map[rune]int32, len(vocab))
	for id, v := range vocab {
		r, w := utf8.DecodeRune(v)
		if w == 0 {
			continue // an added token
		}
		if r < utf8.RuneSelf {
			a.ascii[r] = int32(id)
		}
		a.runes[r] = int32(id)
	}
	return a
}

// id returns the id of a character; -1 for one that is not in the alphabet, or for the character -1.
func (a *alphabet) id(r rune) int32 {
	if 0 <= r && r < utf8.RuneSelf {
		return a.ascii[r]
	}
	if id, ok := a.runes[r]; ok {
		return id
	}
	return -1
}

// Place is where something is in a text.
type Place struct {
	Offset int64 // bytes from the start of the text
	Line   int64 // from 1
}

// UnseenCharError reports a character that no tokens of a tokenizer spell.
type UnseenCharError struct {
	Char rune
	Place
}

func (e *UnseenCharError) Error() string {
	return fmt.Sprintf("tokenizer: character %q (%U) at byte %d, line %d is not in the alphabet of this tokenizer; "+
		"remove it, or use one of kind bpe or bytes", e.Char, e.Char, e.Offset, e.Line)
}

// InvalidByteError reports a byte that is not part of valid UTF-8, for which a tokenizer has no token.
type InvalidByteError struct {
	Byte byte
	Place
}

func (e *InvalidByteError) Error() string {
	return fmt.Sprintf("tokenizer: byte 0x%02x at byte %d, line %d is not valid UTF-8, which this tokenizer "+
		"needs; correct the text, or use one of kind bpe or bytes", e.Byte, e.Offset, e.Line)
}

// CollectChars returns the characters that occur in docs, by code point. It fails on the first error of docs and on
// bytes that are not UTF-8 (an *InvalidByteError within an error that numbers the document from 1).
func CollectChars(docs iter.Seq2[[]byte, error]) ([]rune, error) {
	var ascii [utf8.RuneSelf]bool
	seen := map[rune]struct{}{}
	n := 0
	for doc, err := range docs {
		if err != nil {
			return nil, err
		}
		n++
		for i, r := range string(doc) {
			if r < utf8.RuneSelf {
				ascii[r] = true
				continue
			}
			if r == utf8.RuneError && !bytes.HasPrefix(doc[i:], []byte("\ufffd")) {
				err := &InvalidByteError{doc[i], Place{int64(i), countLines(doc[:i]) + 1}}
				return nil, fmt.Errorf("tokenizer: document %d: %w", n, err)
			}
			seen[r] = struct{}{}
		}
	}
	for c, ok := range ascii {
		if ok {
			seen[rune(c)] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// appendChars appends the tokens of text to dst and returns how many bytes they
// cover. If text is not final, it may end within a character.
func (t *Tokenizer) appendChars(dst []int32, text []byte, final bool) ([]int32, int, error) {
	for i := 0; i < len(text); {
		r, w := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && w == 1 {
			if !final && !utf8.FullRune(text[i:]) {
				return dst, i, nil
			}
			return dst, i, &InvalidByteError{Byte: text[i]}
		}
		id := t.chars.id(r)
		if id < 0 {
			return dst, i, &UnseenCharError{Char: r}
		}
		dst = append(dst, id)
		i += w
	}
	return dst, len(text), nil
}

// known returns the length of text before the first character of which a byte is no token, and the error if it is
// certain: text that is not final may end within a character.
func (t *Tokenizer) known(text []byte, final bool) (n int, err error) {
	at := slices.IndexFunc(text, func(c byte) bool { return t.byteID[c] < 0 })
	if at < 0 {
		return len(text), nil
	}
	for n = at; n > 0 && at-n < utf8.UTFMax-1 && !utf8.RuneStart(text[n]); n-- {
	}
	r, w := utf8.DecodeRune(text[n:])
	switch {
	case n+w > at && (r != utf8.RuneError || w > 1):
		return n, &UnseenCharError{Char: r}
	case !final && !utf8.FullRune(text[n:]):
		return n, nil
	}
	return at, &InvalidByteError{Byte: text[at]}
}

// gapNote says which bytes of text are no token, if valid UTF-8 has them.
func (t *Tokenizer) gapNote() []string {
	var list []string
	for c, id := range t.byteID {
		if id < 0 && t.kind != KindChars && !t.byChar && (c < 0xf5 && c != 0xc0 && c != 0xc1) {
			list = append(list, fmt.Sprintf("0x%02x", c))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("tokenizer.json has no token for %d of the 256 bytes (%s): text that holds one is "+
		"refused", len(list), strings.Join(list[:min(len(list), 8)], ", "))}
}

// locate sets the place in an error of appendChars or known.
func locate(err error, offset, lines int64) {
	switch e := err.(type) {
	case *UnseenCharError:
		e.Place = Place{offset, lines + 1}
	case *InvalidByteError:
		e.Place = Place{offset, lines + 1}
	}
}

func countLines(text []byte) int64 { return int64(bytes.Count(text, []byte{'\n'})) }

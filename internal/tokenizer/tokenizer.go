package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"unicode/utf8"
)

// The kinds of a Tokenizer.
const (
	KindBPE   = "bpe"
	KindBytes = "bytes"
	KindChars = "chars"
)

// EndOfText is the text that names the end-of-text token of every tokenizer
// made by this package.
const EndOfText = "<|endoftext|>"

// Tokenizer maps text to token ids and back. Its ids are dense: 0 to
// VocabSize()-1, the vocabulary first and the special tokens last in every
// tokenizer made here. It is safe for concurrent use.
type Tokenizer struct {
	kind   string
	spell  []byte   // what the tokens spell, end to end in id order
	starts []uint32 // (VocabSize+1) token i spells spell[starts[i]:starts[i+1]]
	added  []added  // tokens outside the vocabulary proper, by ascending id
	eos    int32
	bos    int32 // -1 if there is none

	// bpe and bytes
	split  split
	byteID [256]int32
	merges []merge
	pairs  pairTable
	words  map[string]int32 // tokens that a piece becomes without merging; nil: none
	pool   sync.Pool        // *scratch, for Append

	front, frontSpecial []stage   // what text passes before it is cut into pieces
	encoders, specials  sync.Pool // *Encoder, for Append and AppendSpecial with stages

	// chars
	ascii [utf8.RuneSelf]int32 // -1 if not in the alphabet
	runes map[rune]int32

	nfc  bool                    // text is normalized
	json func() ([]byte, string) // the file and its hash, made on first use
}

// added is a token outside the vocabulary proper.
type added struct {
	id         int32
	content    string
	special    bool // spells nothing when decoded, and plain text never yields it
	normalized bool // it is looked for in normalized text
	inVocab    bool // the file lists it in the vocabulary, too
}

// merge joins the tokens a and b into the token id. Its rank is its index.
type merge struct{ a, b, id int32 }

// NewBytes returns the tokenizer of 256 byte tokens (id = byte) and the
// end-of-text token, 256.
func NewBytes() *Tokenizer {
	vocab := make([][]byte, 256)
	for i := range vocab {
		vocab[i] = []byte{byte(i)}
	}
	return build(KindBytes, splitNone, vocab, nil, []added{{id: 256, content: EndOfText, special: true}})
}

// NewChars returns the tokenizer of the given characters, which get the ids
// 0, 1, … in the order of their code points (duplicates count once), and the
// end-of-text token after them.
// It panics if alphabet holds something that is not a Unicode scalar value.
func NewChars(alphabet []rune) *Tokenizer {
	alphabet = slices.Clone(alphabet)
	slices.Sort(alphabet)
	alphabet = slices.Compact(alphabet)
	vocab := make([][]byte, len(alphabet))
	for i, r := range alphabet {
		if !utf8.ValidRune(r) {
			panic("tokenizer: invalid character")
		}
		vocab[i] = utf8.AppendRune(nil, r)
	}
	return build(KindChars, splitNone, vocab, nil, []added{{id: int32(len(vocab)), content: EndOfText, special: true}})
}

// CollectChars returns the characters that occur in docs, by code point.
// It fails on the first error of docs and on bytes that are not UTF-8
// (an *InvalidByteError within an error that numbers the document from 1).
func CollectChars(docs iter.Seq2[[]byte, error]) ([]rune, error) {
	var ascii [utf8.RuneSelf]bool
	seen := map[rune]struct{}{}
	n := 0
	for doc, err := range docs {
		if err != nil {
			return nil, err
		}
		n++
		for i := 0; i < len(doc); {
			if c := doc[i]; c < utf8.RuneSelf {
				ascii[c] = true
				i++
				continue
			}
			r, w := utf8.DecodeRune(doc[i:])
			if r == utf8.RuneError && w == 1 {
				err := &InvalidByteError{Byte: doc[i], Offset: int64(i), Line: countLines(doc[:i]) + 1}
				return nil, fmt.Errorf("tokenizer: document %d: %w", n, err)
			}
			seen[r] = struct{}{}
			i += w
		}
	}
	var alphabet []rune
	for c, ok := range ascii {
		if ok {
			alphabet = append(alphabet, rune(c))
		}
	}
	for r := range seen {
		alphabet = append(alphabet, r)
	}
	slices.Sort(alphabet)
	return alphabet, nil
}

// build makes a tokenizer of a vocabulary in id order, its merges by rank and
// its added tokens by id, whose ids may lie inside or after the vocabulary. All
// of it is already checked: EndOfText (or its like) is among the added.
func build(kind string, sp split, vocab [][]byte, merges []merge, extra []added) *Tokenizer {
	t := &Tokenizer{kind: kind, split: sp, merges: merges, added: extra, eos: -1, bos: -1}
	n := len(vocab)
	for _, a := range extra {
		n = max(n, int(a.id)+1)
		switch {
		case !a.special:
		case a.content == EndOfText, a.content == "<|end_of_text|>" && t.eos < 0:
			t.eos = a.id
		case a.content == "<|begin_of_text|>":
			t.bos = a.id
		}
	}
	t.setFront()
	t.starts = make([]uint32, 1, n+1)
	next := extra
	for id := range n {
		if len(next) > 0 && int(next[0].id) == id {
			if !next[0].special {
				t.spell = append(t.spell, next[0].content...)
			}
			next = next[1:]
		} else {
			t.spell = append(t.spell, vocab[id]...)
		}
		t.starts = append(t.starts, uint32(len(t.spell)))
	}
	if kind == KindChars {
		for i := range t.ascii {
			t.ascii[i] = -1
		}
		t.runes = make(map[rune]int32, len(vocab))
		for id, v := range vocab {
			r, w := utf8.DecodeRune(v)
			if w == 0 {
				continue // an added token
			}
			if r < utf8.RuneSelf {
				t.ascii[r] = int32(id)
			}
			t.runes[r] = int32(id)
		}
	} else {
		for id, v := range vocab {
			if len(v) == 1 {
				t.byteID[v[0]] = int32(id)
			}
		}
		t.pairs = newPairTable(merges)
		t.pool.New = func() any { return newScratch() }
	}
	t.json = sync.OnceValues(func() ([]byte, string) {
		data := t.writeJSON()
		return data, hash(data)
	})
	return t
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// setFront makes the stages that text passes before it is cut into pieces. Only
// "bpe" has them: the added tokens of other kinds are all special.
func (t *Tokenizer) setFront() {
	if t.kind == KindBPE {
		t.front = stages(t.added, t.nfc, false)
	}
	t.frontSpecial = stages(t.added, t.nfc, true)
}

// Kind returns "bpe", "bytes" or "chars".
func (t *Tokenizer) Kind() string { return t.kind }

// VocabSize returns the number of tokens, special ones included.
func (t *Tokenizer) VocabSize() int { return len(t.starts) - 1 }

// Merges returns the number of merges of a "bpe" tokenizer, otherwise 0.
func (t *Tokenizer) Merges() int { return len(t.merges) }

// EOS returns the id of the end-of-text token.
func (t *Tokenizer) EOS() int32 { return t.eos }

// BOS returns the id of the beginning-of-text token, if there is one.
func (t *Tokenizer) BOS() (id int32, ok bool) { return t.bos, t.bos >= 0 }

// ErrNoBOS says that a start token was asked for that the tokenizer lacks.
var ErrNoBOS = errors.New(`tokenizer: there is no beginning-of-text token; use "eos" or "none"`)

// Added returns the token outside the vocabulary proper that content names, such
// as "<|im_start|>", if there is one.
func (t *Tokenizer) Added(content string) (id int32, ok bool) {
	for _, a := range t.added {
		if a.content == content {
			return a.id, true
		}
	}
	return -1, false
}

// Start returns the token that opens a document: for "eos" the end-of-text
// token, for "bos" the beginning-of-text token (ErrNoBOS if there is none),
// for "none" nothing (ok is false). These are the values of data.start.
func (t *Tokenizer) Start(kind string) (id int32, ok bool, err error) {
	switch kind {
	case "eos":
		return t.eos, true, nil
	case "bos":
		if t.bos < 0 {
			return 0, false, ErrNoBOS
		}
		return t.bos, true, nil
	case "none":
		return 0, false, nil
	}
	return 0, false, fmt.Errorf("tokenizer: unknown start token %q; use eos, bos or none", kind)
}

// Bytes returns what a token spells; nothing for a special token. The result
// must not be changed. It panics if id is not in [0, VocabSize()).
func (t *Tokenizer) Bytes(id int32) []byte {
	if id < 0 || int(id) >= len(t.starts)-1 {
		panic("tokenizer: id out of range")
	}
	return t.spell[t.starts[id]:t.starts[id+1]:t.starts[id+1]]
}

// Decode appends to dst what ids spell: the exact bytes of the encoded text, of
// its normalized form if the tokenizer normalizes. Special tokens spell nothing. It panics if an id is not in [0,
// VocabSize()).
func (t *Tokenizer) Decode(dst []byte, ids []int32) []byte {
	for _, id := range ids {
		dst = append(dst, t.Bytes(id)...)
	}
	return dst
}

// JSON returns the tokenizer as a Hugging Face tokenizer.json: the file it was
// read from, byte for byte, or one that is the same for the same tokenizer. The result must not be changed.
// The error is always nil today.
func (t *Tokenizer) JSON() ([]byte, error) {
	data, _ := t.json()
	return data, nil
}

// Hash returns the SHA-256 of JSON(), in hexadecimal digits.
func (t *Tokenizer) Hash() string {
	_, hash := t.json()
	return hash
}

// UnseenCharError reports a character that is not in the alphabet of a "chars"
// tokenizer.
type UnseenCharError struct {
	Char   rune
	Offset int64 // bytes from the start of the text
	Line   int64 // from 1
}

func (e *UnseenCharError) Error() string {
	return fmt.Sprintf("tokenizer: character %q (%U) at byte %d, line %d is not in the alphabet of this chars "+
		"tokenizer; remove it, or use kind bpe or bytes", e.Char, e.Char, e.Offset, e.Line)
}

// InvalidByteError reports a byte that is not part of valid UTF-8, which a
// "chars" tokenizer cannot take.
type InvalidByteError struct {
	Byte   byte
	Offset int64 // bytes from the start of the text
	Line   int64 // from 1
}

func (e *InvalidByteError) Error() string {
	return fmt.Sprintf("tokenizer: byte 0x%02x at byte %d, line %d is not valid UTF-8, which kind chars needs; "+
		"mend the text, or use kind bpe or bytes", e.Byte, e.Offset, e.Line)
}

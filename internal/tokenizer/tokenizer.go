package tokenizer

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"
	"unicode/utf8"

	"gimbal/internal/bpe"
	"gimbal/internal/split"
)

// The kinds of a Tokenizer.
const (
	KindBPE   = "bpe"
	KindBytes = "bytes"
	KindChars = "chars"
)

// EndOfText names the end-of-text token of every tokenizer made by this package.
const EndOfText = "<|endoftext|>"

// Tokenizer maps text to token ids and back. The ids are 0 to VocabSize()-1; in a tokenizer made here the special
// tokens come last. It is safe for concurrent use.
type Tokenizer struct {
	kind   string
	spell  []byte   // what the tokens spell, end to end in id order
	starts []uint32 // (VocabSize+1) token i spells spell[starts[i]:starts[i+1]]
	added  []added  // tokens outside the vocabulary proper, by ascending id
	eos    int32
	bos    int32   // -1 if there is none
	first  int32   // tokenizer.json puts it before a text; -1: nothing
	begins bool    // documents begin with bos
	ends   []int32 // that end what a model writes, beside eos
	notes  []string

	// bpe and bytes
	split  *split.Split // nil: every byte is a piece, as there are no merges
	byteID [256]int32   // -1 for a byte that is no token
	one    [256]int32   // the token of a piece of one byte
	gaps   bool         // there is a byte that is no token
	merges []bpe.Merge
	pairs  *bpe.Table
	words  map[string]int32 // tokens that a piece becomes without merging; nil: none
	pool   sync.Pool        // *scratch, for Append

	plain, special front // for Append and AppendSpecial

	chars  alphabet // of kind chars, or of a sentencePiece
	normal []change // of the normalizer
	cut    []change // of the pre-tokenizer
	sentencePiece

	json func() ([]byte, string) // the file and its hash, made on first use
}

// front is what happens to text before it is cut into pieces.
type front struct {
	stages   []stage
	encoders sync.Pool // *Encoder that begin with these stages
}

// setFronts makes the stages. Only "bpe" has any for plain text: the added tokens of other kinds are all special.
func (t *Tokenizer) setFronts() {
	if t.kind == KindBPE {
		t.plain.stages = stages(t.added, t.normal, t.cut, false)
	}
	t.special.stages = stages(t.added, t.normal, t.cut, true)
}

// added is a token outside the vocabulary proper.
type added struct {
	id         int32
	content    string
	special    bool // spells nothing when decoded, and plain text never yields it
	normalized bool // it is looked for in normalized text
	inVocab    bool // the file lists it in the vocabulary too
	edges      uint8
}

// The names of the special tokens that end or begin a text, the likeliest first.
var (
	endNames   = []string{EndOfText, "<|end_of_text|>", "</s>", "<eos>", "<｜end▁of▁sentence｜>"}
	beginNames = []string{"<|begin_of_text|>", "<s>", "<bos>", "<｜begin▁of▁sentence｜>"}
)

// findAdded returns where a token is among those that were added, which are sorted by id.
func findAdded(all []added, id int32) (i int, ok bool) {
	return slices.BinarySearchFunc(all, id, func(a added, id int32) int { return cmp.Compare(a.id, id) })
}

// named returns the special token with the first of some names that there is; -1 if there is none.
func named(all []added, names []string) int32 {
	for _, name := range names {
		for _, a := range all {
			if a.special && a.content == name {
				return a.id
			}
		}
	}
	return -1
}

// NewBytes returns the tokenizer of 256 byte tokens (id = byte) and the end-of-text token, 256.
func NewBytes() *Tokenizer {
	vocab := make([][]byte, 256)
	for i := range vocab {
		vocab[i] = []byte{byte(i)}
	}
	return build(KindBytes, nil, vocab, nil, []added{{id: 256, content: EndOfText, special: true}})
}

// NewChars returns the tokenizer of the given characters, which get the ids 0, 1, … by code point (duplicates count
// once), and the end-of-text token after them. It panics if one is not a Unicode scalar value.
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
	return build(KindChars, nil, vocab, nil, []added{{id: int32(len(vocab)), content: EndOfText, special: true}})
}

// WithSpecial returns a tokenizer with the given special tokens after the tokens of t, which must have been made here.
// Text gives the same ids as before. It panics if a name is empty or taken.
func (t *Tokenizer) WithSpecial(names ...string) *Tokenizer {
	if t.byChar || t.normal != nil || t.cut != nil || t.words != nil || len(t.plain.stages) > 0 {
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

// build makes a tokenizer of a vocabulary in id order, its merges by rank and its added tokens by id, whose ids may lie
// inside or after the vocabulary. The caller has checked them; an end of text is among the added.
func build(kind string, sp *split.Split, vocab [][]byte, merges []bpe.Merge, extra []added) *Tokenizer {
	t := &Tokenizer{kind: kind, split: sp, merges: merges, added: extra, eos: -1, bos: -1, first: -1}
	n := len(vocab)
	for _, a := range extra {
		n = max(n, int(a.id)+1)
	}
	t.eos, t.bos = named(extra, endNames), named(extra, beginNames)
	t.setFronts()
	t.starts = make([]uint32, 1, n+1)
	next := extra
	for id := range n {
		if len(next) > 0 && int(next[0].id) == id {
			switch {
			case next[0].special:
			case id < len(vocab) && vocab[id] != nil:
				t.spell = append(t.spell, vocab[id]...)
			default:
				t.spell = append(t.spell, next[0].content...)
			}
			next = next[1:]
		} else {
			t.spell = append(t.spell, vocab[id]...)
		}
		t.starts = append(t.starts, uint32(len(t.spell)))
	}
	if kind == KindChars {
		t.chars = newAlphabet(vocab)
	} else {
		for c := range t.byteID {
			t.byteID[c] = -1
		}
		for id, v := range vocab {
			if _, isAdded := findAdded(extra, int32(id)); len(v) == 1 && !isAdded {
				t.byteID[v[0]] = int32(id)
			}
		}
		t.gaps, t.one = slices.Contains(t.byteID[:], -1), t.byteID
		t.pairs = bpe.NewTable(merges)
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

// Kind returns "bpe", "bytes" or "chars".
func (t *Tokenizer) Kind() string { return t.kind }

// VocabSize returns the number of tokens, special ones included.
func (t *Tokenizer) VocabSize() int { return len(t.starts) - 1 }

// Merges returns the number of merges of a "bpe" tokenizer, otherwise 0.
func (t *Tokenizer) Merges() int { return len(t.merges) }

// Added returns the token outside the vocabulary proper with this content, such as "<|im_start|>", if there is one.
func (t *Tokenizer) Added(content string) (id int32, ok bool) {
	for _, a := range t.added {
		if a.content == content {
			return a.id, true
		}
	}
	return -1, false
}

// Bytes returns what a token spells; nothing for a special token. The result must not be changed. It panics if id is
// not in [0, VocabSize()).
func (t *Tokenizer) Bytes(id int32) []byte {
	if id < 0 || int(id) >= len(t.starts)-1 {
		panic("tokenizer: id out of range")
	}
	return t.spell[t.starts[id]:t.starts[id+1]:t.starts[id+1]]
}

// Name returns the name of an added token, or what another token spells. It panics if id is not in [0, VocabSize()).
func (t *Tokenizer) Name(id int32) string {
	for _, a := range t.added {
		if a.id == id {
			return a.content
		}
	}
	return string(t.Bytes(id))
}

// Decode appends to dst what ids spell: the exact bytes of the encoded text, or of its normalized form if the tokenizer
// normalizes. Special tokens spell nothing. A space that the tokenizer puts before a text is taken away again; Bytes of
// the first token has it. It panics if an id is not in [0, VocabSize()).
func (t *Tokenizer) Decode(dst []byte, ids []int32) []byte {
	start := len(dst)
	for _, id := range ids {
		dst = append(dst, t.Bytes(id)...)
	}
	if t.strips && len(dst) > start && dst[start] == ' ' {
		dst = slices.Delete(dst, start, start+1)
	}
	return dst
}

// JSON returns the tokenizer as a Hugging Face tokenizer.json: byte for byte the file it was read from, or else one
// that is the same for the same tokenizer. The result must not be changed. The error is always nil today.
func (t *Tokenizer) JSON() ([]byte, error) {
	data, _ := t.json()
	return data, nil
}

// Hash returns the SHA-256 of JSON(), in hexadecimal digits.
func (t *Tokenizer) Hash() string {
	_, hash := t.json()
	return hash
}

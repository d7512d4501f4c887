package judge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"gimbal/internal/bom"
	"gimbal/internal/safetensors"
)

// tableNames are the tensors that hold a static embedding, as their publishers name them.
var tableNames = []string{
	"embeddings", "embedding.weight", "embeddings.weight", "embeddings.word_embeddings.weight",
	"bert.embeddings.word_embeddings.weight",
}

// static is a frozen table of word-piece vectors: the vector of a text is their mean.
type static struct {
	dims  int
	table []float32 // (V, dims)
	piece wordPiece
}

// OpenEncoder reads a static embedding from a folder with model.safetensors and tokenizer.json (WordPiece), or from the
// safetensors file in such a folder. Of a larger model only its word-piece table is used. Nothing is downloaded.
func OpenEncoder(path string) (Encoder, error) {
	e, err := openStatic(path)
	if err != nil {
		return nil, fmt.Errorf("judge: encoder %s: %w", path, err)
	}
	return e, nil
}

// openRegular opens a regular file and returns its size; a pipe would wait for its writer.
func openRegular(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(path)
	return f, info.Size(), err
}

func readRegular(path string) ([]byte, error) {
	f, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func openStatic(path string) (*static, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	file := path
	if info.IsDir() {
		file = filepath.Join(path, "model.safetensors")
	}
	raw, err := readRegular(filepath.Join(filepath.Dir(file), "tokenizer.json"))
	if err != nil {
		return nil, fmt.Errorf("%w: it needs the tokenizer.json of the model next to it", err)
	}
	piece, err := parseWordPiece(bom.Drop(raw))
	if err != nil {
		return nil, err
	}
	f, size, err := openRegular(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tensors, err := safetensors.Parse(f, size)
	if err != nil {
		return nil, err
	}
	for _, t := range tensors.Tensors() {
		if len(t.Shape) != 2 || !slices.Contains(tableNames, t.Name) {
			continue
		}
		if rows := t.Shape[0]; rows < piece.ids {
			return nil, fmt.Errorf("%s has %d rows for %d word pieces", t.Name, rows, piece.ids)
		}
		e := &static{dims: t.Shape[1], table: make([]float32, t.Shape[0]*t.Shape[1]), piece: piece}
		return e, tensors.ReadF32(e.table, t.Name)
	}
	return nil, fmt.Errorf("it has no table of word pieces; one of %s is expected", strings.Join(tableNames, ", "))
}

func (e *static) Dims() int { return e.dims }

func (e *static) Encode(dst []float64, text []byte) {
	clear(dst)
	ids := e.piece.split(string(text))
	for _, id := range ids {
		for k, v := range e.table[id*e.dims : (id+1)*e.dims] {
			dst[k] += float64(v) / float64(len(ids))
		}
	}
}

// wordPiece is BERT's tokenizer, without the tokens that mark the ends of a text.
type wordPiece struct {
	vocab        map[string]int
	ids          int // one more than the largest id
	prefix       string
	longest      int // characters; a longer word is unknown
	lower, strip bool
	chinese      bool // characters of Chinese are words
}

// parseWordPiece reads a tokenizer.json of type WordPiece.
func parseWordPiece(raw []byte) (w wordPiece, err error) {
	var file struct {
		Normalizer *struct {
			Type         string `json:"type"`
			Lowercase    bool   `json:"lowercase"`
			StripAccents *bool  `json:"strip_accents"`
			Chinese      bool   `json:"handle_chinese_chars"`
		} `json:"normalizer"`
		Model struct {
			Type    string         `json:"type"`
			Vocab   map[string]int `json:"vocab"`
			Prefix  string         `json:"continuing_subword_prefix"`
			Longest int            `json:"max_input_chars_per_word"`
		} `json:"model"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return w, fmt.Errorf("tokenizer.json is not of type WordPiece: %w", err)
		}
		return w, fmt.Errorf("tokenizer.json: %w", err)
	}
	if m := file.Model; m.Type != "WordPiece" || len(m.Vocab) == 0 {
		return w, fmt.Errorf("tokenizer.json is of type %q; only WordPiece is read", m.Type)
	}
	w = wordPiece{vocab: file.Model.Vocab, prefix: file.Model.Prefix, longest: file.Model.Longest}
	if n := file.Normalizer; n != nil {
		if n.Type != "BertNormalizer" {
			return w, fmt.Errorf("tokenizer.json has the normalizer %q; only BertNormalizer is read", n.Type)
		}
		w.lower, w.chinese, w.strip = n.Lowercase, n.Chinese, n.Lowercase
		if n.StripAccents != nil {
			w.strip = *n.StripAccents
		}
	}
	for _, id := range w.vocab {
		if id < 0 {
			return w, fmt.Errorf("tokenizer.json has the id %d", id)
		}
		w.ids = max(w.ids, id+1)
	}
	return w, nil
}

// split returns the pieces of a text. It leaves out words that have none.
//
// Source: the greedy longest match of Wu et al. 2016, as in BERT (Devlin et al. 2018).
func (w *wordPiece) split(text string) (ids []int) {
	if w.strip {
		text = norm.NFD.String(text)
	}
	var word []rune
	flush := func() {
		ids = append(ids, w.pieces(word)...)
		word = word[:0]
	}
	for _, r := range text {
		switch {
		case r == 0 || r == unicode.ReplacementChar || w.strip && unicode.Is(unicode.Mn, r),
			unicode.Is(unicode.Cf, r), unicode.Is(unicode.Cc, r) && !unicode.IsSpace(r):
		case unicode.IsSpace(r):
			flush()
		case punctuation(r), w.chinese && unicode.Is(unicode.Unified_Ideograph, r):
			flush()
			word = append(word, r)
			flush()
		default:
			if w.lower {
				r = unicode.ToLower(r)
			}
			word = append(word, r)
		}
	}
	flush()
	return ids
}

// punctuation reports what BERT takes for punctuation: in ASCII, everything but letters, digits and spaces; elsewhere
// the classes P.
func punctuation(r rune) bool {
	return r < unicode.MaxASCII && r > ' ' && !unicode.IsLetter(r) && !unicode.IsDigit(r) || unicode.IsPunct(r)
}

func (w *wordPiece) pieces(word []rune) (ids []int) {
	if w.longest > 0 && len(word) > w.longest {
		return nil
	}
	prefix := ""
	for at := 0; at < len(word); {
		end := len(word)
		id, ok := w.vocab[prefix+string(word[at:end])]
		for !ok && end > at+1 {
			end--
			id, ok = w.vocab[prefix+string(word[at:end])]
		}
		if !ok {
			return nil // the word is unknown as a whole
		}
		ids = append(ids, id)
		at, prefix = end, w.prefix
	}
	return ids
}

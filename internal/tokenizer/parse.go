package tokenizer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"gimbal/internal/split"
	"gimbal/internal/strictjson"
)

// Limits of a tokenizer.json. The largest known ones have about 33 million bytes.
const (
	MaxFile    = 64 << 20
	maxAdded   = 1 << 16 // added tokens
	maxContent = 1 << 10 // bytes of an added token
	maxNormal  = 16      // normalizers
	maxGrowth  = 16      // times that replacing makes a text longer
)

// ErrFormat marks a tokenizer.json that is broken: not JSON, a key missing or given twice, ids with gaps, merges of
// unknown tokens, too large.
var ErrFormat = errors.New("tokenizer: malformed tokenizer.json")

// UnsupportedError reports a part of a tokenizer.json that is valid but that this package does not implement.
type UnsupportedError struct {
	Key   string // where, such as "pre_tokenizer.type"
	Value string // what is there, shortened
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("tokenizer: tokenizer.json has %s = %s, which is not supported", e.Key, e.Value)
}

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

func unsupported(key string, value any) error { return &UnsupportedError{key, show(value)} }

// show returns a value for a message.
func show(value any) string {
	text := ""
	switch v := value.(type) {
	case string:
		text = quote(v)
	case nil:
		text = "null"
	case object, []any:
		text = "an object or array"
	default:
		text = fmt.Sprint(v)
	}
	if len(text) > 80 {
		text = text[:80] + "…"
	}
	return text
}

// Roles is what a model directory says about its tokens outside tokenizer.json.
type Roles struct {
	// EOS is the id of the end-of-text token; -1: that of <|endoftext|>, else of <|end_of_text|>.
	EOS int32
	// BOS is the id of the beginning-of-text token; -1: that of the token that the file puts first, else of
	// <|begin_of_text|>, else none. Documents begin with it if the file puts it first; see also Mark.
	BOS int32
	// Size is the number of ids of the model; those above the file's tokens spell nothing. 0: as many as the file's.
	Size int
}

// RoleError says that a token cannot have the role that the model gives it.
type RoleError struct {
	Role string // EOS, BOS or Size
	Text string
}

func (e *RoleError) Error() string { return "tokenizer: " + e.Text }

// Parse is ParseAs without Roles.
func Parse(data []byte) (*Tokenizer, error) { return ParseAs(data, Roles{EOS: -1, BOS: -1}) }

// ParseAs reads a tokenizer.json: one written by JSON, or one of others whose parts docs/format/tokenizer.md lists: BPE
// on bytes, BPE or Unigram of SentencePiece. It refuses everything else with an error that wraps ErrFormat or is
// an *UnsupportedError; what it ignores is in Notes. A role that does not fit the file is a *RoleError. The tokenizer
// keeps data.
// Memory: proportional to the length of data, which is at most MaxFile.
func ParseAs(data []byte, roles Roles) (*Tokenizer, error) {
	if len(data) > MaxFile {
		return nil, broken("%d bytes are more than %d", len(data), MaxFile)
	}
	p := &parser{Reader: strictjson.New(data), pipeline: pipeline{growth: 1}}
	p.file()
	if err := p.End(); err != nil {
		if syntax, ok := err.(*strictjson.Error); ok {
			err = broken("%v", syntax)
		}
		return nil, err
	}
	t, err := p.tokenizer(roles)
	if err != nil {
		return nil, err
	}
	t.json = sync.OnceValues(func() ([]byte, string) { return data, hash(data) })
	return t, nil
}

// parser reads the file from its first byte to its last, and stops at the first error.
type parser struct {
	*strictjson.Reader
	modelPart
	pipeline

	added   []added
	first   string   // the token that the template puts before a text
	ignored []string // truncation and padding, where they are set
	notes   []string // what the file says and nothing here does
}

// modelPart is what the file says of the model.
type modelPart struct {
	vocab        map[string]int32
	merges       [][2]string
	scores       []float64 // of a Unigram, by id
	unknown      string    // unk_token
	fuse         bool      // fuse_unk
	fallback     bool      // byte_fallback
	ignoreMerges bool
}

// pipeline is what it says of text on its way to the model and back.
type pipeline struct {
	normal, cut   []change // of the normalizer and of the pre_tokenizer
	growth        int      // by how much normal may make a text longer
	split         *split.Split
	byteLevel     bool   // the pre_tokenizer has a ByteLevel
	words         bool   // it cuts before each space
	noBlanks      bool   // the normalizer leaves none
	wantsNoBlanks string // what is not done, since there are none
	decoding      decoding
}

func (p *parser) file() {
	model := false
	p.fields("the file", func(key string) {
		switch key {
		case "version":
			p.expect(key, p.value(), "1.0")
		case "truncation", "padding":
			if string(p.Value()) != "null" {
				p.ignored = append(p.ignored, key)
			}
		case "normalizer":
			p.normalizer(key, p.component(key))
		case "added_tokens":
			p.items(key, func(i int) {
				if i == maxAdded {
					p.Fail(broken("more than %d added tokens", maxAdded))
				}
				p.addedToken(fmt.Sprintf("added_tokens[%d]", i), p.value())
			})
		case "pre_tokenizer":
			p.preTokenizer(key, p.component(key))
		case "post_processor":
			p.postProcessor(key, p.component(key))
		case "decoder":
			p.decoder(key, p.component(key))
		case "model":
			model = true
			p.model()
		default:
			p.Fail(unsupported(key, "set"))
		}
	})
	if !model {
		p.Fail(broken("no model"))
	}
	if len(p.ignored) > 0 {
		const text = "tokenizer.json has %s, which is ignored: a tokenizer neither fills documents up nor cuts them here"
		p.notes = append(p.notes, fmt.Sprintf(text, strings.Join(p.ignored, " and ")))
	}
}

func (p *parser) addedToken(where string, got any) {
	var a added
	var id any
	var word, left, right bool
	p.expect(where, got, object{"id": &id, "content": &a.content, "special": &a.special, "normalized": &a.normalized,
		"single_word": &word, "lstrip": &left, "rstrip": &right})
	for edge, set := range map[uint8]bool{singleWord: word, leftSpaces: left, rightSpaces: right} {
		if set {
			a.edges |= edge
		}
	}
	if a.content == "" || id == nil {
		p.Fail(broken("%s lacks its content or id", where))
	}
	if len(a.content) > maxContent {
		p.Fail(broken("%s has a content of %d bytes, more than %d", where, len(a.content), maxContent))
	}
	a.id = p.id(where, "id", id)
	p.added = append(p.added, a)
}

func (p *parser) id(where, name string, v any) int32 {
	n, _ := v.(jsonNumber)
	id, err := strconv.ParseUint(string(n), 10, 31)
	if err != nil {
		p.Fail(broken("%s %s: %s is not a token id", where, quote(name), show(v)))
	}
	return int32(id)
}

func (p *parser) model() {
	rest := object{}
	p.fields("model", func(key string) {
		where := "model." + key
		switch key {
		case "vocab":
			if p.vocab = map[string]int32{}; p.Kind() == '[' {
				p.items(where, p.scored)
			} else {
				p.fields(where, func(name string) { p.vocab[name] = p.id(where, name, p.value()) })
			}
		case "merges":
			p.items(where, func(i int) { p.merges = append(p.merges, p.merge(i)) })
		default:
			rest[key] = p.value()
		}
	})
	if rest["type"] == "Unigram" && p.scores != nil {
		var unknown any
		p.expect("model", rest, object{"type": "Unigram", "unk_id": &unknown, "byte_fallback": &p.fallback})
		id := p.id("model", "unk_id", unknown)
		for name, i := range p.vocab {
			if i == id {
				p.unknown = name
			}
		}
		return
	}
	if p.scores != nil {
		p.Fail(broken("model.vocab is an array, and the type is not Unigram"))
	}
	p.expect("model", rest, object{"type": "BPE", "dropout": nil, "continuing_subword_prefix": oneOf{nil, ""},
		"end_of_word_suffix": oneOf{nil, ""}, "fuse_unk": &p.fuse, "byte_fallback": &p.fallback, "unk_token": anyScalar,
		"ignore_merges": &p.ignoreMerges})
	p.unknown, _ = rest["unk_token"].(string)
	if p.vocab == nil {
		p.Fail(broken("no model.vocab"))
	}
}

// scored reads a token of a Unigram: ["▁the", -3.5].
func (p *parser) scored(i int) {
	where := fmt.Sprintf("model.vocab[%d]", i)
	pair, _ := p.value().([]any)
	if len(pair) != 2 {
		p.Fail(broken("%s is not a token and its score", where))
		return
	}
	name, isName := pair[0].(string)
	number, _ := pair[1].(jsonNumber)
	score, err := strconv.ParseFloat(string(number), 64)
	if _, twice := p.vocab[name]; !isName || err != nil || twice {
		p.Fail(broken("%s is not a new token and its score", where))
	}
	p.vocab[name], p.scores = int32(i), append(p.scores, score)
}

// merge reads a merge, which is "a b" or ["a", "b"].
func (p *parser) merge(i int) (m [2]string) {
	fault := func() { p.Fail(broken("merges[%d] is not two tokens", i)) }
	switch p.Kind() {
	case '"':
		if a, b, _ := strings.Cut(p.Text(), " "); !strings.Contains(b, " ") {
			m = [2]string{a, b}
		}
	case '[':
		p.Array(func(k int) {
			if k >= len(m) || p.Kind() != '"' {
				fault()
			} else {
				m[k] = p.Text()
			}
		})
	}
	if m[0] == "" || m[1] == "" {
		fault()
	}
	return m
}

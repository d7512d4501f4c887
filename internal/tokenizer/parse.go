package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"gimbal/internal/strictjson"
)

// MaxFile bounds the size of a tokenizer.json in bytes; the largest known ones
// have about 33 million.
const MaxFile = 64 << 20

// maxAdded bounds the added tokens, and maxContent the bytes of one of them.
const (
	maxAdded   = 1 << 16
	maxContent = 1 << 10
)

// ErrFormat marks a tokenizer.json that is broken: not JSON, a key missing or
// given twice, ids with gaps, merges of unknown tokens, too large.
var ErrFormat = errors.New("tokenizer: malformed tokenizer.json")

// UnsupportedError reports a part of a tokenizer.json that is valid but that
// this package does not implement.
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

func unsupported(key string, value any) error {
	s, ok := value.(string)
	if ok {
		s = quote(s)
	} else {
		s = fmt.Sprint(value)
	}
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return &UnsupportedError{key, s}
}

// Roles is what a model directory says of its tokens outside tokenizer.json.
type Roles struct {
	// EOS is the id of the end-of-text token; -1: <|endoftext|>, else <|end_of_text|>.
	EOS int32
	// BOS is the id of the beginning-of-text token; -1: the one that the file puts first, else <|begin_of_text|>, else
	// none.
	BOS int32
	// Size is the number of ids that the model has; those above the file's tokens spell nothing. 0: as many as the
	// file's.
	Size int
}

// Parse is ParseAs without Roles.
func Parse(data []byte) (*Tokenizer, error) { return ParseAs(data, Roles{EOS: -1, BOS: -1}) }

// ParseAs reads a tokenizer.json: one written by JSON, or a byte-level BPE whose
// split is that of GPT-2, Llama 3 or Qwen 2, with normalization form C or none.
// All else is refused with an error that wraps ErrFormat or is an
// *UnsupportedError: nothing in the file is ignored. A role that does not fit
// the file is a *RoleError. The tokenizer keeps data.
// Memory: proportional to the length of data, which is at most MaxFile.
func ParseAs(data []byte, roles Roles) (*Tokenizer, error) {
	if len(data) > MaxFile {
		return nil, broken("%d bytes are more than %d", len(data), MaxFile)
	}
	p := &parser{Reader: strictjson.New(data)}
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

// RoleError says that a token cannot play the part that the model gives it.
type RoleError struct {
	Role string // EOS, BOS or Size
	Text string
}

func (e *RoleError) Error() string { return "tokenizer: " + e.Text }

// parser reads the file from its first byte to its last, and stops at the first error.
type parser struct {
	*strictjson.Reader

	added        []added
	vocab        map[string]int32
	merges       [][2]string
	split        split
	nfc          bool
	pre          bool   // there is a pre_tokenizer; it is or ends in ByteLevel
	first        string // the token that the template puts before a text
	decoder      string // ByteLevel, Fuse or nothing
	unknown      string // unk_token, which has no effect where every byte is a token
	ignoreMerges bool
}

// object reads an object that starts here and calls field at each value.
func (p *parser) object(where string, field func(key string)) {
	if p.Kind() != '{' {
		p.Fail(broken("%s is not an object", where))
	}
	p.Object(func(key []byte) { field(string(key)) })
}

// array reads an array that starts here and calls item at each element.
func (p *parser) array(where string, item func(i int)) {
	if p.Kind() != '[' {
		p.Fail(broken("%s is not an array", where))
	}
	p.Array(item)
}

// component reads an object that tells its kind under "type", or null, in which
// case the kind is "". Its fields must be scalars, but for those that nested
// reads.
func (p *parser) component(where string, nested func(key string) bool) map[string]any {
	got := map[string]any{}
	switch p.Kind() {
	case 'n':
		p.Value()
		return got
	case '{':
	default:
		p.Fail(broken("%s is neither an object nor null", where))
	}
	p.object(where, func(key string) {
		if nested != nil && nested(key) {
			got[key] = true
			return
		}
		got[key] = p.scalar(where + "." + key)
	})
	if typ, ok := got["type"].(string); !ok || typ == "" {
		p.Fail(broken("%s has no type", where))
	}
	return got
}

// jsonNumber is a number as it is written.
type jsonNumber string

// scalar reads a string, a number, a bool or null.
func (p *parser) scalar(where string) any {
	switch p.Kind() {
	case '"':
		return p.Text()
	case '{', '[':
		p.Fail(unsupported(where, "an object or array"))
	}
	switch v := string(p.Value()); v {
	case "true", "false":
		return v == "true"
	case "null", "": // the latter after an error
		return nil
	default:
		return jsonNumber(v)
	}
}

// expect refuses fields of a component other than those wanted. A wanted value
// of nil allows anything, a slice any of its elements.
func (p *parser) expect(where string, got, want map[string]any) {
	for _, key := range append([]string{"type"}, sortedKeys(got)...) { // the type tells most
		w, ok := want[key]
		allowed, many := w.([]any)
		switch {
		case !ok:
			p.Fail(unsupported(where+"."+key, got[key]))
		case w != nil && !many && got[key] != w, many && !slices.Contains(allowed, got[key]):
			p.Fail(unsupported(where+"."+key, got[key]))
		}
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (p *parser) file() {
	model := false
	p.object("the file", func(key string) {
		switch key {
		case "version":
			if v := p.scalar(key); v != "1.0" {
				p.Fail(unsupported(key, v))
			}
		case "truncation", "padding":
			if string(p.Value()) != "null" {
				p.Fail(unsupported(key, "set"))
			}
		case "normalizer":
			if got := p.component(key, nil); len(got) > 0 {
				p.expect(key, got, map[string]any{"type": "NFC"})
				p.nfc = true
			}
		case "added_tokens":
			p.array(key, func(i int) {
				if i == maxAdded {
					p.Fail(broken("more than %d added tokens", maxAdded))
				}
				p.addedToken(fmt.Sprintf("added_tokens[%d]", i))
			})
		case "pre_tokenizer":
			p.preTokenizer()
		case "post_processor":
			p.postProcessor(key, true)
		case "decoder":
			if got := p.component(key, nil); len(got) > 0 {
				p.expect(key, got, map[string]any{"type": []any{"ByteLevel", "Fuse"},
					"add_prefix_space": nil, "trim_offsets": nil, "use_regex": nil})
				p.decoder, _ = got["type"].(string)
			}
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
}

func (p *parser) addedToken(where string) {
	a := added{id: -1}
	p.object(where, func(key string) {
		v := p.scalar(where + "." + key)
		flag, isFlag := v.(bool)
		switch key {
		case "id":
			a.id = p.id(where, key, v)
			return
		case "content":
			a.content, _ = v.(string)
			return
		case "special":
			a.special = flag
		case "normalized":
			a.normalized = flag
		case "single_word", "lstrip", "rstrip":
			if flag {
				p.Fail(unsupported(where+"."+key, v))
			}
		default:
			p.Fail(unsupported(where+"."+key, v))
		}
		if !isFlag {
			p.Fail(broken("%s.%s is not true or false", where, key))
		}
	})
	if a.content == "" || a.id < 0 {
		p.Fail(broken("%s lacks its content or id", where))
	}
	if len(a.content) > maxContent {
		p.Fail(broken("%s has a content of %d bytes, more than %d", where, len(a.content), maxContent))
	}
	p.added = append(p.added, a)
}

// id returns the token id v, which is a JSON number.
func (p *parser) id(where, name string, v any) int32 {
	n, _ := v.(jsonNumber)
	id, err := strconv.ParseUint(string(n), 10, 31)
	if err != nil {
		p.Fail(broken("%s %s: %v is not a token id", where, quote(name), v))
		return -1
	}
	return int32(id)
}

func (p *parser) model() {
	p.object("model", func(key string) {
		where := "model." + key
		switch key {
		case "vocab":
			p.vocab = map[string]int32{}
			p.object(where, func(name string) {
				p.vocab[name] = p.id(where, name, p.scalar(where))
			})
		case "merges":
			p.array(where, func(i int) {
				p.merges = append(p.merges, p.merge(i))
			})
		default:
			v := p.scalar(where)
			switch key {
			case "unk_token":
				p.unknown, _ = v.(string)
				return
			case "ignore_merges":
				if flag, isFlag := v.(bool); isFlag {
					p.ignoreMerges = flag
					return
				}
			}
			want, ok := map[string][]any{
				"type":                      {"BPE"},
				"dropout":                   {nil},
				"continuing_subword_prefix": {nil, ""},
				"end_of_word_suffix":        {nil, ""},
				"fuse_unk":                  {false},
				"byte_fallback":             {false},
			}[key]
			if !ok || !slices.Contains(want, v) {
				p.Fail(unsupported(where, v))
			}
		}
	})
	if p.vocab == nil {
		p.Fail(broken("no model.vocab"))
	}
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

package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
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
	EOS  int32 // id of the end-of-text token; -1: <|endoftext|>, else <|end_of_text|>
	BOS  int32 // id of the beginning-of-text token; -1: the one that the file puts first, else <|begin_of_text|>, else none
	Size int   // ids that the model has; those above the file's tokens spell nothing. 0: as many as the file's
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
	if !utf8.Valid(data) {
		return nil, broken("not UTF-8")
	}
	p := &parser{dec: json.NewDecoder(bytes.NewReader(data))}
	p.dec.UseNumber()
	p.file()
	if p.err == nil {
		if _, err := p.dec.Token(); err != io.EOF {
			p.fail(broken("more data after the end, at byte %d", p.dec.InputOffset()))
		}
	}
	if p.err != nil {
		return nil, p.err
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

// parser reads the file token by token and keeps the first error.
type parser struct {
	dec *json.Decoder
	err error

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

func (p *parser) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// token returns the next JSON token; nil after an error.
func (p *parser) token() json.Token {
	if p.err != nil {
		return nil
	}
	tok, err := p.dec.Token()
	if err != nil {
		p.fail(broken("byte %d: %v", p.dec.InputOffset(), err))
		return nil
	}
	return tok
}

// object reads an object that starts here, with each key at most once, and
// calls field at each value.
func (p *parser) object(where string, field func(key string)) {
	if p.token() != json.Delim('{') {
		p.fail(broken("%s is not an object", where))
		return
	}
	p.fields(where, field)
}

func (p *parser) fields(where string, field func(key string)) {
	seen := map[string]bool{}
	for p.err == nil && p.dec.More() {
		key, _ := p.token().(string)
		if seen[key] {
			p.fail(broken("%s has the key %q twice", where, key))
			return
		}
		seen[key] = true
		field(key)
	}
	p.token() // the closing brace
}

// array reads an array that starts here and calls item at each element.
func (p *parser) array(where string, item func(i int)) {
	if p.token() != json.Delim('[') {
		p.fail(broken("%s is not an array", where))
		return
	}
	for i := 0; p.err == nil && p.dec.More(); i++ {
		item(i)
	}
	p.token()
}

// component reads an object that tells its kind under "type", or null, in which
// case the kind is "". Its fields must be scalars, but for those that nested
// reads.
func (p *parser) component(where string, nested func(key string) bool) map[string]any {
	switch p.token() {
	case nil:
		return map[string]any{}
	case json.Delim('{'):
	default:
		p.fail(broken("%s is neither an object nor null", where))
		return nil
	}
	got := map[string]any{}
	p.fields(where, func(key string) {
		if nested != nil && nested(key) {
			got[key] = true
			return
		}
		got[key] = p.scalar(where + "." + key)
	})
	if typ, ok := got["type"].(string); p.err == nil && (!ok || typ == "") {
		p.fail(broken("%s has no type", where))
	}
	return got
}

func (p *parser) scalar(where string) any {
	tok := p.token()
	if _, ok := tok.(json.Delim); ok {
		p.fail(unsupported(where, "an object or array"))
	}
	return tok
}

// expect refuses fields of a component other than those wanted. A wanted value
// of nil allows anything, a slice any of its elements.
func (p *parser) expect(where string, got, want map[string]any) {
	for _, key := range append([]string{"type"}, sortedKeys(got)...) { // the type tells most
		w, ok := want[key]
		allowed, many := w.([]any)
		switch {
		case !ok:
			p.fail(unsupported(where+"."+key, got[key]))
		case w != nil && !many && got[key] != w, many && !slices.Contains(allowed, got[key]):
			p.fail(unsupported(where+"."+key, got[key]))
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
			if v := p.scalar(key); p.err == nil && v != "1.0" {
				p.fail(unsupported(key, v))
			}
		case "truncation", "padding":
			if p.token() != nil {
				p.fail(unsupported(key, "set"))
			}
		case "normalizer":
			if got := p.component(key, nil); len(got) > 0 {
				p.expect(key, got, map[string]any{"type": "NFC"})
				p.nfc = true
			}
		case "added_tokens":
			p.array(key, func(i int) {
				if i == maxAdded {
					p.fail(broken("more than %d added tokens", maxAdded))
				}
				p.addedToken(fmt.Sprintf("added_tokens[%d]", i))
			})
		case "pre_tokenizer":
			p.preTokenizer()
		case "post_processor":
			p.postProcessor(key, true)
		case "decoder":
			if got := p.component(key, nil); len(got) > 0 {
				p.expect(key, got, map[string]any{"type": []any{"ByteLevel", "Fuse"}, "add_prefix_space": nil, "trim_offsets": nil, "use_regex": nil})
				p.decoder, _ = got["type"].(string)
			}
		case "model":
			model = true
			p.model()
		default:
			p.fail(unsupported(key, "set"))
		}
	})
	if p.err == nil && !model {
		p.fail(broken("no model"))
	}
}

func (p *parser) addedToken(where string) {
	a := added{id: -1}
	p.object(where, func(key string) {
		v := p.scalar(where + "." + key)
		flag, isFlag := v.(bool)
		switch key {
		case "id":
			a.id = p.id(where, v)
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
				p.fail(unsupported(where+"."+key, v))
			}
		default:
			p.fail(unsupported(where+"."+key, v))
		}
		if !isFlag {
			p.fail(broken("%s.%s is not true or false", where, key))
		}
	})
	if p.err == nil && (a.content == "" || a.id < 0) {
		p.fail(broken("%s lacks its content or id", where))
	}
	if len(a.content) > maxContent {
		p.fail(broken("%s has a content of %d bytes, more than %d", where, len(a.content), maxContent))
	}
	p.added = append(p.added, a)
}

// id returns the token id v, which is a JSON number.
func (p *parser) id(where string, v any) int32 {
	n, _ := v.(json.Number)
	id, err := strconv.ParseUint(string(n), 10, 31)
	if err != nil {
		p.fail(broken("%s: %v is not a token id", where, v))
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
				p.vocab[name] = p.id(where+" "+quote(name), p.scalar(where))
			})
		case "merges":
			p.array(where, func(i int) {
				var m [2]string
				switch tok := p.token().(type) {
				case string:
					a, b, ok := strings.Cut(tok, " ")
					if !ok || strings.Contains(b, " ") {
						p.fail(broken("merges[%d] = %s is not two tokens", i, quote(tok)))
					}
					m = [2]string{a, b}
				case json.Delim:
					for k := range m {
						if m[k], _ = p.token().(string); m[k] == "" {
							p.fail(broken("merges[%d] is not two tokens", i))
						}
					}
					if p.token() != json.Delim(']') {
						p.fail(broken("merges[%d] is not two tokens", i))
					}
				default:
					p.fail(broken("merges[%d] is not two tokens", i))
				}
				p.merges = append(p.merges, m)
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
				p.fail(unsupported(where, v))
			}
		}
	})
	if p.err == nil && p.vocab == nil {
		p.fail(broken("no model.vocab"))
	}
}

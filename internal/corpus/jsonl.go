package corpus

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxLine  = 64 << 20
	maxDepth = 1000
)

// lineParser reads lines of JSONL; its messages are used anew for each.
type lineParser struct{ chat []Message }

// parse returns what the JSON object in line holds: a "text", or a conversation in "messages" or in "prompt" and
// "completion". It unescapes in place: the results overwrite line, alias it, and hold until the next call.
//
// encoding/json is not used because it replaces invalid UTF-8 (here kept as bytes), keeps the last of two equal keys, matches
// keys in any case, and cannot say at which byte a value of the wrong type stands. A lone surrogate escape becomes its three
// bytes, which count as invalid UTF-8. Errors are *Error with Byte counted from 0.
func (p *lineParser) parse(line []byte) (text []byte, chat []Message, err error) {
	s := scanner{b: line}
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(*Error) // raised by fail, to leave the recursion
			if !ok {
				panic(r)
			}
			text, chat, err = nil, nil, fault
		}
	}()
	s.space()
	start := s.i
	if s.peek() != '{' {
		s.fail("not a JSON object")
	}
	var at [4]int // where the values of the known keys begin; 0: absent
	s.keep = true // the keys tell which values are wanted
	s.object(1, func(key []byte, keyAt int) {
		if k := slices.Index(lineKeys[:], string(key)); k >= 0 {
			if at[k] > 0 {
				s.i = keyAt
				s.fail(fmt.Sprintf("a second %q", key))
			}
			at[k] = s.i
		}
		s.value(2)
	})
	s.space()
	if s.i < len(s.b) {
		s.fail("text after the object")
	}
	s.keep = false
	isPair := at[promptKey] > 0 && at[completionKey] > 0
	switch {
	case at[textKey] > 0 && at[messagesKey] > 0, at[textKey] > 0 && isPair, at[messagesKey] > 0 && isPair:
		s.i = start
		s.fail("more than one of \"text\", \"messages\", and \"prompt\" with \"completion\"")
	case at[textKey] > 0:
		if s.i = at[textKey]; s.peek() != '"' {
			s.fail("\"text\" is not a string")
		}
		return s.string(), nil, nil
	case at[messagesKey] > 0:
		s.i = at[messagesKey]
		p.chat = s.messages("messages", p.chat[:0], true)
	case isPair:
		s.i = at[promptKey]
		p.chat = s.turn("prompt", User, p.chat[:0], false)
		s.i = at[completionKey]
		p.chat = s.turn("completion", Assistant, p.chat, true)
	default:
		s.i = start
		s.fail("no \"text\", \"messages\", or \"prompt\" with \"completion\"")
	}
	if !slices.ContainsFunc(p.chat, func(m Message) bool { return m.Learn }) {
		s.i = start
		s.fail("a conversation without an answer of the assistant")
	}
	return nil, p.chat, nil
}

var lineKeys = [4]string{"text", "messages", "prompt", "completion"}

const (
	textKey = iota
	messagesKey
	promptKey
	completionKey
)

type scanner struct {
	b    []byte
	i    int
	keep bool // strings are scanned and left as they are written
}

func (s *scanner) fail(what string) { panic(&Error{Byte: int64(s.i), What: what}) }

// peek returns the byte at i, and 0 at the end, which no JSON has outside of a string.
func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\r' || s.b[s.i] == '\n') {
		s.i++
	}
}

func (s *scanner) expect(c byte) {
	if s.peek() != c || s.i == len(s.b) {
		if s.i == len(s.b) {
			s.fail("broken JSON: the line ends early")
		}
		s.fail(fmt.Sprintf("broken JSON: %q expected", c))
	}
	s.i++
}

// object scans {…} and calls member behind each colon; member scans the value.
func (s *scanner) object(depth int, member func(key []byte, at int)) {
	s.expect('{')
	if s.space(); s.peek() == '}' {
		s.i++
		return
	}
	for {
		s.space()
		at := s.i
		key := s.key()
		s.space()
		s.expect(':')
		s.space()
		member(key, at)
		if s.space(); s.peek() != ',' {
			break
		}
		s.i++
	}
	s.expect('}')
}

func (s *scanner) value(depth int) {
	if depth > maxDepth {
		s.fail("nested deeper than 1000")
	}
	switch c := s.peek(); {
	case c == '"':
		s.string()
	case c == '{':
		s.object(depth, func([]byte, int) { s.value(depth + 1) })
	case c == '[':
		s.i++
		if s.space(); s.peek() == ']' {
			s.i++
			return
		}
		for {
			s.space()
			s.value(depth + 1)
			if s.space(); s.peek() != ',' {
				break
			}
			s.i++
		}
		s.expect(']')
	case c == '-' || c >= '0' && c <= '9':
		s.number()
	default:
		for _, word := range []string{"true", "false", "null"} {
			if bytes.HasPrefix(s.b[s.i:], []byte(word)) {
				s.i += len(word)
				return
			}
		}
		if s.i == len(s.b) {
			s.fail("broken JSON: the line ends early")
		}
		s.fail("broken JSON: a value expected")
	}
}

func (s *scanner) digits() {
	from := s.i
	for s.peek() >= '0' && s.peek() <= '9' {
		s.i++
	}
	if s.i == from {
		s.fail("broken JSON: a digit expected")
	}
}

func (s *scanner) number() {
	if s.peek() == '-' {
		s.i++
	}
	if s.peek() == '0' {
		s.i++
	} else {
		s.digits()
	}
	if s.peek() == '.' {
		s.i++
		s.digits()
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.i++
		if c := s.peek(); c == '+' || c == '-' {
			s.i++
		}
		s.digits()
	}
}

// key scans the key of an object and returns what it spells, which holds until the next key.
func (s *scanner) key() []byte {
	keep, from := s.keep, s.i
	s.keep = true
	raw := s.string()
	s.keep = keep
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	inner := scanner{b: bytes.Clone(s.b[from:s.i])} // an escape in a key, which nobody writes
	return inner.string()
}

// string scans a string and unescapes it over itself, unless it is to be kept: what it spells is never longer than how it was
// written.
func (s *scanner) string() []byte {
	s.expect('"')
	from := s.i
	w := from
	for s.i < len(s.b) {
		c := s.b[s.i]
		switch {
		case c == '"':
			s.i++
			if s.keep {
				w = s.i - 1
			}
			return s.b[from:w]
		case c < ' ':
			s.fail("broken JSON: a control character in a string")
		case c == '\\' && s.keep:
			var spelled [utf8.UTFMax]byte
			s.escape(spelled[:0])
		case c == '\\':
			w += s.escape(s.b[w:w])
		default:
			if !s.keep {
				s.b[w] = c
				w++
			}
			s.i++
		}
	}
	s.fail("broken JSON: the line ends inside a string")
	return nil
}

// escape reads the escape at i, appends what it spells to dst and returns its length.
func (s *scanner) escape(dst []byte) int {
	if s.i+1 >= len(s.b) {
		s.fail("broken JSON: the line ends inside a string")
	}
	c := s.b[s.i+1]
	if c != 'u' {
		j := strings.IndexByte(`"\/bfnrt`, c)
		if j < 0 {
			s.fail("broken JSON: unknown escape")
		}
		s.i += 2
		return len(append(dst, "\"\\/\b\f\n\r\t"[j]))
	}
	r := s.hex4()
	if utf16.IsSurrogate(r) {
		if s.i+1 < len(s.b) && s.b[s.i] == '\\' && s.b[s.i+1] == 'u' {
			at := s.i
			if full := utf16.DecodeRune(r, s.hex4()); full != utf8.RuneError {
				return len(utf8.AppendRune(dst, full))
			}
			s.i = at
		}
		return len(append(dst, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F))
	}
	return len(utf8.AppendRune(dst, r))
}

// hex4 reads \uXXXX at i.
func (s *scanner) hex4() rune {
	var r rune
	for k := 2; k < 6; k++ {
		if s.i+k >= len(s.b) {
			s.fail("broken JSON: the line ends inside a string")
		}
		c := s.b[s.i+k]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			s.fail("broken JSON: \\u needs four hexadecimal digits")
		}
		r = r<<4 | rune(c)
	}
	s.i += 6
	return r
}

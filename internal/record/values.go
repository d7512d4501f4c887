package record

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

var (
	// ErrLong says that a record has more than MaxBytes.
	ErrLong = errors.New("a record of more than 64 MiB")
	// ErrCutOff says that the records have no end.
	ErrCutOff = errors.New("the file ends inside its records: it is cut off")
)

// Values cuts a stream of JSON into values: the elements of an array, or values one after the other. It looks only at
// brackets and strings; whoever parses a value finds what else is wrong with it.
//
// Memory: one value of at most MaxBytes.
type Values struct {
	br    *bufio.Reader
	pos   int64 // bytes read
	line  int64 // from 1, of the byte that comes next
	begun bool
	array bool
	count int64
	most  int64 // bytes of a value, of which the rest is not read; 0: it is read, and MaxBytes

	Lies // the last value
	buf  []byte
}

// Lies says where a record lies in what is read.
type Lies struct {
	At, Size int64 // bytes
	Line     int64 // from 1, in which it begins
}

// NewValues returns a reader of what br has. If most is not 0, a longer value is not read to its end: it and everything
// after it is ErrLong.
func NewValues(br *bufio.Reader, most int64) *Values { return &Values{br: br, line: 1, most: most} }

const (
	blanks    = " \t\r\n"
	endOfWord = blanks + ",]}"
)

// Next returns the next value, which holds until the one after it; io.EOF after the last. After ErrLong comes the next
// value; after ErrCutOff and an *Error, which are found in Line, nothing can be read.
func (v *Values) Next() ([]byte, error) {
	value, err := v.next()
	if err != nil && err != ErrLong {
		v.Line = v.line
	}
	return value, err
}

func (v *Values) next() ([]byte, error) {
	c, err := v.Peek()
	if err == nil && !v.begun {
		if v.begun, v.array = true, c == '['; v.array {
			v.take(1)
			c, err = v.Peek()
		}
	}
	switch {
	case err == io.EOF && v.array:
		return nil, ErrCutOff
	case err != nil:
		return nil, err
	case v.array && c == ']':
		v.take(1)
		if _, err = v.Peek(); err == nil {
			err = &Error{What: "more data after the end of the array"}
		}
		v.array = false
		return nil, err
	case v.array && v.count > 0 && c != ',':
		return nil, &Error{What: "no comma between two elements of the array"}
	case v.array && v.count > 0:
		v.take(1)
		if _, err = v.Peek(); err == io.EOF {
			return nil, ErrCutOff
		}
	}
	v.count++
	return v.value()
}

// value reads up to the end of the value that begins here.
func (v *Values) value() ([]byte, error) {
	v.At, v.Line, v.buf = v.pos, v.line, v.buf[:0]
	s := scan{array: v.array}
	for done := false; !done; {
		_, err := v.br.Peek(1)
		if err == io.EOF && s.depth == 0 && !s.quoted && v.pos > v.At {
			break // a number or a word at the end
		}
		if err == io.EOF {
			err = ErrCutOff
		}
		if err != nil {
			return nil, err
		}
		b, _ := v.br.Peek(v.br.Buffered())
		var n int
		n, done = s.bytes(b)
		if v.buf = append(v.buf, b[:n]...); v.pos+int64(n)-v.At > MaxBytes {
			v.buf = v.buf[:0]
		}
		v.take(n)
		if v.most > 0 && v.pos-v.At > v.most {
			return nil, ErrLong
		}
	}
	if v.Size = v.pos - v.At; v.Size > MaxBytes {
		return nil, ErrLong
	}
	return v.buf, nil
}

// scan finds the end of a value.
type scan struct {
	depth           int // of brackets
	quoted, escaped bool
	begun, array    bool
}

// bytes reads on. It returns how many of b belong to the value, and whether it ends there.
func (s *scan) bytes(b []byte) (n int, done bool) {
	for i, c := range b {
		switch {
		case s.escaped:
			s.escaped = false
		case s.quoted:
			s.escaped = c == '\\'
			s.quoted = c != '"'
		case s.depth == 0 && strings.IndexByte(endOfWord, c) >= 0 && (s.begun || s.array && c != '}'):
			return i, true // a word ends, or there is none between two commas
		case c == '"':
			s.quoted = true
		case c == '{' || c == '[':
			s.depth++
		case c == '}' || c == ']':
			s.depth--
		}
		begun := s.begun
		if s.begun = true; s.depth <= 0 && !s.quoted && (c == '}' || c == ']' || c == '"' && begun) {
			return i + 1, true
		}
	}
	return len(b), false
}

// Peek passes over white space and returns the next byte without taking it.
func (v *Values) Peek() (byte, error) {
	for {
		b, err := v.br.Peek(1)
		if err != nil {
			return 0, err
		}
		if bytes.IndexByte([]byte(blanks), b[0]) < 0 {
			return b[0], nil
		}
		v.take(1)
	}
}

// take takes bytes that Peek has seen.
func (v *Values) take(n int) {
	b, _ := v.br.Peek(n)
	v.line += int64(bytes.Count(b, []byte("\n")))
	v.br.Discard(n)
	v.pos += int64(n)
}

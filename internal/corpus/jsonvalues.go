package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

var (
	errLong   = errors.New("a record of more than 64 MiB")
	errCutOff = errors.New("the file ends inside its records: it is cut off")
)

// values reads the elements of an array of JSON objects, or objects one after the other.
func (d *documents) values(i int32, off int64) error {
	r := d.newRecords(i)
	v := valueReader{br: d.br, line: 1}
	for {
		raw, err := v.next()
		fault := (*Error)(nil)
		switch {
		case err == nil:
			err = r.take(raw, Ref{Source: i, Offset: off + v.at, Length: v.size}, v.began)
		case err == io.EOF:
			return nil
		case err == errCutOff:
			return r.bad(&Error{What: err.Error()}, v.line)
		case err == errLong:
			err = r.bad(&Error{What: err.Error()}, v.began)
		case errors.As(err, &fault):
			fault.Path, fault.Line, fault.Byte = r.path, v.line, 1
		}
		if err != nil {
			return err
		}
	}
}

// valueReader cuts a stream of JSON into values: the elements of an array, or values one after the other. It looks only
// at brackets and strings; whoever parses a value finds what else is wrong with it.
//
// Memory: one value of at most maxLine.
type valueReader struct {
	br    *bufio.Reader
	pos   int64 // bytes read
	line  int64 // from 1, of the byte that comes next
	begun bool
	array bool
	count int64
	most  int64 // bytes of a value, of which the rest is not read; 0: it is read, and maxLine

	at, size int64 // where the value lies
	began    int64 // its line
	buf      []byte
}

const (
	blanks    = " \t\r\n"
	endOfWord = blanks + ",]}"
)

// next returns the next value, which holds until the one after it; io.EOF after the last. After errLong comes the next
// value; after errCutOff and an *Error nothing can be read.
func (v *valueReader) next() ([]byte, error) {
	c, err := v.peek()
	if err == nil && !v.begun {
		if v.begun, v.array = true, c == '['; v.array {
			v.byte()
			c, err = v.peek()
		}
	}
	switch {
	case err == io.EOF && v.array:
		return nil, errCutOff
	case err != nil:
		return nil, err
	case v.array && c == ']':
		v.byte()
		if _, err = v.peek(); err == nil {
			err = &Error{What: "more data after the end of the array"}
		}
		v.array = false
		return nil, err
	case v.array && v.count > 0 && c != ',':
		return nil, &Error{What: "no comma between two elements of the array"}
	case v.array && v.count > 0:
		v.byte()
		if _, err = v.peek(); err == io.EOF {
			return nil, errCutOff
		}
	}
	v.count++
	return v.value()
}

// value reads up to the end of the value that begins here.
func (v *valueReader) value() ([]byte, error) {
	v.at, v.began, v.buf = v.pos, v.line, v.buf[:0]
	depth, quoted, escaped := 0, false, false
	for {
		b, err := v.br.Peek(1)
		if err == io.EOF && depth == 0 && !quoted && v.pos > v.at {
			break // a number or a word at the end
		}
		if err == io.EOF {
			return nil, errCutOff
		}
		if err != nil {
			return nil, err
		}
		c := b[0]
		if depth == 0 && !quoted && strings.IndexByte(endOfWord, c) >= 0 && (v.pos > v.at || c != '}') {
			break
		}
		v.byte()
		if v.buf = append(v.buf, c); v.pos-v.at > maxLine {
			v.buf = v.buf[:0]
		}
		if v.most > 0 && v.pos-v.at > v.most {
			return nil, errLong
		}
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped = c == '\\'
			quoted = c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth <= 0 && !quoted && (c == '}' || c == ']' || c == '"') {
			break
		}
	}
	if v.size = v.pos - v.at; v.size > maxLine {
		return nil, errLong
	}
	return v.buf, nil
}

// peek passes over white space and returns the next byte without taking it.
func (v *valueReader) peek() (byte, error) {
	for {
		b, err := v.br.Peek(1)
		if err != nil {
			return 0, err
		}
		if bytes.IndexByte([]byte(blanks), b[0]) < 0 {
			return b[0], nil
		}
		v.byte()
	}
}

// byte takes the byte that peek has seen.
func (v *valueReader) byte() {
	c, _ := v.br.ReadByte()
	if v.pos++; c == '\n' {
		v.line++
	}
}

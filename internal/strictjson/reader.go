// Package strictjson reads untrusted JSON: headers and configurations of other people's models, lines of their texts.
// It walks over the tokens of github.com/go-json-experiment/json, which refuses duplicate keys and text that is not
// UTF-8, and adds limits and errors in plain words.
//
// It knows no Go types: a caller says what it expects, and everything else is an error. Files that this program writes
// for itself (log, manifest, state) are read with encoding/json.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"gimbal/internal/bom"
)

// Limits of what is read. The caller, who has the data in memory, limits the total size.
const (
	MaxDepth = 1000    // objects and arrays inside each other
	MaxKey   = 1 << 16 // bytes of a key of an object that is walked: an error copies the keys on its path
)

// Option makes a Reader less strict.
type Option = jsontext.Options

var (
	// AllowDuplicates allows duplicate keys: the caller checks for them, or ignores them.
	AllowDuplicates Option = jsontext.AllowDuplicateNames(true)
	// AllowInvalidUTF8 allows strings with bytes that are not UTF-8, and escapes that are half of a surrogate pair.
	AllowInvalidUTF8 Option = jsontext.AllowInvalidUTF8(true)
)

// Error is the fault of a text.
type Error struct {
	Byte int64 // where it is, from 0
	What string
}

func (e *Error) Error() string { return fmt.Sprintf("%s, at byte %d", e.What, e.Byte) }

// Reader walks over one JSON value, from its first byte to its last. After a fault it stops: it returns empty values,
// calls no callback, and End returns the first fault. The zero value must be Reset. A Reader must not be copied.
//
// Memory: keys and values are parts of the data, unless a key or a string has escapes. An object of which duplicate
// keys are refused costs up to a few times the bytes of its keys.
type Reader struct {
	data  []byte
	from  bytes.Buffer // of data
	dec   jsontext.Decoder
	keyAt int64
	err   error
}

// New returns a Reader of data, which must not change meanwhile.
func New(data []byte, less ...Option) *Reader {
	r := new(Reader)
	r.Reset(data, less...)
	return r
}

// Reset makes r read other data, as New does, and reuses its memory. A byte order mark before the value is dropped,
// and no place counts it.
func (r *Reader) Reset(data []byte, less ...Option) {
	data = bom.Drop(data)
	r.data, r.from, r.err = data, *bytes.NewBuffer(data), nil
	r.dec.Reset(&r.from, less...)
}

// Fail stops the reading with err, unless something has stopped it before.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Failf stops the reading with an *Error at a byte of the data.
func (r *Reader) Failf(at int64, format string, args ...any) {
	r.Fail(&Error{at, fmt.Sprintf(format, args...)})
}

// Failed reports whether something has stopped the reading.
func (r *Reader) Failed() bool { return r.err != nil }

// End returns the first fault: an *Error or the argument of Fail. Data after the value are a fault too.
func (r *Reader) End() error {
	if r.err == nil {
		if rest := bytes.TrimLeft(r.data[r.dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
			r.Failf(int64(len(r.data)-len(rest)), "more data after the end")
		}
	}
	return r.err
}

// At returns where the next key, value or closing bracket begins; at the end, the length of the data.
func (r *Reader) At() int64 {
	at := r.dec.InputOffset()
	for at < int64(len(r.data)) && strings.IndexByte(" \t\r\n,:", r.data[at]) >= 0 {
		at++
	}
	return at
}

// KeyAt returns where the last key that Object passed to a callback begins.
func (r *Reader) KeyAt() int64 { return r.keyAt }

// Kind returns the kind of the next value as its first byte: t for true, f for false, n for null, 0 for any number.
// At the end of an object or array it is the closing bracket. If there is no JSON, it is '!', and a fault.
func (r *Reader) Kind() byte {
	if r.err == nil {
		if kind := r.dec.PeekKind(); kind != jsontext.KindInvalid {
			return byte(kind)
		}
		r.token() // finds what is wrong
	}
	return '!'
}

// Object reads an object and calls field after each key; field reads the value. The key is valid until field returns.
func (r *Reader) Object(field func(key []byte)) {
	r.each('{', '}', "an object", func(int) {
		r.keyAt = r.At()
		r.token()
		key := unquote(r.since(r.keyAt))
		if len(key) > MaxKey {
			r.Failf(r.keyAt, "a key of more than %d bytes", MaxKey)
		}
		if r.err == nil {
			field(key)
		}
	})
}

// Array reads an array and calls item at each element; item reads it.
func (r *Reader) Array(item func(i int)) { r.each('[', ']', "an array", item) }

// each reads what is between brackets.
func (r *Reader) each(open, end byte, what string, item func(i int)) {
	if r.Kind() != open {
		r.Failf(r.At(), "%s is expected", what)
	}
	r.token()
	depth := r.dec.StackDepth()
	for i := 0; r.Kind() != end && r.err == nil; i++ {
		_, before := r.dec.StackIndex(depth)
		item(i)
		if _, now := r.dec.StackIndex(depth); r.err == nil && (now == before || open == '{' && now%2 != 0) {
			panic("strictjson: a callback did not read its value")
		}
	}
	r.token()
}

// Text reads a string.
func (r *Reader) Text() string {
	if r.Kind() != '"' {
		r.Failf(r.At(), "a string is expected")
	}
	return string(unquote(r.Value()))
}

// Size reads an integer from 0 to most, written in plain digits.
func (r *Reader) Size(most int64) int64 {
	at := r.At()
	if r.Kind() != '0' {
		r.Failf(at, "a plain non-negative integer is expected")
	}
	n, err := strconv.ParseUint(string(r.Value()), 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange) || n > uint64(most):
		r.Failf(at, "a number is too large")
	case err != nil:
		r.Failf(at, "a plain non-negative integer is expected")
	}
	if r.err != nil {
		return 0
	}
	return int64(n)
}

// Value reads a value of any kind and returns its JSON, which is a part of the data.
func (r *Reader) Value() []byte {
	at, depth := r.At(), r.dec.StackDepth()
	for r.token(); r.err == nil && r.dec.StackDepth() > depth; {
		r.token()
	}
	return r.since(at)
}

func (r *Reader) token() {
	if r.err != nil {
		return
	}
	if _, err := r.dec.ReadToken(); err != nil {
		r.fault(err)
	} else if r.dec.StackDepth() > MaxDepth {
		r.Failf(r.dec.InputOffset()-1, "nested deeper than %d", MaxDepth)
	}
}

// fault reports an error of the decoder in plain words.
func (r *Reader) fault(err error) {
	at, what := int64(len(r.data)), "the text ends early"
	if next := r.At(); next < at && r.data[next] == '"' {
		what = "the text ends inside a string"
	}
	if syntax := new(jsontext.SyntacticError); errors.As(err, &syntax) {
		at = syntax.ByteOffset
		if errors.Is(err, jsontext.ErrDuplicateName) {
			what = fmt.Sprintf("%.80s comes twice", strings.TrimPrefix(string(syntax.JSONPointer), "/"))
		} else if !errors.Is(err, io.ErrUnexpectedEOF) {
			what = syntax.Err.Error()
		}
	}
	r.Failf(at, "%s", what)
}

// since returns the data from a byte to the present place; nothing after a fault.
func (r *Reader) since(at int64) []byte {
	if r.err != nil {
		return nil
	}
	return r.data[at:r.dec.InputOffset():r.dec.InputOffset()]
}

// unquote returns what a string spells; without escapes it is a part of the string.
func unquote(quoted []byte) []byte {
	if len(quoted) == 0 {
		return nil // after a fault
	}
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	spelled, _ := jsontext.AppendUnquote(nil, quoted) // it was read before; what is not UTF-8 becomes U+FFFD
	return spelled
}

package record

import (
	"errors"
	"fmt"
	"slices"

	"gimbal/internal/chat"
	"gimbal/internal/strictjson"
)

var (
	// ErrNull says that what a record should hold is null.
	ErrNull = errors.New("the text of a record is null")
	// ErrUncounted says that a conversation has answers, and that the record lets none of them count.
	ErrUncounted = errors.New("nothing of a conversation counts")
	// ErrSame says that the two answers of a preference are the same.
	ErrSame = fmt.Errorf("chosen and rejected are the same: %w", ErrUncounted)
)

// MaxBytes is the most bytes of a record.
const MaxBytes = 64 << 20

// Error is what is wrong with a record, and what to do; Advice may be empty.
type Error struct {
	Byte         int64 // where it is in the record, from 0
	What, Advice string
}

func (e *Error) Error() string { return e.What }

// Parser reads records, which are JSON objects, and reuses its memory for each.
type Parser struct {
	fields Fields   // zero: the record is known by its keys
	keys   []string // that are looked at, sorted
	parts  []part   // of each of keys
	shown  func(key string) bool

	record, value strictjson.Reader // the record, and one value in it
	chat          []chat.Message

	Rejected []chat.Message // of the last record, if it is a preference: what Parse returns is the preferred one
	Shared   int            // messages with which both begin
	More     []byte         // of the last record: a JSON object of what the template shows of the whole; nil: nothing
	Ignored  []string       // keys of messages of the last record that are not used
	Known    bool           // the last record has known keys, whatever is wrong with it
}

// part is a value of a record.
type part struct {
	json []byte // nil if it is absent or null
	at   int64  // byte of the record at which it begins
	null bool
}

// New returns a parser of records with these fields; the zero Fields: those that are known.
func New(fields Fields) *Parser {
	keys := fields.Keys()
	return &Parser{fields: fields, keys: keys, parts: make([]part, len(keys))}
}

// Show makes p keep what the template of conversations has a place for, beside role and content: shows says so of a key
// of a record or a message. It is in More then. Other keys are ignored, or refused where words would be lost. nil: all.
func (p *Parser) Show(shows func(key string) bool) *Parser {
	if p.shown = shows; shows != nil {
		p.keys = p.fields.ShownKeys()
		p.parts = make([]part, len(p.keys))
	}
	return p
}

// get returns the value of a key; the zero part for "".
func (p *Parser) get(key string) part {
	if i, ok := slices.BinarySearch(p.keys, key); ok {
		return p.parts[i]
	}
	return part{}
}

// Parse returns the text or the conversation of a record. It unescapes in place: the results overwrite the record,
// alias it, and hold until the next call.
//
// Bytes that are not UTF-8 are kept as they are. A lone surrogate escape becomes its three bytes, which count as
// invalid UTF-8. Only the keys that are read may not come twice. Errors are ErrNull, ErrUncounted, ErrSame, or an
// *Error with Byte counted from 0.
func (p *Parser) Parse(record []byte) (text []byte, turns []chat.Message, err error) {
	r := &p.record
	p.Known = false
	r.Reset(record, strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
	start := r.At()
	if start == int64(len(record)) || record[start] != '{' {
		return nil, nil, &Error{Byte: start, What: "not a JSON object"}
	}
	clear(p.parts)
	p.chat, p.Ignored, p.More, p.Rejected = p.chat[:0], p.Ignored[:0], nil, nil
	r.Object(func(key []byte) {
		at := r.At()
		k, known := slices.BinarySearch(p.keys, string(key))
		if known && p.parts[k].at > 0 {
			fail(r, r.KeyAt(), "a second %q", key)
		}
		json := r.Value()
		if !known {
			return
		}
		if p.parts[k] = (part{json, at, false}); string(json) == "null" {
			p.parts[k] = part{nil, at, true}
		}
	})
	if err := r.End(); err != nil {
		return nil, nil, lineFault(err, 0)
	}
	shape, err := p.shape(record, start)
	if err != nil {
		return nil, nil, err
	}
	if shape.Text != "" {
		text := p.get(shape.Text)
		if text.json[0] != '"' {
			return nil, nil, &Error{Byte: text.at, What: fmt.Sprintf("%q is not a string", shape.Text)}
		}
		return unescape(text.json), nil, nil
	}
	read := p.conversation
	if shape.pairs {
		read = p.preference
	}
	if err := read(shape, start); err != nil {
		return nil, nil, err
	}
	return nil, p.chat, nil
}

// shape finds what the record is.
func (p *Parser) shape(record []byte, start int64) (shape Fields, err error) {
	p.Known = true
	found := p.fields.In(func(key string) bool { return p.get(key).json != nil })
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Fields{}, &Error{Byte: start, What: "more than one of " + listShapes(found),
			Advice: fmt.Sprintf("say which to read, such as data.fields = %q", found[0].setting())}
	}
	there := func(key string) bool { v := p.get(key); return v.json != nil || v.null }
	if p.fields.In(there) != nil {
		return Fields{}, ErrNull
	}
	p.Known = false
	e := p.fields.Unknown("keys", keysOf(record))
	e.Byte = start
	return Fields{}, e
}

// keysOf returns the first keys of an object that is followed by anything.
func keysOf(object []byte) (names []string) {
	r := strictjson.New(object, strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
	r.Object(func(key []byte) {
		if len(names) < maxNames {
			names = append(names, string(key))
		}
		r.Value()
	})
	return names
}

// fail stops the reading of r with an *Error at a byte of what it reads.
func fail(r *strictjson.Reader, at int64, format string, args ...any) {
	r.Fail(&Error{Byte: at, What: fmt.Sprintf(format, args...)})
}

// lineFault turns the fault of a value that begins at byte from of a record into a fault of the record.
func lineFault(err error, from int64) error {
	if syntax, ok := err.(*strictjson.Error); ok {
		return &Error{Byte: from + syntax.Byte, What: "broken JSON: " + syntax.What}
	}
	fault := err.(*Error) // of fail; there are no others
	fault.Byte += from
	return fault
}

package corpus

import (
	"errors"
	"fmt"
	"slices"

	"gimbal/internal/chat"
	"gimbal/internal/strictjson"
)

var (
	errNull      = errors.New("the text of a record is null")
	errUncounted = errors.New("nothing of a conversation counts")
)

// recordParser reads records, which are JSON objects, and reuses its memory for each.
type recordParser struct {
	fields Fields // zero: the record is known by its keys
	keys   []string
	parts  []part // of each of keys
	names  []string

	record, value strictjson.Reader // the record, and one value in it
	chat          []chat.Message
	ignored       []string // keys of messages that are not used
	known         bool     // the last record has known keys, whatever is wrong with it
}

// part is a value of a record.
type part struct {
	json []byte // nil if it is absent or null
	at   int64  // byte of the record at which it begins
	null bool
}

func newRecordParser(fields Fields) *recordParser {
	keys := fields.keys()
	return &recordParser{fields: fields, keys: keys, parts: make([]part, len(keys))}
}

// get returns the value of a key; the zero part for "".
func (p *recordParser) get(key string) part {
	if i := slices.Index(p.keys, key); i >= 0 {
		return p.parts[i]
	}
	return part{}
}

// parse returns the text or the conversation of a record. It unescapes in place: the results overwrite the record,
// alias it, and hold until the next call.
//
// Bytes that are not UTF-8 are kept as they are. A lone surrogate escape becomes its three bytes, which count as
// invalid UTF-8. Only the keys that are read may not come twice. Errors are errNull, errUncounted, or an *Error with
// Byte counted from 0.
func (p *recordParser) parse(record []byte) (text []byte, turns []chat.Message, err error) {
	r := &p.record
	p.known = false
	r.Reset(record, strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
	start := r.At()
	if start == int64(len(record)) || record[start] != '{' {
		return nil, nil, &Error{Byte: start, What: "not a JSON object"}
	}
	clear(p.parts)
	p.names, p.chat, p.ignored = p.names[:0], p.chat[:0], p.ignored[:0]
	r.Object(func(key []byte) {
		at := r.At()
		k, known := slices.BinarySearch(p.keys, string(key))
		if known && p.parts[k].at > 0 {
			fail(r, r.KeyAt(), "a second %q", key)
		}
		if len(p.names) < maxNames {
			p.names = append(p.names, string(key))
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
	shape, err := p.shape(start)
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
	if err := p.conversation(shape, start); err != nil {
		return nil, nil, err
	}
	return nil, p.chat, nil
}

// shape finds what the record is.
func (p *recordParser) shape(start int64) (shape Fields, err error) {
	p.known = true
	var found []Fields
	for _, c := range p.fields.candidates() {
		if c.in(func(key string) bool { return p.get(key).json != nil }) {
			found = append(found, c)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Fields{}, &Error{Byte: start, What: "more than one of " + listShapes(found),
			Advice: fmt.Sprintf("say which to read, such as data.fields = %q", found[0].setting())}
	}
	there := func(key string) bool { v := p.get(key); return v.json != nil || v.null }
	if slices.ContainsFunc(p.fields.candidates(), func(c Fields) bool { return c.in(there) }) {
		return Fields{}, errNull
	}
	p.known = false
	e := p.fields.unknown("keys", p.names)
	e.Byte = start
	return Fields{}, e
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

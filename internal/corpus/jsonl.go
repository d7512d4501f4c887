package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"gimbal/internal/bom"
)

const maxLine = 64 << 20 // bytes of a line, or of another record

var longRecord = Error{What: "a line of more than 64 MiB", Advice: "cut the document, or pass it as a plain text file"}

// lines reads the record of each line of a JSONL file.
func (d *documents) lines(i int32, off int64) error {
	var buf []byte
	r := d.newRecords(i)
	for line := int64(1); ; line++ {
		raw, size, err := readLine(d.br, buf[:0])
		if err != nil && err != io.EOF {
			return err
		}
		if size == 0 {
			return nil
		}
		buf = raw
		ref := Ref{Source: i, Offset: off, Length: size}
		off += size
		if size > maxLine {
			e := longRecord
			err = r.bad(&e, line)
		} else if len(bytes.TrimLeft(raw, " \t\r\n")) == 0 {
			d.t.Blank++
			continue
		} else {
			err = r.take(raw, ref, line)
		}
		if err != nil {
			return err
		}
	}
}

// records turns the records of one source into documents.
type records struct {
	d      *documents
	parser *recordParser
	path   string
	flat   bool // rows of a table: a byte of their JSON is no place in the file
	text   bytes.Reader
}

func (d *documents) newRecords(i int32) *records {
	return &records{d: d, parser: newRecordParser(d.c.opt.fields()), path: d.c.Sources[i].Path}
}

// take gives away what a record holds, which begins in a line. A bad one is counted or ends the reading.
func (r *records) take(raw []byte, ref Ref, line int64) error {
	text, turns, err := r.parser.parse(raw)
	t := r.d.t
	switch {
	case err == errNull:
		t.Nulls++
		return nil
	case err == errUncounted:
		t.Uncounted++
		return nil
	case err != nil:
		e := err.(*Error)
		if r.flat {
			e.Byte = 0
		} else if n := bytes.Count(raw[:min(e.Byte, int64(len(raw)))], []byte("\n")); n > 0 { // a record of several lines
			line += int64(n)
			e.Byte -= int64(bytes.LastIndexByte(raw[:e.Byte], '\n')) + 1
		}
		return r.bad(e, line)
	}
	doc := Document{Ref: ref, Chat: turns}
	if turns == nil {
		r.text.Reset(text)
		doc.Text = &r.text
	}
	t.conversation(turns, r.parser.ignored)
	return r.d.give(doc)
}

// bad counts a bad record, whose Byte counts from 0, or ends the reading.
func (r *records) bad(e *Error, line int64) error {
	e.Path, e.Line, e.Byte = r.path, line, e.Byte+1
	return r.d.c.bad(r.d.t, e)
}

// unescape returns what a JSON string spells, and overwrites the string, which is never shorter. The JSON library
// replaces bytes that are not UTF-8 with U+FFFD; here they stay.
func unescape(quoted []byte) []byte {
	rest := quoted[1 : len(quoted)-1]
	out := rest[:0]
	for {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			return append(out, rest...)
		}
		out = append(out, rest[:i]...)
		c := rest[i+1]
		if rest = rest[i+2:]; c != 'u' {
			out = append(out, "\"\\/\b\f\n\r\t"[strings.IndexByte(`"\/bfnrt`, c)])
			continue
		}
		r := hex4(rest)
		if rest = rest[4:]; !utf16.IsSurrogate(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		pair := rune(utf8.RuneError)
		if bytes.HasPrefix(rest, []byte(`\u`)) {
			pair = utf16.DecodeRune(r, hex4(rest[2:]))
		}
		if pair != utf8.RuneError {
			out = utf8.AppendRune(out, pair)
			rest = rest[6:]
		} else {
			out = append(out, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
		}
	}
}

// hex4 reads the four digits after \u.
func hex4(digits []byte) rune {
	code, _ := strconv.ParseUint(string(digits[:4]), 16, 16) // the JSON was checked
	return rune(code)
}

// beginsWithChat reports whether the first line that is not blank holds a conversation. A broken line does not; it is
// reported when the documents are read.
func beginsWithChat(br *bufio.Reader, fields Fields) (bool, error) {
	var line []byte
	for {
		raw, size, err := readLine(br, line[:0])
		if err != nil && err != io.EOF || size == 0 {
			if err == io.EOF {
				err = nil
			}
			return false, err
		}
		line = raw
		raw = bom.Drop(raw)
		if len(bytes.TrimLeft(raw, " \t\r\n")) == 0 {
			continue
		}
		_, chat, err := newRecordParser(fields).parse(raw)
		return errors.Is(err, errUncounted) || err == nil && chat != nil, nil
	}
}

package corpus

import (
	"bytes"
	"errors"
	"io"

	"gimbal/internal/record"
)

// records turns the records of one source into documents.
type records struct {
	d      *documents
	parser *record.Parser
	path   string
	flat   bool // rows of a table: a byte of their JSON is no place in the file
	text   bytes.Reader
}

func (d *documents) newRecords(i int32) *records {
	return &records{d: d, parser: d.c.opt.parser(), path: d.c.Sources[i].Path}
}

// take gives away what a record holds, which begins in a line. A bad one is counted or ends the reading.
func (r *records) take(raw []byte, ref Ref, line int64) error {
	text, turns, err := r.parser.Parse(raw)
	t := r.d.t
	switch {
	case err == record.ErrNull:
		t.Nulls++
		return nil
	case err == record.ErrUncounted:
		t.Uncounted++
		return nil
	case err == record.ErrSame:
		t.Same++
		return nil
	case err != nil:
		e := err.(*record.Error)
		if r.flat {
			e.Byte = 0
		} else if n := bytes.Count(raw[:min(e.Byte, int64(len(raw)))], []byte("\n")); n > 0 { // a record of several lines
			line += int64(n)
			e.Byte -= int64(bytes.LastIndexByte(raw[:e.Byte], '\n')) + 1
		}
		return r.bad(e, line)
	}
	doc := Document{Ref: ref, Chat: turns, More: r.parser.More, Rejected: r.parser.Rejected, Shared: r.parser.Shared}
	if turns == nil {
		r.text.Reset(text)
		doc.Text = &r.text
	}
	t.conversation(turns, doc.Rejected, r.parser.Ignored)
	return r.d.give(doc)
}

// bad counts a bad record that begins in a line, or ends the reading.
func (r *records) bad(e *record.Error, line int64) error {
	return r.d.c.bad(r.d.t, r.fault(e, line))
}

// fault places what is wrong in the file.
func (r *records) fault(e *record.Error, line int64) *Error {
	return &Error{Path: r.path, Line: line, Byte: e.Byte + 1, What: e.What, Advice: e.Advice}
}

// values reads the elements of an array of JSON objects, or objects one after the other.
func (d *documents) values(i int32, off int64) error {
	r := d.newRecords(i)
	v := record.NewValues(d.br, 0)
	for {
		raw, err := v.Next()
		fault := (*record.Error)(nil)
		switch {
		case err == nil:
			err = r.take(raw, Ref{Source: i, Offset: off + v.At, Length: v.Size}, v.Line)
		case err == io.EOF:
			return nil
		case err == record.ErrCutOff:
			return r.bad(&record.Error{What: err.Error()}, v.Line)
		case err == record.ErrLong:
			err = r.bad(&record.Error{What: err.Error()}, v.Line)
		case errors.As(err, &fault):
			err = r.fault(fault, v.Line)
		}
		if err != nil {
			return err
		}
	}
}

// csv reads the rows of a table of text.
func (d *documents) csv(i int32, off int64) error {
	r := d.newRecords(i)
	r.flat = true
	t, err := record.NewTable(d.br)
	if e, ok := err.(*record.Error); ok {
		return r.fault(e, 1) // without a header there are no rows
	}
	for err == nil {
		var raw []byte
		if raw, err = t.Next(); err == nil {
			err = r.take(raw, Ref{Source: i, Offset: off + t.At, Length: t.Size}, t.Line)
		} else if e, ok := err.(*record.Error); ok {
			err = r.bad(e, t.Line)
		}
	}
	switch err {
	case io.EOF:
		return nil
	case record.ErrFence:
		return r.fault(&record.Error{What: err.Error(), Advice: "close the quote"}, t.Line)
	}
	return err
}

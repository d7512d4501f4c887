package corpus

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"

	"gimbal/internal/strictjson"
)

// fence passes on at most left bytes: a quote that is never closed would make one record of the rest of a file.
type fence struct {
	r    io.Reader
	left int64
}

var errFence = errors.New("a record of more than 64 MiB: perhaps a quote is not closed")

func (f *fence) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, errFence
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, err
}

// tableReader reads the rows of comma- or tab-separated values as JSON objects of strings.
type tableReader struct {
	fence  fence
	csv    *csv.Reader
	header []string
	buf    []byte

	at, size, line int64 // of the row
}

// newTableReader reads the header. Its errors are those of next.
func newTableReader(br *bufio.Reader) (*tableReader, error) {
	t := &tableReader{fence: fence{br, maxLine}}
	line, err := br.Peek(br.Size())
	if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
		return nil, err
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	t.csv = csv.NewReader(&t.fence)
	t.csv.Comma = commaOf(line)
	header, err := t.read()
	if err != nil {
		return nil, err
	}
	for _, name := range header {
		t.header = append(t.header, strings.TrimSpace(name))
	}
	t.csv.ReuseRecord = true
	return t, nil
}

// commaOf returns what separates the names of a header: whichever is there most often.
func commaOf(line []byte) rune {
	comma, most := ',', bytes.Count(line, []byte(","))
	for _, c := range "\t;" {
		if n := bytes.Count(line, []byte(string(c))); n > most {
			comma, most = c, n
		}
	}
	return comma
}

// read reads a row. An *Error with Byte from 0 is about the row alone; io.EOF comes after the last.
func (t *tableReader) read() ([]string, error) {
	t.at, t.fence.left = t.csv.InputOffset(), maxLine
	row, err := t.csv.Read()
	t.size = t.csv.InputOffset() - t.at
	if wrong := (*csv.ParseError)(nil); errors.As(err, &wrong) {
		t.line = int64(wrong.StartLine)
		return nil, &Error{Byte: int64(max(0, wrong.Column-1)), What: "broken row: " + wrong.Err.Error()}
	}
	if err == nil && len(row) > 0 {
		line, _ := t.csv.FieldPos(0)
		t.line = int64(line)
	}
	return row, err
}

// next returns the next row, which holds until the one after it.
func (t *tableReader) next() ([]byte, error) {
	row, err := t.read()
	if err != nil {
		return nil, err
	}
	t.buf = append(t.buf[:0], '{')
	for i, cell := range row {
		if i > 0 {
			t.buf = append(t.buf, ',')
		}
		t.buf = strictjson.AppendQuote(t.buf, t.header[i])
		t.buf = append(t.buf, ':')
		t.buf = strictjson.AppendQuote(t.buf, cell)
	}
	t.buf = append(t.buf, '}')
	return t.buf, nil
}

// csv reads the rows of a table of text.
func (d *documents) csv(i int32, off int64) error {
	r := d.newRecords(i)
	r.flat = true
	t, err := newTableReader(d.br)
	if e, ok := err.(*Error); ok { // without a header there are no rows
		e.Path, e.Line, e.Byte = r.path, 1, 1
	}
	for err == nil {
		var raw []byte
		if raw, err = t.next(); err == nil {
			err = r.take(raw, Ref{Source: i, Offset: off + t.at, Length: t.size}, t.line)
		} else if e, ok := err.(*Error); ok {
			err = r.bad(e, t.line)
		}
	}
	switch err {
	case io.EOF:
		return nil
	case errFence:
		return &Error{Path: r.path, Line: t.line + 1, Byte: 1, What: err.Error(), Advice: "close the quote"}
	}
	return err
}

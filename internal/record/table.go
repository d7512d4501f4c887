package record

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

// ErrFence says that a row has more than MaxBytes. Nothing can be read after it.
var ErrFence = errors.New("a record of more than 64 MiB: perhaps a quote is not closed")

func (f *fence) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, ErrFence
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, err
}

// Table reads the rows of comma- or tab-separated values as JSON objects of strings.
type Table struct {
	fence  fence
	csv    *csv.Reader
	Header []string
	Lies   // the last row
	buf    []byte
}

// NewTable reads the header. Its errors are those of Next.
func NewTable(br *bufio.Reader) (*Table, error) {
	t := &Table{fence: fence{br, MaxBytes}}
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
		t.Header = append(t.Header, strings.TrimSpace(name))
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
func (t *Table) read() ([]string, error) {
	t.At, t.fence.left = t.csv.InputOffset(), MaxBytes
	row, err := t.csv.Read()
	t.Size = t.csv.InputOffset() - t.At
	if wrong := (*csv.ParseError)(nil); errors.As(err, &wrong) {
		t.Line = int64(wrong.StartLine)
		return nil, &Error{Byte: int64(max(0, wrong.Column-1)), What: "broken row: " + wrong.Err.Error()}
	}
	if err == nil && len(row) > 0 {
		line, _ := t.csv.FieldPos(0)
		t.Line = int64(line)
	}
	if errors.Is(err, ErrFence) {
		t.Line++
		return nil, ErrFence
	}
	return row, err
}

// Next returns the next row, which holds until the one after it.
func (t *Table) Next() ([]byte, error) {
	row, err := t.read()
	if err != nil {
		return nil, err
	}
	t.buf = append(t.buf[:0], '{')
	for i, cell := range row {
		if i > 0 {
			t.buf = append(t.buf, ',')
		}
		t.buf = strictjson.AppendQuote(t.buf, t.Header[i])
		t.buf = append(t.buf, ':')
		t.buf = strictjson.AppendQuote(t.buf, cell)
	}
	t.buf = append(t.buf, '}')
	return t.buf, nil
}

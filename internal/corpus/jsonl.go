package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"gimbal/internal/bom"
	"gimbal/internal/record"
)

const maxLine = record.MaxBytes

var longLine = record.Error{What: "a line of more than 64 MiB",
	Advice: "cut the document, or pass it as a plain text file"}

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
			e := longLine
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

// beginsWithChat reports whether the first line that is neither blank nor null holds a conversation. A broken line
// does not; it is reported when the documents are read.
func beginsWithChat(br *bufio.Reader, p *record.Parser) (bool, error) {
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
		_, chat, err := p.Parse(raw)
		if err == record.ErrNull {
			continue
		}
		return errors.Is(err, record.ErrUncounted) || err == nil && chat != nil, nil
	}
}

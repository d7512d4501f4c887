package corpus

import (
	"bytes"
	"context"
	"errors"
	"os"

	"gimbal/internal/parquet"
)

// textColumn is the column of a Parquet file that is read.
const textColumn = "text"

// openTable opens a Parquet file and its text column. The caller closes the file.
func openTable(s *Source) (*os.File, *parquet.Column, error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, nil, cannot("open", s.Path, err)
	}
	var t *parquet.File
	var column *parquet.Column
	info, err := f.Stat()
	if err == nil {
		t, err = parquet.Open(f, info.Size())
	}
	if err == nil {
		column, err = t.Column(textColumn)
	}
	if err != nil {
		f.Close()
		return nil, nil, tableFault(s.Path, err)
	}
	return f, column, nil
}

func tableFault(path string, err error) error {
	return &Error{Path: path, What: "cannot be read as Parquet with a column of text", Err: err,
		Advice: "write it with a string column \"text\", or convert it to .jsonl"}
}

// tableBytes returns the size of the text column, unpacked.
func tableBytes(s *Source) (int64, error) {
	f, column, err := openTable(s)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return column.Bytes(), nil
}

// rows reads the text of each row of a Parquet file.
func (d *documents) rows(ctx context.Context, i int32) error {
	s := &d.c.Sources[i]
	if s.Hash != "" { // pages are read out of order: the whole is compared before
		if _, hash, err := hashFile(ctx, *s, make([]byte, readBuffer)); err != nil {
			return err
		} else if hash != s.Hash {
			return changed(s.Path)
		}
	}
	f, column, err := openTable(s)
	if err != nil {
		return err
	}
	defer f.Close()
	var text bytes.Reader
	row := int64(-1)
	for value, err := range column.Values() {
		row++
		switch {
		case errors.Is(err, parquet.ErrNull):
			err = d.c.bad(d.t, &Error{Path: s.Path, Line: row + 1, Byte: 1, What: "\"text\" is null"})
		case err != nil:
			err = tableFault(s.Path, err)
		case ctx.Err() != nil:
			err = ctx.Err()
		default:
			text.Reset(value)
			err = d.give(Document{Ref: Ref{Source: i, Offset: row, Length: int64(len(value))}, Text: &text})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

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
		return nil, nil, &Error{Path: s.Path, What: "cannot open", Err: cause(err),
			Advice: "make it readable for this user"}
	}
	info, err := f.Stat()
	if err == nil {
		var t *parquet.File
		if t, err = parquet.Open(f, info.Size()); err == nil {
			var column *parquet.Column
			if column, err = t.Column(textColumn); err == nil {
				return f, column, nil
			}
		}
	}
	f.Close()
	return nil, nil, tableFault(s.Path, err)
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

// rows yields the text of each row of a Parquet file.
func (c *Corpus) rows(ctx context.Context, i int32, t *Tally, yield func(Document, error) bool) (bool, error) {
	s := &c.Sources[i]
	if s.Hash != "" { // pages are read out of order: the whole is compared before
		if _, hash, err := hashFile(ctx, *s, make([]byte, readBuffer)); err != nil {
			return false, err
		} else if hash != s.Hash {
			return false, changed(s.Path)
		}
	}
	f, column, err := openTable(s)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var text bytes.Reader
	row := int64(-1)
	for value, err := range column.Values() {
		row++
		if err == nil {
			err = ctx.Err()
		} else if errors.Is(err, parquet.ErrNull) {
			if err := c.bad(t, &Error{Path: s.Path, Line: row + 1, Byte: 1, What: "\"text\" is null"}); err != nil {
				return false, err
			}
			continue
		} else {
			err = tableFault(s.Path, err)
		}
		if err != nil {
			return false, err
		}
		text.Reset(value)
		if !yield(Document{Ref: Ref{Source: i, Offset: row, Length: int64(len(value))}, Text: &text}, nil) {
			return false, nil
		}
	}
	return true, nil
}

package corpus

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"os"
	"slices"

	"gimbal/internal/parquet"
	"gimbal/internal/record"
)

// parquetFile is a Parquet file and what is read of it: a column of text as it is, or rows as records.
type parquetFile struct {
	f      *os.File
	column *parquet.Column // nil: rows are read
	table  *parquet.Table
}

// openParquet opens a file and finds the columns that are read. The caller closes f.
func openParquet(s *Source, opt Options) (p parquetFile, err error) {
	if p.f, err = os.Open(s.Path); err != nil {
		return p, cannot("open", s.Path, err)
	}
	var t *parquet.File
	var columns []string
	info, err := p.f.Stat()
	if err == nil {
		t, err = parquet.Open(p.f, info.Size())
	}
	if err == nil {
		columns, err = t.Columns()
	}
	if err == nil {
		err = p.choose(t, columns, opt)
	}
	if err != nil {
		p.f.Close()
		return p, tableFault(s.Path, err)
	}
	return p, nil
}

// choose opens the columns of the only shape that the file has, or of all.
func (p *parquetFile) choose(t *parquet.File, columns []string, opt Options) (err error) {
	fields := opt.fields()
	found := fields.In(func(key string) bool { return slices.Contains(columns, key) })
	switch {
	case len(found) == 0:
		return fields.Unknown("columns", columns)
	case len(found) == 1 && found[0].Text != "":
		p.column, err = t.Column(found[0].Text)
	default:
		p.table, err = t.Table(opt.keys())
	}
	return err
}

func tableFault(path string, err error) error {
	if e, ok := err.(*record.Error); ok {
		return &Error{Path: path, What: e.What, Advice: e.Advice}
	}
	return &Error{Path: path, What: "cannot be read as Parquet", Err: err,
		Advice: "write it with a string column \"text\" or a list column \"messages\", or convert it to .jsonl"}
}

// lookAtTable sets the size of the columns that are read, unpacked, and whether the first row that is
// not null is a conversation.
func (s *Source) lookAtTable(opt Options) error {
	p, err := openParquet(s, opt)
	if err != nil {
		return err
	}
	defer p.f.Close()
	if p.column != nil {
		s.Text = p.column.Bytes()
		return nil
	}
	s.Text = p.table.Bytes()
	for row, err := range p.table.Rows() {
		if err != nil {
			return tableFault(s.Path, err)
		}
		_, turns, err := opt.parser().Parse(row)
		if err == record.ErrNull {
			continue
		}
		s.chat = turns != nil || errors.Is(err, record.ErrUncounted)
		break
	}
	return nil
}

// rows reads the record of each row of a Parquet file.
func (d *documents) rows(ctx context.Context, i int32) error {
	s := &d.c.Sources[i]
	if s.Hash != "" { // pages are read out of order: the whole is compared before
		if _, hash, err := hashFile(ctx, *s, make([]byte, readBuffer)); err != nil {
			return err
		} else if hash != s.Hash {
			return changed(s.Path)
		}
	}
	p, err := openParquet(s, d.c.opt)
	if err != nil {
		return err
	}
	defer p.f.Close()
	values, take := p.values(d, i)
	row := int64(-1)
	for value, err := range values {
		row++
		switch {
		case errors.Is(err, parquet.ErrNull):
			d.t.Nulls++
			err = nil
		case err != nil:
			err = tableFault(s.Path, err)
		case ctx.Err() != nil:
			err = ctx.Err()
		default:
			err = take(value, Ref{Source: i, Offset: row, Length: int64(len(value))}, row+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// values returns what each row has, and what takes it.
func (p *parquetFile) values(d *documents, i int32) (iter.Seq2[[]byte, error], func([]byte, Ref, int64) error) {
	if p.column == nil {
		r := d.newRecords(i)
		r.flat = true
		return p.table.Rows(), r.take
	}
	var text bytes.Reader
	return p.column.Values(), func(value []byte, ref Ref, _ int64) error {
		text.Reset(value)
		return d.give(Document{Ref: ref, Text: &text})
	}
}

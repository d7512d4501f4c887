package corpus

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"gimbal/internal/bom"
)

const readBuffer = 256 << 10

// errStop says that no more documents are wanted.
var errStop = errors.New("stopped")

// Documents yields every document of the corpus in order. It counts what it skips in t, unless that is nil.
//
// It drops a byte order mark at the start of a file and passes on everything else as it is, valid UTF-8 or not. An
// error is the last thing yielded. Each call reads the files again; calls may run concurrently.
// Memory: one read buffer, and one record or one page of Parquet.
func (c *Corpus) Documents(ctx context.Context, t *Tally) iter.Seq2[Document, error] {
	if t == nil {
		t = new(Tally)
	}
	return func(yield func(Document, error) bool) {
		r := documents{c: c, t: t, br: bufio.NewReaderSize(nil, readBuffer), give: func(d Document) error {
			if !yield(d, nil) {
				return errStop
			}
			return nil
		}}
		for i := range c.Sources {
			switch err := r.source(ctx, int32(i)); err {
			case nil:
			case errStop:
				return
			default:
				yield(Document{}, err)
				return
			}
		}
	}
}

// documents reads the documents of a corpus and gives them away; give returns errStop when no more are wanted.
type documents struct {
	c    *Corpus
	t    *Tally
	br   *bufio.Reader
	give func(Document) error
}

func (d *documents) source(ctx context.Context, i int32) error {
	s := &d.c.Sources[i]
	if s.kind == table {
		return d.rows(ctx, i)
	}
	r, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	d.br.Reset(r)
	var off int64
	head, _ := d.br.Peek(bom.MaxLen) // an error comes again at the next read
	if mark, size := bom.Find(head); mark == "utf-8" {
		d.t.BOMs++
		n, _ := d.br.Discard(size)
		off += int64(n)
	}
	switch s.kind {
	case jsonl:
		return d.lines(i, off)
	case jsonValues:
		return d.values(i, off)
	case csvTable:
		return d.csv(i, off)
	case goSource:
		head, _ := d.br.Peek(sniffBytes)
		n, _ := d.br.Discard(licenceLen(head))
		off += int64(n)
	}
	return d.texts(i, off)
}

// texts cuts a plain file at the separator. What follows the last one is a document unless it is empty.
func (d *documents) texts(i int32, off int64) error {
	sep := []byte(d.c.opt.Separator)
	for first := true; ; first = false {
		if _, err := d.br.Peek(1); err == io.EOF && !first {
			return nil
		} else if err != nil && err != io.EOF {
			return err
		}
		r := &textReader{br: d.br, sep: sep}
		if err := d.give(Document{Ref: Ref{Source: i, Offset: off, Length: -1}, Text: r}); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, r); err != nil { // what the consumer left unread
			return err
		}
		if !r.cut {
			return nil
		}
		off += r.n + int64(len(sep))
	}
}

// textReader reads up to the next separator or the end of the file.
type textReader struct {
	br   *bufio.Reader
	sep  []byte
	n    int64 // bytes read
	done bool
	cut  bool // ended by a separator
}

func (t *textReader) Read(p []byte) (int, error) {
	if t.done {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(t.sep) == 0 {
		n, err := t.br.Read(p)
		t.n += int64(n)
		t.done = err == io.EOF
		return n, err
	}
	b, err := t.br.Peek(min(readBuffer, len(p)+len(t.sep)))
	if err != nil && err != io.EOF {
		return 0, err
	}
	n := bytes.Index(b, t.sep)
	switch {
	case n == 0:
		t.done, t.cut = true, true
		_, err = t.br.Discard(len(t.sep))
		return 0, cmp.Or(err, io.EOF)
	case n > 0:
	case err == io.EOF: // all that is left
		if n = len(b); n == 0 {
			t.done = true
			return 0, io.EOF
		}
	default: // the last bytes may begin a separator
		n = len(b) - len(t.sep) + 1
	}
	n = copy(p, b[:n])
	t.n += int64(n)
	_, err = t.br.Discard(n)
	return n, err
}

// readLine appends the next line without its end to dst, and returns the line's size with it. It keeps nothing of a
// line longer than maxLine. At the end of the file size is 0.
func readLine(br *bufio.Reader, dst []byte) (line []byte, size int64, err error) {
	for {
		part, err := br.ReadSlice('\n')
		if size += int64(len(part)); size <= maxLine {
			dst = append(dst, part...)
		} else {
			dst = dst[:0]
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSuffix(dst, []byte("\n")), size, err
		}
	}
}

const textPiece = 1 << 20

// Texts yields the corpus as pieces of at most 1 MiB, each of one document, for training a tokenizer or collecting
// characters. A longer document is cut after a newline if there is one near, else between characters. Each message of a
// conversation is a text of its own, after a line with its role. A piece is valid until the next.
func (c *Corpus) Texts(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		buf := make([]byte, textPiece)
		for doc, err := range c.Documents(ctx, nil) {
			if err != nil {
				yield(nil, err)
				return
			}
			if doc.Text != nil && !pieces(doc.Text, buf, yield) {
				return
			}
			for _, m := range doc.Chat {
				text := io.MultiReader(strings.NewReader(m.Role+"\n"), bytes.NewReader(m.Text))
				if !pieces(text, buf, yield) {
					return
				}
			}
		}
	}
}

// pieces yields a text in pieces of at most buf; it returns false when no more are wanted.
func pieces(text io.Reader, buf []byte, yield func([]byte, error) bool) bool {
	have := 0
	for end := false; !end; {
		n, err := io.ReadFull(text, buf[have:])
		end = err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !end {
			yield(nil, err)
			return false
		}
		have += n
		cut := have
		if !end {
			cut = cutPoint(buf)
		}
		if cut > 0 && !yield(buf[:cut], nil) {
			return false
		}
		have = copy(buf, buf[cut:have])
	}
	return true
}

// cutPoint returns where to end a full piece.
func cutPoint(b []byte) int {
	if i := bytes.LastIndexByte(b, '\n'); i >= len(b)/2 {
		return i + 1
	}
	for i := 1; i < utf8.UTFMax; i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return len(b) - i
			}
			break
		}
	}
	return len(b)
}

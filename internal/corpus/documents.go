package corpus

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"gimbal/internal/chat"
)

// Ref names a document: Sources[Source] of its corpus, and the bytes [Offset, Offset+Length) of the text in that file,
// unpacked where it is packed. For JSONL these are the bytes of the line, not of the text in it; for Parquet Offset
// is the row, from 0, and Length the bytes of its text. Length is -1 while a document is being streamed.
type Ref struct {
	Source int32
	Offset int64
	Length int64
}

// Place says for a person where a document of the file at path lies in it.
func (r Ref) Place(path string) string {
	if strings.EqualFold(filepath.Ext(path), ".parquet") {
		return fmt.Sprintf("row %d", r.Offset)
	}
	where := fmt.Sprintf("bytes %d to %d", r.Offset, r.Offset+r.Length)
	if r.Length < 0 {
		where = fmt.Sprintf("byte %d", r.Offset)
	}
	if _, packed := cutPack(strings.ToLower(path)); packed != 0 {
		where += " of the unpacked text"
	}
	return where
}

// Document is one text or one conversation, readable once and only until the next one is asked for.
type Document struct {
	Ref  Ref
	Text io.Reader      // ends with io.EOF; other errors are *Error or the context's; nil for a conversation
	Chat []chat.Message // nil for a text
}

const readBuffer = 256 << 10

// Documents yields every document of the corpus in order, holding at most one read buffer and, for JSONL, one line, for
// Parquet one page. What is left out is counted in t, if that is not nil.
//
// A byte order mark at the start of a file is dropped; anything else, valid UTF-8 or not, is passed on as it is. A
// yielded error is the last thing yielded. Each call reads the files anew; calls may run concurrently.
func (c *Corpus) Documents(ctx context.Context, t *Tally) iter.Seq2[Document, error] {
	if t == nil {
		t = new(Tally)
	}
	return func(yield func(Document, error) bool) {
		br := bufio.NewReaderSize(nil, readBuffer)
		for i := range c.Sources {
			if ok, err := c.source(ctx, int32(i), br, t, yield); err != nil {
				yield(Document{}, err)
				return
			} else if !ok {
				return
			}
		}
	}
}

// source yields the documents of one file; ok is false when the consumer wants no more.
func (c *Corpus) source(ctx context.Context, i int32, br *bufio.Reader, t *Tally, yield func(Document, error) bool) (
	ok bool, err error,
) {
	s := &c.Sources[i]
	if s.kind == table {
		return c.rows(ctx, i, t, yield)
	}
	r, err := s.open(ctx)
	if err != nil {
		return false, err
	}
	defer r.close()
	br.Reset(r)
	var off int64
	if head, _ := br.Peek(3); bytes.Equal(head, []byte("\xEF\xBB\xBF")) { // an error shows again at the next read
		t.BOMs++
		n, _ := br.Discard(3)
		off += int64(n)
	}
	if s.kind == jsonl {
		return c.lines(i, off, br, t, yield)
	}
	if s.kind == goSource {
		head, _ := br.Peek(sniffBytes)
		n, _ := br.Discard(licenceLen(head))
		off += int64(n)
	}
	return texts(i, off, br, []byte(c.opt.Separator), yield)
}

// texts cuts a plain file at sep. What follows the last separator is a document unless it is empty.
func texts(i int32, off int64, br *bufio.Reader, sep []byte, yield func(Document, error) bool) (bool, error) {
	for first := true; ; first = false {
		if _, err := br.Peek(1); err == io.EOF && !first {
			return true, nil
		} else if err != nil && err != io.EOF {
			return false, err
		}
		r := &textReader{br: br, sep: sep}
		if !yield(Document{Ref: Ref{Source: i, Offset: off, Length: -1}, Text: r}, nil) {
			return false, nil
		}
		if _, err := io.Copy(io.Discard, r); err != nil { // what the consumer left unread
			return false, err
		}
		if !r.cut {
			return true, nil
		}
		off += r.n + int64(len(sep))
	}
}

// textReader reads up to the next separator or the end of the file.
type textReader struct {
	br   *bufio.Reader
	sep  []byte
	n    int64 // bytes given out
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

// lines yields the text or the conversation of each line of a JSONL file.
func (c *Corpus) lines(i int32, off int64, br *bufio.Reader, t *Tally, yield func(Document, error) bool) (bool, error) {
	path := c.Sources[i].Path
	var buf []byte
	var text bytes.Reader
	var p lineParser
	for line := int64(1); ; line++ {
		raw, size, err := readLine(br, buf[:0])
		if err != nil && err != io.EOF {
			return false, err
		}
		if size == 0 {
			return true, nil
		}
		buf = raw
		doc := Document{Ref: Ref{Source: i, Offset: off, Length: size}}
		off += size
		if size > maxLine {
			err = &Error{What: "a line of more than 64 MiB",
				Advice: "cut the document, or pass it as a plain text file"}
		} else if len(bytes.TrimLeft(raw, " \t\r\n")) == 0 {
			t.Blank++
			continue
		} else {
			raw, doc.Chat, err = p.parse(raw)
		}
		if err != nil {
			bad := err.(*Error)
			bad.Path, bad.Line, bad.Byte = path, line, bad.Byte+1
			if err := c.bad(t, bad); err != nil {
				return false, err
			}
			continue
		}
		if doc.Chat == nil {
			text.Reset(raw)
			doc.Text = &text
		}
		if !yield(doc, nil) {
			return false, nil
		}
	}
}

func joinAdvice(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// readLine appends the next line without its end to dst, and returns the line's size with it. Of a line longer than
// maxLine it keeps nothing. At the end of the file size is 0.
func readLine(br *bufio.Reader, dst []byte) (line []byte, size int64, err error) {
	for {
		part, err := br.ReadSlice('\n')
		if size += int64(len(part)); size <= maxLine {
			dst = append(dst, part...)
		} else {
			dst = dst[:0]
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return bytes.TrimSuffix(dst, []byte("\n")), size, err
	}
}

const textPiece = 1 << 20

// Texts yields the corpus as pieces of at most 1 MiB, each of one document, for training a tokenizer or collecting
// characters. A longer document is cut behind a newline where there is one near, else between characters. Of a
// conversation each message comes by itself, behind a line with its role. A piece is valid until the next.
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

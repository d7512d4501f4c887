package corpus

import (
	"bytes"
	"context"
	"io"
)

// How much of a corpus Spelled looks at: enough to see what most documents have, in milliseconds.
const (
	spelledBytes   = 4 << 20
	spelledSources = 64
)

// Spelling is how often a text comes in the documents that were looked at.
type Spelling struct {
	Text      string
	Times     int64
	Documents int64 // that have it
	Looked    int64 // documents that were looked at
	Plain     bool  // most of them are of files that Options.Separator can cut
}

// Spelled counts texts, which may be empty, in a sample of at most 4 MiB of the documents, evenly taken from the files.
// also is given what is looked at, in pieces. Broken documents are passed over. Errors are those of Documents.
func (c *Corpus) Spelled(ctx context.Context, texts []string, also func(piece []byte)) ([]Spelling, error) {
	l := lookout{found: make([]Spelling, len(texts)), plain: make([]int64, len(texts)), also: also}
	for i, t := range texts {
		l.found[i].Text = t
		l.longest = max(l.longest, len(t))
	}
	n := min(len(c.Sources), spelledSources)
	for k := range n {
		i := k * len(c.Sources) / n
		l.left, l.cuts = spelledBytes/n, c.Cuttable(i)
		source := c.Sources[i]
		source.Hash = "" // it is not read to its end
		one := &Corpus{Sources: []Source{source}, opt: c.opt}
		one.opt.BadDocuments = "skip"
		for doc, err := range one.Documents(ctx, nil) {
			if err != nil {
				return nil, err
			}
			if err := l.document(&doc); err != nil {
				return nil, err
			}
			if l.left <= 0 {
				break
			}
		}
	}
	for i := range l.found {
		s := &l.found[i]
		s.Looked, s.Plain = l.looked, 2*l.plain[i] > s.Times
	}
	return l.found, nil
}

// Cuttable reports whether Options.Separator cuts source i.
func (c *Corpus) Cuttable(i int) bool { return c.Sources[i].kind == plain }

// Separator returns Options.Separator.
func (c *Corpus) Separator() string { return c.opt.Separator }

// lookout counts texts in documents.
type lookout struct {
	found   []Spelling
	plain   []int64 // of Times, in files that can be cut
	also    func(piece []byte)
	longest int
	looked  int64
	left    int  // bytes to look at in this source
	cuts    bool // this source can be cut
	buf     []byte
	seen    []int64 // of each text, in this document
}

func (l *lookout) document(doc *Document) error {
	l.looked++
	l.seen = append(l.seen[:0], make([]int64, len(l.found))...)
	err := error(nil)
	if doc.Text != nil {
		err = l.read(doc.Text)
	}
	for _, m := range doc.Chat {
		if err == nil {
			err = l.read(bytes.NewReader(m.Text))
		}
	}
	for i, times := range l.seen {
		l.found[i].Times += times
		if times > 0 {
			l.found[i].Documents++
		}
		if l.cuts {
			l.plain[i] += times
		}
	}
	return err
}

// read looks through a text as far as bytes are left. The end of a piece is looked at again with the next one.
func (l *lookout) read(text io.Reader) error {
	if l.buf == nil {
		l.buf = make([]byte, 64<<10+l.longest)
	}
	for again := 0; l.left > 0; {
		n, err := io.ReadFull(text, l.buf[again:])
		l.left -= n
		piece := l.buf[:again+n]
		l.also(piece[again:])
		for i := range l.found {
			what := l.found[i].Text
			from := max(0, again-len(what)+1) // what ends before was counted
			for what != "" {
				at := bytes.Index(piece[from:], []byte(what))
				if at < 0 {
					break
				}
				l.seen[i]++
				from += at + len(what)
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		} else if err != nil {
			return err
		}
		again = copy(l.buf, piece[len(piece)-l.longest:])
	}
	return nil
}

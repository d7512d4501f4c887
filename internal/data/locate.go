package data

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sort"

	"gimbal/internal/corpus"
)

// Locate names the place of a sequence for a person: the file, and where one can look it up, the line and the byte in
// it at which the sequence begins; else the place of its document. A file that has changed or is gone has no lines.
func (s *Set) Locate(span Span) string {
	src, at := &s.docs.Sources[span.Doc.Source], span.Doc.Offset
	if src.HasTextPlaces() {
		at += s.before(span)
	}
	if src.HasPlaces() {
		if line, err := lineOf(src.Path, at); err == nil {
			return fmt.Sprintf("%s, line %d, byte %d", corpus.Printable(src.Path), line, at)
		}
	}
	return s.Describe(span.Doc)
}

// before is the bytes of the text of a document before a sequence.
func (s *Set) before(span Span) (n int64) {
	docs := s.index.Len()
	earlier := func(r Ref) bool {
		return r.Source < span.Doc.Source || r.Source == span.Doc.Source && r.Offset < span.Doc.Offset
	}
	doc := sort.Search(docs, func(i int) bool { return !earlier(s.index.Ref(i)) })
	if doc == docs || s.index.Ref(doc) != span.Doc {
		return 0
	}
	var ids []int32
	const piece = 1 << 16 // tokens
	for lo := int64(1); lo <= span.First; lo += piece {
		ids = s.text(ids[:0], doc, lo, min(lo+piece, span.First+1))
		for _, id := range ids {
			n += int64(s.lengths[id])
		}
	}
	return n
}

// lineOf is the line, from 1, that holds a byte of a file.
func lineOf(path string, at int64) (line int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 1<<16)
	line = 1
	for left := at; left > 0; {
		n, err := f.Read(buf[:min(left, int64(len(buf)))])
		line += int64(bytes.Count(buf[:n], []byte("\n")))
		if left -= int64(n); err == io.EOF && left > 0 {
			return 0, io.ErrUnexpectedEOF
		} else if err != nil && err != io.EOF {
			return 0, err
		}
	}
	return line, nil
}

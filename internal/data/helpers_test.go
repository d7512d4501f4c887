package data

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"gimbal/internal/corpus"
	"gimbal/internal/testseed"
	"gimbal/internal/tokenizer"
)

// random returns a generator whose seed is printed.
var random = testseed.Rand

// write makes a file below dir and returns its path.
func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// jsonLines writes texts as a JSONL file.
func jsonLines(t *testing.T, dir, name string, texts []string) string {
	t.Helper()
	var b bytes.Buffer
	for i, s := range texts {
		line, err := json.Marshal(map[string]any{"id": i, "text": s})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return write(t, dir, name, b.String())
}

// readAll returns every text with where it lies.
func readAll(t *testing.T, c *corpus.Corpus) (texts []string, refs []Ref) {
	t.Helper()
	for doc, err := range c.Documents(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(doc.Text)
		if err != nil {
			t.Fatal(err)
		}
		texts, refs = append(texts, string(b)), append(refs, doc.Ref)
	}
	return texts, refs
}

func discover(t *testing.T, opt corpus.Options, paths ...string) *corpus.Corpus {
	t.Helper()
	c, err := corpus.Discover(paths, opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// prepare tokenises with one token a byte unless tok is given, into a cache of its own unless opt names one.
func prepare(t *testing.T, c *corpus.Corpus, tok *tokenizer.Tokenizer, opt PrepareOptions) *Set {
	t.Helper()
	if tok == nil {
		tok = tokenizer.NewBytes()
	}
	if opt.CacheDir == "" {
		opt.CacheDir = t.TempDir()
	}
	s, err := Prepare(t.Context(), c, tok, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// prepareTexts makes a set of one JSONL file with these documents.
func prepareTexts(t *testing.T, texts []string, opt PrepareOptions) *Set {
	t.Helper()
	return prepare(t, discover(t, corpus.Options{}, jsonLines(t, t.TempDir(), "docs.jsonl", texts)), nil, opt)
}

// randomTexts returns n texts of at most longest bytes; short, empty and repeated ones are common.
func randomTexts(r *rand.Rand, n, longest int) []string {
	texts := make([]string, n)
	for i := range texts {
		if i > 0 && r.IntN(10) == 0 {
			texts[i] = texts[r.IntN(i)]
			continue
		}
		size := r.IntN(longest + 1)
		if r.IntN(3) == 0 {
			size = r.IntN(4)
		}
		b := make([]byte, size)
		for k := range b {
			b[k] = byte(' ' + r.IntN(90))
		}
		texts[i] = string(b)
	}
	return texts
}

// spelledBytes and invalid are what the index says of a document: the bytes that its tokens spell, and those of its
// text that are not valid UTF-8. Readers of the format want them; the package sums them up and reads neither.
func spelledBytes(s *Set, doc int) int64 {
	return int64(binary.LittleEndian.Uint64(s.index[doc*64+16:]))
}
func invalid(s *Set, doc int) uint32 { return binary.LittleEndian.Uint32(s.index[doc*64+44:]) }

// epoch reads all sequences of a split into one batch.
func epoch(sp *Split) *Batch {
	b := new(Batch)
	for i := range sp.Sequences() {
		sp.Read(b, i)
	}
	return b
}

// oracle knows the documents independently of the cache.
type oracle struct {
	rows    map[Ref][]int32 // start (or -1), tokens, EOS
	eos     int32
	start   bool
	context int
}

func newOracle(t *testing.T, s *Set, texts []string, start string, context int) *oracle {
	t.Helper()
	tok := tokenizer.NewBytes()
	id, ok, err := tok.Start(start)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		id = -1
	}
	if s.index.Len() != len(texts) {
		t.Fatalf("%d documents, want %d", s.index.Len(), len(texts))
	}
	o := &oracle{rows: map[Ref][]int32{}, eos: tok.EOS(), start: ok, context: context}
	for i, text := range texts {
		ids, err := tok.Append([]int32{id}, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		o.rows[s.index.Ref(i)] = append(ids, tok.EOS())
	}
	return o
}

// check reports the first way in which b is not one epoch of the oracle's documents: every token after the start a
// label exactly once, with the token before it as input; EOS the last label of a document, and nowhere else.
func (o *oracle) check(b *Batch) error {
	n := len(b.Tokens)
	if len(b.Labels) != n || len(b.Counts) != n {
		return fmt.Errorf("lengths: %d tokens, %d labels, %d counts", n, len(b.Labels), len(b.Counts))
	}
	seen := map[Ref][]int{}
	at, spelled := 0, int64(0)
	for k, s := range b.Spans {
		if s.Start != at || s.Len < 1 || s.Len > o.context || at+s.Len > n {
			return fmt.Errorf("span %d: start %d, length %d at %d of %d", k, s.Start, s.Len, at, n)
		}
		row, ok := o.rows[s.Doc]
		if !ok {
			return fmt.Errorf("span %d: unknown document %v", k, s.Doc)
		}
		if s.First < 0 || int(s.First)+s.Len >= len(row) {
			return fmt.Errorf("span %d: runs past the end of its document", k)
		}
		count := seen[s.Doc]
		if count == nil {
			count = make([]int, len(row))
			seen[s.Doc] = count
		}
		for i := range s.Len {
			in, label, j := b.Tokens[at+i], b.Labels[at+i], int(s.First)+1+i // label j of the row
			switch {
			case label == o.eos && j != len(row)-1:
				return fmt.Errorf("EOS is label %d of a row of %d", j, len(row))
			case label != row[j]:
				return fmt.Errorf("label %d is %d, want %d", j, label, row[j])
			case in != row[j-1]:
				return fmt.Errorf("input of label %d is %d, want %d", j, in, row[j-1])
			case !b.Counts[at+i]:
				return fmt.Errorf("label %d does not count", j)
			}
			count[j]++
			if label != o.eos {
				spelled++ // one token is one byte here
			}
		}
		at += s.Len
	}
	if at != n {
		return fmt.Errorf("spans cover %d of %d", at, n)
	}
	if b.Counted != n || b.Bytes != spelled {
		return fmt.Errorf("counted %d, bytes %d, want %d and %d", b.Counted, b.Bytes, n, spelled)
	}
	for ref, row := range o.rows {
		first := 1
		if !o.start {
			first = 2
		}
		if len(row) == 2 { // an empty document
			first = 2
		}
		for j := first; j < len(row); j++ {
			if times := at2(seen[ref], j); times != 1 {
				return fmt.Errorf("label %d of %v comes %d times", j, ref, times)
			}
		}
		for j := range min(first, len(seen[ref])) {
			if seen[ref][j] != 0 {
				return fmt.Errorf("label %d of %v has no input", j, ref)
			}
		}
	}
	return nil
}

func at2(s []int, i int) int {
	if i >= len(s) {
		return 0
	}
	return s[i]
}

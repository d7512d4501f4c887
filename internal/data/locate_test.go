package data

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

// Every sequence of a file, cut into documents or not, is found at the line and the byte that name it.
func TestLocate(t *testing.T) {
	dir := t.TempDir()
	var plain, lines strings.Builder
	for i := range 300 {
		fmt.Fprintf(&plain, "line %d of a file, größer\n", i)
		if i%7 == 6 {
			plain.WriteString("====\n")
		}
		fmt.Fprintf(&lines, "{\"text\": \"record %d\"}\n", i)
	}
	write(t, dir, "notes.txt", plain.String())
	write(t, dir, "records.jsonl", lines.String())
	for _, separator := range []string{"", "====\n"} {
		c := discover(t, corpus.Options{Separator: separator}, dir)
		tok, _, err := tokenizer.TrainBPE(t.Context(), c.Texts(t.Context()), tokenizer.TrainOptions{VocabSize: 300})
		if err != nil {
			t.Fatal(err)
		}
		s := prepare(t, c, tok, PrepareOptions{})
		b := epoch(s.All(16))
		later := 0
		for _, span := range b.Spans {
			path := s.Sources[span.Doc.Source]
			var line, at int
			place := strings.TrimPrefix(s.Locate(span), path+", ")
			if _, err := fmt.Sscanf(place, "line %d, byte %d", &line, &at); err != nil {
				t.Fatalf("%s: %v", s.Locate(span), err)
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if want := 1 + strings.Count(string(raw[:at]), "\n"); line != want {
				t.Fatalf("%s: byte %d is in line %d", place, at, want)
			}
			if filepath.Ext(path) == ".jsonl" {
				continue
			}
			if span.First > 0 {
				later++
			}
			first := tok.Bytes(b.Labels[span.Start])
			if !strings.HasPrefix(string(raw[at:]), string(first)) {
				t.Fatalf("%s does not begin with %q", place, first)
			}
		}
		if later == 0 {
			t.Error("no sequence begins inside a document")
		}
	}
	// A file that is gone has a name still.
	s := prepare(t, discover(t, corpus.Options{}, dir), nil, PrepareOptions{})
	span := epoch(s.All(16)).Spans[3]
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if got := s.Locate(span); got != s.Describe(span.Doc) {
		t.Errorf("of a file that is gone: %s", got)
	}
}

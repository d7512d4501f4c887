package data

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// A place in a file is only given where the bytes of the file are those of the text.
func TestLocateElsewhere(t *testing.T) {
	utf16, records := "\xFF\xFE", ""
	for i := range 40 {
		for _, b := range []byte(fmt.Sprintf("line %d\n", i)) {
			utf16 += string([]byte{b, 0})
		}
		records += fmt.Sprintf("%d,\"one\ntwo %d\"\n", i, i)
	}
	for name, c := range map[string]struct{ content, want string }{
		"wide.txt":  {utf16, ", bytes 3 to 313 of the text in UTF-8"},
		"table.csv": {"id,text\n" + records, ", line 4, byte 22"},
	} {
		dir := t.TempDir()
		write(t, dir, name, c.content)
		s := prepare(t, discover(t, corpus.Options{}, dir), nil, PrepareOptions{})
		b := epoch(s.All(6))
		var places []string
		for _, span := range b.Spans {
			places = append(places, strings.TrimPrefix(s.Locate(span), filepath.Join(dir, name)))
		}
		if !slices.Contains(places, c.want) {
			t.Errorf("%s: no %q in %q", name, c.want, places[:4])
		}
	}
}

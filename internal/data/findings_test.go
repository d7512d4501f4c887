package data

import (
	"strings"
	"testing"

	"gimbal/internal/corpus"
)

// TestFindings wants what is strange in the documents to be told, and a warning where it changes what is learned.
func TestFindings(t *testing.T) {
	line := strings.Repeat("a line of good text, which is long enough to be learned from\n", 200)
	latin := line + strings.Repeat("caf\xe9 noir, o\xf9\n", 20)
	for name, c := range map[string]struct {
		files    map[string]string
		encoding string
		want     []corpus.Finding
	}{
		"plain": {files: map[string]string{"a.txt": line}},
		"a few bytes": {files: map[string]string{"a.txt": line + "\xff"},
			want: []corpus.Finding{{Text: "1 byte in 1 document is not UTF-8: 0.0082 %"}}},
		"Latin-1": {files: map[string]string{"a.txt": latin},
			want: []corpus.Finding{{Text: "40 bytes in 1 document are not UTF-8: 0.32 %, and they look like windows-1252",
				Advice: "set data.encoding = \"windows-1252\", or convert the files to UTF-8", Warn: true}}},
		"decoded": {files: map[string]string{"a.txt": latin}, encoding: "latin1",
			want: []corpus.Finding{{Text: "decoded from latin1: 1 file (a.txt)"}}},
		"raw": {files: map[string]string{"a.txt": latin}, encoding: "raw",
			want: []corpus.Finding{{Text: "40 bytes in 1 document are not UTF-8: 0.32 %"}}},
		"not UTF-8": {files: map[string]string{"a.txt": line, "b.txt": "caf\xe9 noir \xe0 midi"},
			want: []corpus.Finding{{Text: "left out: 1 file that is not UTF-8 (b.txt)",
				Advice: "what is not UTF-8 looks like windows-1252: set data.encoding = \"windows-1252\", or convert it"}}},
		"broken and short": {files: map[string]string{"a.txt": line, "b.jsonl": "{\"text\":\"x\"}\n7\n", "c.txt": ""},
			want: []corpus.Finding{{Warn: true, Text: "skipped 1 broken document: 1 times not a JSON object; the first: "},
				{Text: "of 3 documents, too short to teach anything: 1 empty, 1 of one token; the first is ", Warn: true}}},
	} {
		dir := t.TempDir()
		for file, content := range c.files {
			write(t, dir, file, content)
		}
		docs, err := discover(t, corpus.Options{Encoding: c.encoding, BadDocuments: "skip", BadShare: 1}, dir).
			Identify(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		text := Text{Docs: docs, Set: prepare(t, docs, nil, PrepareOptions{ValFraction: 0.05})}
		got := text.Findings()
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		for i, f := range got {
			if w := c.want[i]; !strings.HasPrefix(f.Text, w.Text) || f.Advice != w.Advice || f.Warn != w.Warn {
				t.Errorf("%s: %+v, want %+v", name, f, w)
			}
		}
	}
}

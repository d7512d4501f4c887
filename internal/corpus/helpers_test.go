package corpus

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/chat"
)

// write makes a file below dir and returns its path.
func write(t testing.TB, dir, name, content string) string {
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

func discover(t testing.TB, opt Options, paths ...string) *Corpus {
	t.Helper()
	c, err := Discover(paths, opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// spell writes a conversation for comparison: "role: words", with a star where they are to be learned.
func spell(turns []chat.Message) string {
	var s strings.Builder
	for _, m := range turns {
		star := ""
		if m.Learn {
			star = "*"
		}
		s.WriteString("[" + m.Role + star + ": " + string(m.Text) + "]")
	}
	return s.String()
}

// readAll returns every document, conversations spelled, with where it lies.
func readAll(c *Corpus, t *Tally) (texts []string, refs []Ref, err error) {
	for doc, err := range c.Documents(context.Background(), t) {
		if err != nil {
			return texts, refs, err
		}
		text := spell(doc.Chat)
		if doc.Chat == nil {
			b, err := io.ReadAll(doc.Text)
			if err != nil {
				return texts, refs, err
			}
			text = string(b)
		}
		texts, refs = append(texts, text), append(refs, doc.Ref)
	}
	return texts, refs, nil
}

func gzipped(t testing.TB, text string) string {
	t.Helper()
	return string(packed(t, gz, []byte(text)))
}

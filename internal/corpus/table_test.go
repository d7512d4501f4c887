package corpus

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// foreign returns a Parquet file that another program wrote; internal/parquet/testdata/record.py says what is in it.
func foreign(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "parquet", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return write(t, t.TempDir(), name, string(b))
}

func TestTable(t *testing.T) {
	path := foreign(t, "snappy.parquet")
	c := discover(t, Options{}, path)
	if b := c.Bytes(); b < 1000 || b > 10_000 {
		t.Errorf("said to hold %d bytes", b)
	}
	var counts Tally
	texts, refs, err := readAll(c, &counts)
	if err != nil {
		t.Fatal(err)
	}
	const rows, nulls = 120, 17 // each seventh from the fourth on
	if len(texts) != rows-nulls || counts.Nulls != nulls || counts.Bad != 0 {
		t.Errorf("%d documents, %+v", len(texts), counts)
	}
	if texts[0] != "" || texts[4] != "the same again" || refs[4].Offset != 5 || refs[4].Length != int64(len(texts[4])) ||
		c.Sources[0].Place(refs[4]) != "row 5" {
		t.Errorf("%q at %+v", texts[4], refs[4])
	}
	// The run mentions them, and warns where there are many.
	if f := counts.Findings(int64(len(texts))); len(f) != 1 || !f[0].Warn ||
		!strings.Contains(f[0].Text, "17 of 120 records were skipped") {
		t.Errorf("%+v", f)
	}
	// Whatever it is, it is refused when it is found and not when it is read.
	for name, want := range map[string]string{"bad-numbers.parquet": "holds no strings",
		"bad-list.parquet": "holds lists", "bad-name.parquet": "its columns are \"other\""} {
		if _, err := Discover([]string{foreign(t, name)}, Options{}); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "write it with") && !strings.Contains(err.Error(), "data.fields") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestChanged writes to files between the look that gives them their hash and the reading, under every kind of reader.
func TestChanged(t *testing.T) {
	parquet, err := os.ReadFile(foreign(t, "plain.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"a.txt": []byte("some text"), "a.jsonl": []byte("{\"text\":\"some text\"}\n"),
		"a.txt.gz":  packed(t, gz, []byte("some text")),
		"a.txt.zst": packed(t, zst, []byte("some text")), "a.parquet": parquet,
	} {
		path := write(t, t.TempDir(), name, string(content))
		c, err := discover(t, Options{BadDocuments: "skip"}, path).Identify(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := readAll(c, new(Tally)); err != nil {
			t.Errorf("%s, unchanged: %v", name, err)
		}
		other := []byte(strings.ReplaceAll(string(content), "text", "TEXT"))
		if name == "a.txt.gz" {
			other = packed(t, gz, []byte("some TEXT"))
		} else if name == "a.txt.zst" {
			other = packed(t, zst, []byte("some TEXT"))
		}
		if err := os.WriteFile(path, other, 0o666); err != nil {
			t.Fatal(err)
		}
		err = nil
		for doc, derr := range c.Documents(t.Context(), nil) {
			if err = derr; err == nil && doc.Text != nil {
				_, err = io.Copy(io.Discard, doc.Text)
			}
			if err != nil {
				break
			}
		}
		if err == nil || !strings.Contains(err.Error(), "changed while it was being read") {
			t.Errorf("%s, changed: %v", name, err)
		}
	}
}

package corpus

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/sniff"
)

// TestNotText leaves files out by their content, whatever their names are, or refuses them.
func TestNotText(t *testing.T) {
	for content, kind := range map[string]string{
		"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj":                       "PDF file",
		"PK\x03\x04\x14\x00\x06\x00\x08\x00[Content_Types].xml":      "Word document",
		"version https://git-lfs.github.com/spec/v1\noid sha256:4\n": sniff.LFSPointer,
		"a text with a NUL\x00":                                      sniff.Binary,
		encode(t, "utf-16le", samples["gbk"]):                        "utf-16le file without a byte order mark",
		"{\"version\": \"1.0\", \"added_tokens\": []}":               sniff.TokenizerFile,
		"gimbal: warning\nrun      saved to runs/x\n":                ownOutput,
	} {
		for _, name := range []string{"notes.txt", "notes.jsonl", "notes"} {
			path := write(t, t.TempDir(), name, content)
			_, err := Discover([]string{path}, Options{})
			if fault := new(Error); !errors.As(err, &fault) || fault.What != "not text: "+kind || fault.Advice == "" {
				t.Errorf("%.30q: %v, want %s", content, err, kind)
			}
			dir := filepath.Dir(path)
			write(t, dir, "ok.md", "text")
			found := discover(t, Options{}, dir)
			if f := found.Findings(); len(found.Sources) != 1 || len(f) != 1 ||
				f[0].Text != "left out: 1 "+kind+" ("+name+")" || f[0].Warn != (kind == sniff.LFSPointer) {
				t.Errorf("%.30q in a folder: %+v", content, f)
			}
		}
	}
	pointer := write(t, t.TempDir(), "a.parquet", "version https://git-lfs.github.com/spec/v1\noid sha256:4\n")
	if _, err := Discover([]string{pointer}, Options{}); err == nil || !strings.Contains(err.Error(), "git lfs pull") {
		t.Errorf("a pointer in place of Parquet: %v", err)
	}
}

// TestPackedByContent reads packed text whatever its name, and looks into it.
func TestPackedByContent(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"a.txt": "text", "b": "more text", "c.gz": "%PDF-1.7\n",
		"d.tar.gz": "text", "e.dat": "\xFF\xFEh\x00i\x00"} {
		write(t, dir, name, gzipped(t, content))
	}
	c := discover(t, Options{}, dir)
	texts, _, err := readAll(c, nil)
	if err != nil || strings.Join(texts, "|") != "text|more text|hi" {
		t.Errorf("%q, %v", texts, err)
	}
	if c.Skipped["PDF file"] != 1 || c.Skipped[sniff.Archive] != 1 || len(c.Skipped) != 2 {
		t.Errorf("skipped %v", c.Skipped)
	}
	twice := write(t, dir, "f.txt", gzipped(t, gzipped(t, "text")))
	if _, err := Discover([]string{twice}, Options{}); err == nil || !strings.Contains(err.Error(), "packed twice") {
		t.Errorf("packed twice: %v", err)
	}
}

// TestEmptyFiles takes an empty file, or one of blanks, as an empty text whatever its name is.
func TestEmptyFiles(t *testing.T) {
	for _, content := range []string{"", "\n", " \n\n", "\xEF\xBB\xBF", "\xFF\xFE"} {
		for _, name := range []string{"a", "a.txt", "a.md", "a.go", "a.json", "a.jsonl", "a.csv", "a.tsv", "a.ipynb", "a.x"} {
			dir := t.TempDir()
			write(t, dir, name, content)
			write(t, dir, "other.md", "text")
			c, err := Discover([]string{dir}, Options{})
			if err != nil {
				t.Errorf("%s with %q: %v", name, content, err)
				continue
			}
			if _, _, err := readAll(c, nil); err != nil {
				t.Errorf("%s with %q: read: %v", name, content, err)
			}
		}
	}
}

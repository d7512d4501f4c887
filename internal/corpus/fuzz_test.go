package corpus

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"gimbal/internal/bom"
)

// mostAllocated is what finding out what a small file is, hashing it and reading it may cost.
const mostAllocated = 32 << 20

// FuzzFile reads a file of any content under any name: it is refused as an *Error, or its text is what is in it.
func FuzzFile(f *testing.F) {
	for name, text := range samples {
		f.Add([]byte(encode(f, name, text)), name, "a.txt")
	}
	for _, order := range []string{"utf-16le", "utf-16be", "utf-32le", "utf-32be"} {
		f.Add([]byte(encode(f, order, "\uFEFF{\"text\":\"ü\"}\n")), "", "a.jsonl")
	}
	for _, content := range []string{"\xEF\xBB\xBFtext", "%PDF-1.7", "PK\x03\x04word/", "\x80\x04\x95",
		strings.Repeat("\x12\x00\x57\x93", 80), "\xFF\xFE\x00", "caf\xe9", "\x02\x00\x00\x00\x00\x00\x00\x00{}",
		"{\"version\":1,\"added_tokens\":[]}", ""} {
		f.Add([]byte(content), "raw", "a")
	}
	f.Add([]byte(gzipped(f, "text")), "", "a.txt")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, encoding, name string) {
		if len(content) > 1<<20 || strings.ContainsAny(name, "/\x00") || len(name) > 100 {
			return
		}
		path := filepath.Join(dir, "f"+name)
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Skip(err)
		}
		defer os.Remove(path)
		opt := Options{Encoding: encoding, BadDocuments: "skip"}
		cost := allocated(func() { checkFile(t, path, content, opt) })
		if cost > mostAllocated && packOf(content) == 0 { // FuzzPacked has a limit of its own
			t.Fatalf("%d bytes are allocated for a file of %d", cost, len(content))
		}
	})
}

func checkFile(t *testing.T, path string, content []byte, opt Options) {
	c, err := Discover([]string{path}, opt)
	if err == nil {
		c, err = c.Identify(context.Background(), 1)
	}
	var texts []string
	if err == nil {
		texts, _, err = readAll(c, nil)
	}
	if err != nil {
		if fault := new(Error); !errors.As(err, &fault) || !utf8.ValidString(err.Error()) {
			t.Fatalf("%q", err)
		}
		return
	}
	for _, f := range c.Findings() {
		if !utf8.ValidString(f.Text) || strings.ContainsRune(f.Text, '\n') {
			t.Fatalf("finding %q", f.Text)
		}
	}
	s := c.Sources[0]
	if s.kind != plain || s.pack != 0 {
		return
	}
	switch text := texts[0]; {
	case s.Encoding == "" && text != string(bom.Drop(content)):
		t.Fatalf("%q is read as %q", content, text)
	case s.Encoding != "" && !utf8.ValidString(text):
		t.Fatalf("%q is decoded from %s to %q", content, s.Encoding, text)
	case opt.Encoding == "" && s.Encoding == "" && !mostlyUTF8(content):
		t.Fatalf("%q is taken for UTF-8", content)
	}
}

// mostlyUTF8 is the rule for what is text, said in another way.
func mostlyUTF8(content []byte) bool {
	good := 0
	for rest := content; len(rest) > 0; {
		r, w := utf8.DecodeRune(rest)
		if r != utf8.RuneError || w > 1 {
			good += w
		}
		rest = rest[w:]
	}
	return float64(len(content)-good) <= mostInvalid*float64(len(content)) &&
		bytes.IndexByte(content[:min(len(content), sniffBytes)], 0) < 0
}

package corpus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/sniff"
)

func paths(c *Corpus, dir string) []string {
	var p []string
	for _, s := range c.Sources {
		p = append(p, strings.TrimPrefix(filepath.ToSlash(s.Path), filepath.ToSlash(dir)+"/"))
	}
	return p
}

func symlink(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
}

func TestDiscover(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b.txt", "b")
	write(t, dir, "a/z.md", "z")
	write(t, dir, "a/y", "no extension")
	write(t, dir, "a.JSONL", "{\"text\":\"x\"}")
	write(t, dir, "empty", "")
	write(t, dir, ".hidden", "h")
	write(t, dir, ".git/config", "h")
	write(t, dir, "image.png", "\x89PNG\r\n\x1A\n\x00")
	write(t, dir, "late", strings.Repeat("x", 8<<10)+"\x00") // behind the first 8 KB: text
	write(t, dir, "utf16.txt", "\xFF\xFEa\x00")
	write(t, dir, "backup.tar.gz", "\x1f\x8b")
	symlink(t, "..", filepath.Join(dir, "a/loop"))
	symlink(t, "loop2", filepath.Join(dir, "a/loop2"))
	symlink(t, "nowhere", filepath.Join(dir, "a/broken"))
	symlink(t, "z.md", filepath.Join(dir, "a/zz.md"))
	c := discover(t, Options{}, dir, filepath.Join(dir, "b.txt"), filepath.Join(dir, "a"))
	want := []string{"a.JSONL", "a/y", "a/z.md", "b.txt", "empty", "late", "utf16.txt"}
	if got := paths(c, dir); !slices.Equal(got, want) {
		t.Errorf("sources %q, want %q", got, want)
	}
	skipped := map[string]int64{hidden: 2, sniff.Image: 1, sniff.Archive: 1, linkBroken: 2, reasonTwice: 3}
	if !maps.Equal(c.Skipped, skipped) {
		t.Errorf("skipped %v, want %v", c.Skipped, skipped)
	}
	if c.Bytes() != 1+1+12+12+0+8<<10+1+4 {
		t.Errorf("%d bytes", c.Bytes())
	}
	// Links out of the folder are not followed, unless what they lead to is named too.
	out := t.TempDir()
	symlink(t, filepath.Join(dir, "b.txt"), filepath.Join(out, "link"))
	symlink(t, filepath.Join(dir, "a"), filepath.Join(out, "folder"))
	symlink(t, "own.txt", filepath.Join(out, "inside"))
	write(t, out, "own.txt", "o")
	c = discover(t, Options{}, out)
	if got, want := paths(c, out), []string{"inside"}; !slices.Equal(got, want) || c.Skipped[linkOut] != 2 {
		t.Errorf("through links %q, want %q; skipped %v", got, want, c.Skipped)
	}
	c = discover(t, Options{}, out, dir)
	if c.Skipped[linkOut] != 0 || len(c.Sources) != 8 {
		t.Errorf("with both named %q, skipped %v", paths(c, out), c.Skipped)
	}
	c = discover(t, Options{}, filepath.Join(out, "folder"))
	if got, want := paths(c, out), []string{"folder/y", "folder/z.md"}; !slices.Equal(got, want) {
		t.Errorf("a link named directly: %q, want %q", got, want)
	}
}

func TestDiscoverErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string { return write(t, dir, name, content) }
	empty := filepath.Join(dir, "nothing")
	if err := os.Mkdir(empty, 0o777); err != nil {
		t.Fatal(err)
	}
	file("pictures/a.png", "\x00")
	file("pictures/.b", "")
	file("parquet/readme.md", "see the data beside")
	file("parquet/data.parquet", "PAR1")
	file("gz/a.jsonl.gz", "\x1f\x8b")
	type row struct {
		paths []string
		opt   Options
		want  []string // in the message
	}
	rows := []row{
		{nil, Options{}, []string{"no path given", "--data"}},
		{[]string{""}, Options{}, []string{"empty path", "--data"}},
		{[]string{filepath.Join(dir, "absent")}, Options{}, []string{"absent", "no such file", "check the spelling"}},
		{[]string{empty}, Options{}, []string{"nothing", "no text found", "--data"}},
		{[]string{filepath.Join(dir, "pictures")}, Options{}, []string{"no text found", "1 binary file (a.png)",
			"1 hidden entry"}},
		{[]string{file("one.bin", "a\x00b")}, Options{}, []string{"one.bin", "not text: binary file"}},
		{[]string{file("one.txt.gz", "\x1f\x8b")}, Options{}, []string{"one.txt.gz", "ends early", "copy it again"}},
		{[]string{file("two.txt.gz", "plain text all the same")}, Options{},
			[]string{"two.txt.gz", "is not what its name says", "pack it again"}},
		{[]string{file("three.gz.gz", "x")}, Options{}, []string{"three.gz.gz", "packed twice"}},
		{[]string{file("one.zst", "")}, Options{}, []string{"one.zst", "is empty"}},
		{[]string{file("two.zst", "not packed")}, Options{}, []string{"two.zst", "is not what its name says"}},
		{[]string{file("t.parquet.gz", "x")}, Options{}, []string{"t.parquet.gz", "packed Parquet"}},
		{[]string{filepath.Join(dir, "parquet")}, Options{}, []string{"data.parquet", "Parquet", ".jsonl"}},
		{[]string{filepath.Join(dir, "gz")}, Options{}, []string{"a.jsonl.gz", "ends early"}},
		{[]string{empty}, Options{Weights: []float64{1, 2}}, []string{"data.weights has 2 weights for 1 paths"}},
		{[]string{empty}, Options{Weights: []float64{-1}}, []string{"data.weights has -1", "above 0"}},
		{[]string{file("w.txt", "w"), filepath.Join(dir, "w.txt")}, Options{Weights: []float64{1, 2}},
			[]string{"w.txt", "no text of its own"}},
		{[]string{empty}, Options{BadDocuments: "ignore"}, []string{"data.bad_documents", "ignore", "stop or skip"}},
		{[]string{empty}, Options{Encoding: "latin-17"}, []string{"data.encoding", "latin-17", "raw"}},
		{[]string{empty}, Options{Encoding: "hz-gb-2313"}, []string{"data.encoding", "gbk"}},
		{[]string{empty}, Options{Separator: strings.Repeat("x", 5000)}, []string{"data.separator", "4096"}},
	}
	if runtime.GOOS != "windows" {
		rows = append(rows, row{[]string{os.DevNull}, Options{}, []string{os.DevNull, "special file"}})
		if os.Geteuid() != 0 { // root may read everything
			locked := file("locked.txt", "a")
			if err := os.Chmod(locked, 0); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row{[]string{locked}, Options{}, []string{"locked.txt", "permission denied", "readable"}})
		}
	}
	for _, r := range rows {
		_, err := Discover(r.paths, r.opt)
		if fault := new(Error); !errors.As(err, &fault) {
			t.Errorf("%q: %v", r.paths, err)
			continue
		}
		for _, want := range r.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
	}
}

func TestSeparator(t *testing.T) {
	long := strings.Repeat("0123456789", readBuffer/10)
	for _, c := range []struct {
		text, sep string
		want      []string
	}{
		{"", "", []string{""}},
		{"", "--", []string{""}},
		{"a", "", []string{"a"}},
		{"a--b", "--", []string{"a", "b"}},
		{"a--b--", "--", []string{"a", "b"}},
		{"a--b-", "--", []string{"a", "b-"}},
		{"--a----b", "--", []string{"", "a", "", "b"}},
		{"--", "--", []string{""}},
		{"---", "--", []string{"", "-"}},
		{"aXbXc", "X", []string{"a", "b", "c"}},
		{long + "<|end|>" + long, "<|end|>", []string{long, long}},
		{long[:readBuffer-5] + "<|end|>b", "<|end|>", []string{long[:readBuffer-5], "b"}}, // across a buffer's end
		{"a\r\n\r\nb\n\nc", "\n\n", []string{"a\r\n\r\nb", "c"}},
	} {
		dir := t.TempDir()
		corpus := discover(t, Options{Separator: c.sep}, write(t, dir, "a.txt", c.text),
			write(t, dir, "b.txt", "\xEF\xBB\xBF"+c.text))
		var counts Tally
		texts, refs, err := readAll(corpus, &counts)
		if err != nil {
			t.Fatal(err)
		}
		if want := append(slices.Clone(c.want), c.want...); !slices.Equal(texts, want) {
			t.Errorf("%.20q at %q: %d documents, want %d", c.text, c.sep, len(texts), len(want))
			continue
		}
		if counts.BOMs != 1 {
			t.Errorf("%d byte order marks", counts.BOMs)
		}
		for i, ref := range refs {
			all, off := c.text, ref.Offset
			if ref.Source == 1 {
				off -= 3
			}
			if got := all[off : off+int64(len(texts[i]))]; got != texts[i] {
				t.Errorf("%.20q: document %d does not lie at %d", c.text, i, ref.Offset)
			}
		}
	}
}

// TestDocumentsUnread leaves documents unread, or half read, and still gets the next one right.
func TestDocumentsUnread(t *testing.T) {
	c := discover(t, Options{Separator: "--"}, write(t, t.TempDir(), "a.txt", "first--second--third"))
	var got []string
	for doc, err := range c.Documents(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 2)
		if len(got) != 1 {
			if _, err := io.ReadFull(doc.Text, b); err != nil {
				t.Fatal(err)
			}
		}
		got = append(got, fmt.Sprintf("%d:%s", doc.Ref.Offset, b))
	}
	if want := []string{"0:fi", "7:\x00\x00", "15:th"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for range c.Documents(t.Context(), nil) {
		break // must not go on
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range c.Documents(ctx, nil) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after cancellation: %v", err)
		}
	}
}

func TestTexts(t *testing.T) {
	dir := t.TempDir()
	text := strings.Repeat("ein Satz, größer\n", 200_000) // over three pieces
	runes := "a" + strings.Repeat("é", 600_000)           // nothing to cut at; 1 MiB falls inside a character
	c := discover(t, Options{}, write(t, dir, "a", text), write(t, dir, "b", "short"), write(t, dir, "c", ""),
		write(t, dir, "d", runes))
	var all strings.Builder
	n := 0
	for piece, err := range c.Texts(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if len(piece) > textPiece || len(piece) == 0 || strings.ToValidUTF8(string(piece), "?") != string(piece) {
			t.Errorf("piece %d has %d bytes, or a cut character", n, len(piece))
		}
		all.Write(piece)
		n++
	}
	if all.String() != text+"short"+runes || n != 4+1+2 {
		t.Errorf("%d pieces, %d bytes of %d", n, all.Len(), len(text)+5+len(runes))
	}
}

func TestGoCorpus(t *testing.T) {
	root := t.TempDir()
	licence := "// Copyright 2009 The Go Authors. All rights reserved.\n// BSD-style.\n\n"
	files := map[string]string{
		"src/fmt/print.go":      licence + "// Package fmt.\npackage fmt\n",
		"src/fmt/print_test.go": "package fmt\n",
		"src/fmt/testdata/x.go": "package x\n",
		"src/vendor/y/y.go":     "package y\n",
		"src/cmd/vendor/y/y.go": "package y\n",
		"src/a/generated.go":    "// Code generated by x. DO NOT EDIT.\n\npackage a\n",
		"src/a/generated2.go": licence +
			"// run me\n// Code generated by the command above; DO NOT EDIT.\npackage a\n",
		// Below the package clause: not generated.
		"src/a/says.go":              "package a\n\n// Code generated by x. DO NOT EDIT.\n",
		"src/a/block.go":             "\n/*\nCopyright 1999.\n*/\n\npackage a\n",
		"src/a/other.go":             "// A comment without one.\n\npackage a // Copyright\n",
		"src/a/huge.go":              "package a\n" + strings.Repeat("// x\n", 50_000),
		"src/a/readme.md":            "text",
		"test/outside.go":            "package outside\n",
		"src/cmd/asm/.hidden/x.go":   "package x\n",
		"src/cmd/asm/_generate/x.go": "package x\n",
	}
	for name, content := range files {
		write(t, root, name, content)
	}
	c, err := GoCorpus(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	texts, refs, err := readAll(c, new(Tally))
	if err != nil {
		t.Fatal(err)
	}
	root, err = filepath.EvalSymlinks(root)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for i, name := range paths(c, root) {
		got[name] = texts[i]
		if full := files[name]; full[refs[i].Offset:] != texts[i] {
			t.Errorf("%s does not begin at %d", name, refs[i].Offset)
		}
	}
	want := map[string]string{
		"src/fmt/print.go": "// Package fmt.\npackage fmt\n",
		"src/a/says.go":    files["src/a/says.go"],
		"src/a/block.go":   "package a\n",
		"src/a/other.go":   files["src/a/other.go"],
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if c.Skipped[generated] != 2 {
		t.Errorf("skipped %v", c.Skipped)
	}
	// The bound: a deterministic part, and the same wherever the tree lies.
	part, err := GoCorpus(root, Options{MaxBytes: 60})
	if err != nil {
		t.Fatal(err)
	}
	moved := t.TempDir()
	for name, content := range files {
		write(t, moved, name, content)
	}
	again, err := GoCorpus(moved, Options{MaxBytes: 60})
	if err != nil {
		t.Fatal(err)
	}
	if moved, err = filepath.EvalSymlinks(moved); err != nil {
		t.Fatal(err)
	}
	if a, b := paths(part, root), paths(again, moved); !slices.Equal(a, b) || len(a) == 0 || len(a) >= 4 {
		t.Errorf("bounded: %q and %q", a, b)
	}
	for _, dir := range []string{t.TempDir(), filepath.Join(root, "absent"), filepath.Join(root, "test")} {
		if _, err := GoCorpus(dir, Options{}); err == nil || !strings.Contains(err.Error(), "pass --data") {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// TestGoCorpusInstalled looks at the toolchain that runs the tests.
func TestGoCorpusInstalled(t *testing.T) {
	c, err := GoCorpus("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if b := c.Bytes(); b < goCorpusBytes || b > goCorpusBytes+goFileLimit {
		t.Errorf("%d bytes, want about %d", b, goCorpusBytes)
	}
	for _, s := range c.Sources {
		if strings.HasSuffix(s.Path, "_test.go") || strings.Contains(s.Path, "/testdata/") || s.Size > goFileLimit {
			t.Errorf("%s has no place here", s.Path)
		}
	}
}

package corpus

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	goCorpusBytes  = 16_000_000 // enough text for a first run of minutes, tokenised in seconds
	goFileLimit    = 200 << 10  // larger files are tables, not prose
	adviceGoCorpus = "pass --data with a file or folder of text"
)

// GoCorpus returns the default corpus: the source tree of an installed Go toolchain.
//
// It takes src/**/*.go without tests, testdata, vendor, generated files and files over 200 KB, and drops the licence
// comment at the start of each. Files are chosen by a hash of their path below src until Options.MaxBytes is reached,
// so the choice is the same on every machine with the same Go release. An empty goroot means $GOROOT, then `go env
// GOROOT`.
func GoCorpus(goroot string, opt Options) (*Corpus, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	opt.Separator = ""
	if opt.MaxBytes <= 0 {
		opt.MaxBytes = goCorpusBytes
	}
	if goroot == "" {
		goroot = findGoroot()
	}
	if goroot == "" {
		return nil, &Error{What: "no Go source tree found for the default corpus", Advice: adviceGoCorpus}
	}
	src, err := filepath.EvalSymlinks(filepath.Join(goroot, "src")) // distributions link it elsewhere
	if err != nil {
		return nil, unusable("open", filepath.Join(goroot, "src"), err)
	}
	type candidate struct {
		Source
		rank uint64
	}
	var found []candidate
	err = filepath.WalkDir(src, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := e.Name()
		if e.IsDir() {
			if path != src && (name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") ||
				strings.HasPrefix(name, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !e.Type().IsRegular() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		info, err := e.Info()
		if err != nil || info.Size() > goFileLimit || info.Size() == 0 {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256([]byte(filepath.ToSlash(rel)))
		s := Source{Path: path, Size: info.Size(), Text: info.Size(), kind: goSource}
		found = append(found, candidate{s, binary.BigEndian.Uint64(sum[:])})
		return nil
	})
	if err != nil {
		return nil, unusable("read", src, err)
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), strings.Compare(a.Path, b.Path))
	})
	c := newCorpus(opt)
	var total int64
	for _, f := range found {
		if total >= opt.MaxBytes {
			break
		}
		made, err := isGenerated(f.Path)
		if err != nil {
			return nil, err
		}
		if made {
			c.skip(generated, 0, f.Path)
			continue
		}
		total += f.Size
		c.Sources = append(c.Sources, f.Source)
	}
	if len(c.Sources) == 0 {
		return nil, &Error{Path: src, What: "the Go source tree is empty", Advice: adviceGoCorpus}
	}
	slices.SortFunc(c.Sources, func(a, b Source) int { return strings.Compare(a.Path, b.Path) })
	return c, nil
}

// unusable returns the fault of a Go source tree.
func unusable(do, path string, err error) error {
	e := cannot(do, path, err)
	e.What, e.Advice = e.What+" for the default corpus", adviceGoCorpus
	return e
}

func findGoroot() string {
	if dir := os.Getenv("GOROOT"); dir != "" {
		return dir
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "" // no Go on this machine: the caller says what to do
	}
	return strings.TrimSpace(string(out))
}

// isGenerated reports whether a line above the package clause says so.
func isGenerated(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, unusable("open", path, err)
	}
	defer f.Close()
	head := make([]byte, sniffBytes)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return false, unusable("read", path, err)
	}
	for line := range bytes.Lines(head[:n]) {
		if bytes.HasPrefix(line, []byte("package ")) {
			break
		}
		if bytes.Contains(line, []byte("Code generated")) && bytes.Contains(line, []byte("DO NOT EDIT")) {
			return true, nil
		}
	}
	return false, nil
}

// licenceLen returns how many leading bytes of a Go file are its licence: the first comment, if it names a copyright,
// and the blank lines around it.
func licenceLen(head []byte) int {
	rest := bytes.TrimLeft(head, " \t\r\n")
	start := len(head) - len(rest)
	end := start
	switch {
	case bytes.HasPrefix(rest, []byte("/*")):
		i := bytes.Index(rest, []byte("*/"))
		if i < 0 {
			return 0
		}
		end += i + len("*/")
	case bytes.HasPrefix(rest, []byte("//")):
		for line := range bytes.Lines(rest) {
			if !bytes.HasPrefix(line, []byte("//")) {
				break
			}
			end += len(line)
		}
	}
	if !bytes.Contains(head[start:end], []byte("Copyright")) {
		return 0
	}
	return len(head) - len(bytes.TrimLeft(head[end:], " \t\r\n"))
}

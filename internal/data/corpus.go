package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Options say how sources become documents.
type Options struct {
	Separator    string // cuts a plain text file into documents; "" makes a file one document
	BadDocuments string // what a broken JSONL line does: "stop" (default, also "") or "skip" (counted)
	MaxBytes     int64  // GoCorpus only: stop choosing files at about this size; 0 means 16 MB
}

const (
	sniffBytes   = 8 << 10 // how much of a file is looked at to tell text from binary
	maxSeparator = 4 << 10 // well under the reader's buffer, in which a separator must fit
)

type kind uint8

const (
	plain    kind = iota // any text, cut at Options.Separator
	jsonl                // one JSON object a line, its "text" is the document
	goSource             // plain, without its leading licence comment
)

// Source is one file of a corpus.
type Source struct {
	Path string
	Size int64 // bytes, as found

	kind kind
	hash string // hex SHA-256 of the content; "" until Prepare has read it
}

// Corpus is an ordered list of files and the rules that cut them into documents.
type Corpus struct {
	Sources []Source         // sorted by path, no file twice
	Skipped map[string]int64 // files and folders left out, by reason
	opt     Options
}

// Bytes returns the size of all sources together.
func (c *Corpus) Bytes() int64 {
	var n int64
	for _, s := range c.Sources {
		n += s.Size
	}
	return n
}

// Discover finds the files under paths, recursively: any text, and .jsonl with a "text" field.
//
// Below a folder, hidden entries, binary files (a NUL byte in the first 8 KB), broken links, second paths to the same file
// and what is no regular file are left out and counted in Skipped. The same things named directly are errors, and so are,
// anywhere, files that cannot be read, and compressed or Parquet files, because leaving out the very data would be silent.
// Links are followed; a folder is entered once, so loops end. All errors are *Error.
func Discover(paths []string, opt Options) (*Corpus, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, &Error{What: "no path given", Advice: "pass --data with a file or folder of text"}
	}
	d := discovery{seen: map[string]bool{}, c: &Corpus{Skipped: map[string]int64{}, opt: opt}}
	for _, p := range paths {
		if err := d.root(p); err != nil {
			return nil, err
		}
	}
	c := d.c
	if len(c.Sources) == 0 {
		return nil, &Error{Path: strings.Join(paths, ", "), What: "no text found" + skippedNote(c.Skipped),
			Advice: "pass --data with a file or folder of UTF-8 text or .jsonl"}
	}
	if len(c.Sources) > math.MaxInt32 {
		return nil, &Error{Path: strings.Join(paths, ", "), What: "more than 2^31 files", Advice: "join them into .jsonl files"}
	}
	slices.SortFunc(c.Sources, func(a, b Source) int { return strings.Compare(a.Path, b.Path) })
	return c, nil
}

func (o Options) check() error {
	switch o.BadDocuments {
	case "", "stop", "skip":
	default:
		return &Error{What: fmt.Sprintf("data.bad_documents is %q", o.BadDocuments), Advice: "use stop or skip"}
	}
	if len(o.Separator) > maxSeparator {
		return &Error{What: fmt.Sprintf("data.separator has %d bytes", len(o.Separator)), Advice: "use at most 4096"}
	}
	return nil
}

func skippedNote(skipped map[string]int64) string {
	if len(skipped) == 0 {
		return ""
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(skipped)) {
		parts = append(parts, fmt.Sprintf("%d %s", skipped[reason], reason))
	}
	return " (left out: " + strings.Join(parts, ", ") + ")"
}

type discovery struct {
	seen map[string]bool // real paths of folders entered and files taken
	c    *Corpus
}

// root takes one path that the user named.
func (d *discovery) root(p string) error {
	if p == "" {
		return &Error{What: "empty path", Advice: "pass --data with a file or folder of text"}
	}
	info, err := os.Stat(p)
	if err != nil {
		advice := "check the spelling, or pass --data with another path"
		if errors.Is(err, fs.ErrPermission) {
			advice = "make it readable for this user"
		}
		return &Error{Path: p, What: "not usable", Err: cause(err), Advice: advice}
	}
	p = filepath.Clean(p)
	real, err := filepath.EvalSymlinks(p)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return &Error{Path: p, What: "cannot be resolved", Err: cause(err), Advice: "check the links it passes through"}
	}
	if info.IsDir() {
		return d.folder(p, real)
	}
	reason, err := d.file(p, real, info)
	if err == nil && reason != "" && reason != reasonTwice {
		err = &Error{Path: p, What: reason, Advice: "pass UTF-8 text or .jsonl"}
	}
	return err
}

const (
	reasonTwice  = "second path to the same file or folder"
	reasonBinary = "binary"
)

// folder walks dir in name order; real is its path without links.
func (d *discovery) folder(dir, real string) error {
	if d.seen[real] {
		d.c.Skipped[reasonTwice]++
		return nil
	}
	d.seen[real] = true
	entries, err := os.ReadDir(dir)
	if err != nil {
		return &Error{Path: dir, What: "cannot list the folder", Err: cause(err), Advice: "make it readable for this user"}
	}
	for _, e := range entries {
		path, realPath := filepath.Join(dir, e.Name()), filepath.Join(real, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			d.c.Skipped["hidden"]++
			continue
		}
		info, err := os.Stat(path)
		if err == nil && e.Type()&fs.ModeSymlink != 0 {
			realPath, err = filepath.EvalSymlinks(realPath)
		}
		switch {
		case err != nil && e.Type()&fs.ModeSymlink != 0 && !errors.Is(err, fs.ErrPermission):
			d.c.Skipped["broken link"]++
			continue
		case err != nil:
			return &Error{Path: path, What: "vanished, or not readable", Err: cause(err), Advice: "run again, or make it readable for this user"}
		case info.IsDir():
			err = d.folder(path, realPath)
		default:
			var reason string
			reason, err = d.file(path, realPath, info)
			if reason != "" {
				d.c.Skipped[reason]++
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file takes one file, or says why it is no text.
func (d *discovery) file(path, real string, info fs.FileInfo) (reason string, err error) {
	if !info.Mode().IsRegular() {
		return "not a regular file", nil // opening a pipe would wait for its writer
	}
	if d.seen[real] {
		return reasonTwice, nil
	}
	d.seen[real] = true
	lower := strings.ToLower(path)
	switch ext := filepath.Ext(lower); {
	case strings.HasSuffix(lower, ".tar.gz"), strings.HasSuffix(lower, ".tar.zst"):
		return "archive", nil
	case ext == ".gz", ext == ".zst":
		return "", &Error{Path: path, What: "compressed text is not read yet", Advice: "unpack it first (gzip -d, zstd -d), or name only the files to read"}
	case ext == ".parquet":
		return "", &Error{Path: path, What: "Parquet is not read yet", Advice: "convert it to .jsonl with a \"text\" field, or name only the files to read"}
	}
	f, err := os.Open(path)
	if err != nil {
		return "", &Error{Path: path, What: "cannot open", Err: cause(err), Advice: "make it readable for this user"}
	}
	defer f.Close()
	head := make([]byte, sniffBytes)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", &Error{Path: path, What: "cannot read", Err: cause(err)}
	}
	head = head[:n]
	if bytes.HasPrefix(head, []byte{0xFF, 0xFE}) || bytes.HasPrefix(head, []byte{0xFE, 0xFF}) {
		return "UTF-16 (convert it to UTF-8)", nil
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return reasonBinary, nil
	}
	s := Source{Path: path, Size: info.Size()}
	if filepath.Ext(lower) == ".jsonl" {
		s.kind = jsonl
	}
	d.c.Sources = append(d.c.Sources, s)
	return "", nil
}

// cause drops the path that os errors repeat.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

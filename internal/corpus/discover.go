package corpus

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
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

const (
	sniffBytes  = 8 << 10 // how much of a file is looked at to tell text from binary
	sniffPacked = 1 << 20 // how much of a packed file is unpacked to estimate the rest
)

// Discover finds the files under paths, recursively: any text, and records (package record) of JSON, CSV and TSV,
// also packed as .gz or .zst, and .parquet.
//
// Below a folder it skips and counts hidden entries, binary files (a NUL byte in the first 8 KB), archives, broken
// links, second paths to the same file, and what is not a regular file. The same things named directly are errors.
// Files that cannot be read or unpacked are errors anywhere, so that no data is missed silently. Links are followed,
// and a folder is entered once, so loops end. All errors are *Error.
func Discover(paths []string, opt Options) (*Corpus, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, &Error{What: "no path given", Advice: "pass --data with a file or folder of text"}
	}
	weighted := opt.Weights != nil
	if weighted && len(opt.Weights) != len(paths) {
		return nil, &Error{What: fmt.Sprintf("data.weights has %d weights for %d paths", len(opt.Weights), len(paths)),
			Advice: "give one for each of data.paths, in their order"}
	}
	c := &Corpus{Skipped: map[string]int64{}, why: map[string]*Error{}, opt: opt}
	d := discovery{seen: map[string]bool{}, c: c}
	for i, p := range paths {
		d.index = i
		if err := d.root(p); err != nil {
			return nil, err
		}
	}
	if len(c.Sources) == 0 {
		note := skippedText(c.Skipped)
		if note != "" {
			note = " (skipped: " + note + ")"
		}
		return nil, &Error{Path: strings.Join(paths, ", "), What: "no text found" + note,
			Advice: "pass --data with a file or folder of UTF-8 text, .jsonl or .parquet"}
	}
	if len(c.Sources) > math.MaxInt32 {
		return nil, &Error{Path: strings.Join(paths, ", "), What: "more than 2^31 files",
			Advice: "join them into .jsonl files"}
	}
	slices.SortFunc(c.Sources, func(a, b Source) int {
		// Each path's documents lie together, so that they can be drawn from separately.
		if weighted && a.Root != b.Root {
			return cmp.Compare(a.Root, b.Root)
		}
		return strings.Compare(a.Path, b.Path)
	})
	for i, p := range paths {
		if weighted && !slices.ContainsFunc(c.Sources, func(s Source) bool { return s.Root == i }) {
			return nil, &Error{Path: p, What: "has a weight but no text of its own",
				Advice: "take it out of data.paths and data.weights"}
		}
	}
	return c, nil
}

// skippedText lists what was skipped, by reason.
func skippedText(skipped map[string]int64) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(skipped)) {
		parts = append(parts, fmt.Sprintf("%d %s", skipped[reason], reason))
	}
	return strings.Join(parts, ", ")
}

type discovery struct {
	seen  map[string]bool // real paths of folders entered and files taken
	index int             // of the root
	c     *Corpus
}

// root takes one path that the user named.
func (d *discovery) root(p string) error {
	if p == "" {
		return &Error{What: "empty path", Advice: "pass --data with a file or folder of text"}
	}
	info, err := os.Stat(p)
	if err != nil {
		return cannot("use the path", p, err)
	}
	p = filepath.Clean(p)
	real, err := filepath.EvalSymlinks(p)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return cannot("resolve the path", p, err)
	}
	if info.IsDir() {
		return d.folder(p, real)
	}
	reason, err := d.file(p, real, info)
	if err == nil && d.c.why[reason] != nil {
		err = d.c.why[reason]
	} else if err == nil && reason != "" && reason != reasonTwice {
		err = &Error{Path: p, What: reason, Advice: "pass UTF-8 text, .jsonl or .parquet"}
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
		return cannot("list the folder", dir, err)
	}
	for _, e := range entries {
		reason, err := d.entry(filepath.Join(dir, e.Name()), filepath.Join(real, e.Name()), e)
		if err != nil {
			return err
		}
		if reason != "" {
			d.c.Skipped[reason]++
		}
	}
	return nil
}

// entry takes one entry of a folder, or says why it is skipped.
func (d *discovery) entry(path, real string, e fs.DirEntry) (reason string, err error) {
	if strings.HasPrefix(e.Name(), ".") {
		return "hidden", nil
	}
	info, err := os.Stat(path)
	if e.Type()&fs.ModeSymlink != 0 {
		if err == nil {
			real, err = filepath.EvalSymlinks(real)
		}
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return "broken link", nil
		}
	}
	switch {
	case err != nil:
		return "", cannot("read", path, err)
	case info.IsDir():
		return "", d.folder(path, real)
	}
	return d.file(path, real, info)
}

// file takes one file, or says why it is skipped.
func (d *discovery) file(path, real string, info fs.FileInfo) (reason string, err error) {
	if !info.Mode().IsRegular() {
		return "not a regular file", nil // opening a pipe would wait for its writer
	}
	if d.seen[real] {
		return reasonTwice, nil
	}
	d.seen[real] = true
	s := Source{Path: path, Size: info.Size(), Text: info.Size(), Root: d.index}
	name, pack := cutPack(strings.ToLower(filepath.Base(path)))
	s.pack = pack
	if _, again := cutPack(name); again != 0 {
		return "", &Error{Path: path, What: "packed twice", Advice: "unpack it once"}
	}
	switch filepath.Ext(name) {
	case ".tar", ".tgz", ".zip", ".7z", ".rar":
		return "archive", nil
	case ".jsonl", ".ndjson":
		s.kind = jsonl
	case ".parquet":
		s.kind = table
		if pack != 0 {
			return "", &Error{Path: path, What: "a packed Parquet file",
				Advice: "unpack it: Parquet packs its columns itself"}
		}
	}
	if s.kind == table {
		err = s.lookAtTable(d.c.opt.fields())
	} else {
		reason, err = s.sniff(d.c.opt)
	}
	if reason == "" && err == nil {
		d.c.Sources = append(d.c.Sources, s)
	} else if s.unread != nil && d.c.why[reason] == nil {
		d.c.why[reason] = s.unread
	}
	return reason, err
}

// sniff looks at the first bytes of the text. It says why they are not text, estimates the size of the text in a packed
// file, and finds whether a JSONL file begins with a conversation.
func (s *Source) sniff(opt Options) (reason string, err error) {
	r, err := s.open(context.Background())
	if err != nil {
		return "", err
	}
	defer r.close()
	size := sniffBytes
	if s.pack != 0 {
		size = sniffPacked
	}
	br := bufio.NewReaderSize(r, size)
	head, err := br.Peek(size)
	if err != nil && err != io.EOF {
		return "", err
	}
	if s.pack != 0 {
		s.Text = r.estimate(int64(len(head)), err == io.EOF)
	}
	text := head[:min(len(head), sniffBytes)]
	if bytes.HasPrefix(text, []byte{0xFF, 0xFE}) || bytes.HasPrefix(text, []byte{0xFE, 0xFF}) {
		return "UTF-16 (convert it to UTF-8)", nil
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return reasonBinary, nil
	}
	return s.recognise(br, opt)
}

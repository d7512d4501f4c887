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

// Options say how sources become documents.
type Options struct {
	Separator    string    // cuts a plain text file into documents; "" makes a file one document
	BadDocuments string    // what a broken JSONL line or row does: "stop" (default, also "") or "skip" (counted)
	BadShare     float64   // with "skip": the largest share of documents that may be left out, in [0, 1]
	Weights      []float64 // Discover only: the share of training that each path gets, in any unit; nil: by size
	MaxBytes     int64     // GoCorpus only: stop choosing files at about this size; 0 means 16 MB
}

const (
	sniffBytes   = 8 << 10 // how much of a file is looked at to tell text from binary
	sniffPacked  = 1 << 20 // how much of a packed one is unpacked to estimate what the rest holds
	maxSeparator = 4 << 10 // well under the reader's buffer, in which a separator must fit
)

type kind uint8

const (
	plain    kind = iota // any text, cut at Options.Separator
	jsonl                // one JSON object a line: a text or a conversation
	goSource             // plain, without its leading licence comment
	table                // Parquet, the rows of its "text" column
)

// Source is one file of a corpus.
type Source struct {
	Path string
	Size int64  // bytes on the disk, as found
	Text int64  // bytes of text in it; of a packed file an estimate
	Root int    // which of the paths given to Discover it was found under
	Hash string // hex SHA-256 of the file; "" until Identify has read it

	kind kind
	pack pack
	chat bool // JSONL that begins with a conversation
}

// Corpus is an ordered list of files and the rules that cut them into documents.
type Corpus struct {
	Sources []Source         // sorted by path, with weights by root and then by path; no file twice
	Skipped map[string]int64 // files and folders left out, by reason
	opt     Options
}

// Bytes returns the bytes of text in all sources together, of packed files an estimate.
func (c *Corpus) Bytes() int64 {
	var n int64
	for _, s := range c.Sources {
		n += s.Text
	}
	return n
}

// Weights returns the weight of each root, nil if there are none.
func (c *Corpus) Weights() []float64 { return c.opt.Weights }

// HasChat reports whether a file begins with a conversation, so that a tokenizer made for it should know its roles.
func (c *Corpus) HasChat() bool {
	return slices.ContainsFunc(c.Sources, func(s Source) bool { return s.chat })
}

// Fingerprint describes everything but the content of the files that decides the documents, and, once identified,
// that too.
func (c *Corpus) Fingerprint() string {
	var b strings.Builder
	fmt.Fprintf(&b, "separator %q\nbad %t\n", c.opt.Separator, c.opt.BadDocuments == "skip")
	for _, s := range c.Sources {
		fmt.Fprintf(&b, "%d %q %d %s\n", s.kind, s.Path, s.Size, s.Hash)
	}
	return b.String()
}

// Discover finds the files under paths, recursively: any text, .jsonl with texts or conversations, both also packed
// as .gz or .zst, and .parquet with a "text" column.
//
// Below a folder, hidden entries, binary files (a NUL byte in the first 8 KB), archives, broken links, second paths
// to the same file and what is no regular file are left out and counted in Skipped. The same things named directly
// are errors, and so are, anywhere, files that cannot be read or unpacked, because leaving out the very data would be
// silent. Links are followed; a folder is entered once, so loops end. All errors are *Error.
func Discover(paths []string, opt Options) (*Corpus, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, &Error{What: "no path given", Advice: "pass --data with a file or folder of text"}
	}
	d := discovery{seen: map[string]bool{}, c: &Corpus{Skipped: map[string]int64{}, opt: opt}}
	if w := opt.Weights; w != nil && len(w) != len(paths) {
		return nil, &Error{What: fmt.Sprintf("data.weights has %d weights for %d paths", len(w), len(paths)),
			Advice: "give one for each of data.paths, in their order"}
	}
	for i, p := range paths {
		d.index = i
		if err := d.root(p); err != nil {
			return nil, err
		}
	}
	c := d.c
	if len(c.Sources) == 0 {
		return nil, &Error{Path: strings.Join(paths, ", "), What: "no text found" + skippedNote(c.Skipped),
			Advice: "pass --data with a file or folder of UTF-8 text, .jsonl or .parquet"}
	}
	if len(c.Sources) > math.MaxInt32 {
		return nil, &Error{Path: strings.Join(paths, ", "), What: "more than 2^31 files",
			Advice: "join them into .jsonl files"}
	}
	slices.SortFunc(c.Sources, func(a, b Source) int {
		// Each path's documents lie together, so that they can be drawn from apart.
		if opt.Weights != nil && a.Root != b.Root {
			return cmp.Compare(a.Root, b.Root)
		}
		return strings.Compare(a.Path, b.Path)
	})
	for i, p := range paths {
		if opt.Weights != nil && !slices.ContainsFunc(c.Sources, func(s Source) bool { return s.Root == i }) {
			return nil, &Error{Path: p, What: "has a weight and no text of its own",
				Advice: "take it out of data.paths and data.weights"}
		}
	}
	return c, nil
}

func (o Options) check() error {
	switch o.BadDocuments {
	case "", "stop", "skip":
	default:
		return &Error{What: fmt.Sprintf("data.bad_documents is %q", o.BadDocuments), Advice: "use stop or skip"}
	}
	for _, w := range o.Weights {
		if !(w > 0) || math.IsInf(w, 0) {
			return &Error{What: fmt.Sprintf("data.weights has %v", w),
				Advice: "use numbers above 0, and leave out a path that should have no share"}
		}
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
		return &Error{Path: dir, What: "cannot list the folder", Err: cause(err),
			Advice: "make it readable for this user"}
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
			return &Error{Path: path, What: "vanished, or not readable", Err: cause(err),
				Advice: "run again, or make it readable for this user"}
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
	s := Source{Path: path, Size: info.Size(), Text: info.Size(), Root: d.index}
	name := strings.ToLower(filepath.Base(path))
	name, s.pack = cutPack(name)
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
		if s.pack != 0 {
			return "", &Error{Path: path, What: "a packed Parquet file",
				Advice: "unpack it: Parquet packs its columns itself"}
		}
		if s.Text, err = tableBytes(&s); err == nil {
			d.c.Sources = append(d.c.Sources, s)
		}
		return "", err
	}
	if reason, err = s.sniff(); reason == "" && err == nil {
		d.c.Sources = append(d.c.Sources, s)
	}
	return reason, err
}

// sniff looks at the first bytes of the text: it says why they are no text, estimates how much a packed file holds, and
// whether a JSONL file begins with a conversation.
func (s *Source) sniff() (reason string, err error) {
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
	if s.kind == jsonl {
		s.chat, err = beginsWithChat(br)
		return "", err
	}
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

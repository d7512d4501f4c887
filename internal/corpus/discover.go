package corpus

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Discover finds the files under paths, recursively: any text, and records (package record) of JSON, CSV and TSV, also
// packed with gzip or zstd, and .parquet.
//
// Below a folder it leaves out and counts hidden entries, files that are not text by their content, what this program
// writes (runs, checkpoints, models, token caches), links that are broken or lead out of the folder, second paths to
// the same file, and what is not a regular file. The same things named directly are errors. Files that cannot be read
// or unpacked are errors anywhere, so that no data is missed silently. All errors are *Error.
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
	c := newCorpus(opt)
	d := discovery{seen: map[string]bool{}, c: c}
	for _, p := range paths {
		r, err := findRoot(p)
		if err != nil {
			return nil, err
		}
		d.roots = append(d.roots, r)
		c.roots = append(c.roots, r.path)
	}
	for i := range d.roots {
		d.index = i
		if err := d.root(&d.roots[i]); err != nil {
			return nil, err
		}
	}
	if len(c.Sources) == 0 {
		note := c.leftText(false)
		if note != "" {
			note = "; left out: " + note
		}
		advice := c.leftAdvice()
		if advice == "" {
			advice = "pass --data with a file or folder of text, .jsonl or .parquet"
		}
		return nil, &Error{Path: strings.Join(paths, ", "), What: "no text found" + note, Advice: advice}
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
	if err := c.checkWeights(); err != nil {
		return nil, err
	}
	c.splitByName(paths)
	return c, nil
}

// checkWeights returns an error if a path with a weight has no text.
func (c *Corpus) checkWeights() error {
	for i := range c.opt.Weights {
		if !slices.ContainsFunc(c.Sources, func(s Source) bool { return s.Root == i }) {
			return &Error{Path: c.roots[i], What: "has a weight but no text of its own",
				Advice: "take it out of data.paths and data.weights"}
		}
	}
	return nil
}

// root is a path that the user named.
type root struct {
	path, real string // as given, and without links
	info       fs.FileInfo
}

func findRoot(p string) (r root, err error) {
	if p == "" {
		return r, &Error{What: "empty path", Advice: "pass --data with a file or folder of text"}
	}
	if r.info, err = os.Stat(p); err != nil {
		return r, cannot("use the path", p, err)
	}
	r.path = filepath.Clean(p)
	r.real, err = filepath.EvalSymlinks(r.path)
	if err == nil {
		r.real, err = filepath.Abs(r.real)
	}
	if err != nil {
		return r, cannot("resolve the path", p, err)
	}
	return r, nil
}

// holds reports whether a path without links is the root or below it.
func (r *root) holds(real string) bool {
	rest, ok := strings.CutPrefix(real, r.real)
	return ok && (rest == "" || os.IsPathSeparator(rest[0]) || os.IsPathSeparator(r.real[len(r.real)-1]))
}

type discovery struct {
	roots []root
	index int             // of the root that is walked
	seen  map[string]bool // real paths of folders entered and files taken
	c     *Corpus
}

// root takes one path that the user named.
func (d *discovery) root(r *root) error {
	if d.isOutput(r.info) {
		return &Error{Path: r.path, What: "this is where the run writes", Advice: "choose another --out, or other data"}
	}
	if isRunPart(r.real) {
		return notData(r.path, runPart, "")
	}
	if r.info.IsDir() {
		entries, err := os.ReadDir(r.path)
		if err != nil {
			return cannot("list the folder", r.path, err)
		}
		if own := ownFolder(r.path, entries); own != "" {
			return notData(r.path, own, "a ")
		}
		return d.folder(r.path, r.real)
	}
	reason, err := d.file(r.path, r.real, r.info)
	switch {
	case err != nil || reason == "" || reason == reasonTwice:
		return err
	case d.c.why[reason] != nil:
		return d.c.why[reason]
	}
	advice := adviceFor(reason)
	if advice == "" {
		advice = "pass text, .jsonl or .parquet"
	}
	return &Error{Path: r.path, What: "not text: " + reason, Advice: advice}
}

// notData is the error of a path that is no text of the user's.
func notData(path, own, article string) error {
	return &Error{Path: path, What: "not data but " + article + own, Advice: adviceFor(own)}
}

func (d *discovery) isOutput(info fs.FileInfo) bool {
	return slices.ContainsFunc(d.c.opt.Outputs, func(o fs.FileInfo) bool { return os.SameFile(o, info) })
}

const (
	hidden      = "hidden entry"
	linkBroken  = "broken link"
	linkOut     = "link out of the folder"
	specialFile = "special file"
	reasonTwice = "second path to the same file"
)

// folder walks dir in name order; real is its path without links.
func (d *discovery) folder(dir, real string) error {
	if d.seen[real] {
		d.c.skip(reasonTwice, d.index, dir)
		return nil
	}
	d.seen[real] = true
	entries, err := os.ReadDir(dir)
	if err != nil {
		return cannot("list the folder", dir, err)
	}
	if own := ownFolder(dir, entries); own != "" {
		d.c.skip(own, d.index, dir)
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		reason, err := d.entry(path, filepath.Join(real, e.Name()), e)
		if err != nil {
			return err
		}
		if reason != "" {
			d.c.skip(reason, d.index, path)
		}
	}
	return nil
}

// entry takes one entry of a folder, or says why it is skipped.
func (d *discovery) entry(path, real string, e fs.DirEntry) (reason string, err error) {
	if strings.HasPrefix(e.Name(), ".") {
		return hidden, nil
	}
	info, err := os.Stat(path)
	if e.Type()&fs.ModeSymlink != 0 {
		if err == nil {
			real, err = filepath.EvalSymlinks(real)
		}
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return linkBroken, nil
		}
		if err == nil && !slices.ContainsFunc(d.roots, func(r root) bool { return r.holds(real) }) {
			return linkOut, nil
		}
	}
	switch {
	case err != nil:
		return "", cannot("read", path, err)
	case d.isOutput(info):
		return ownOutput, nil
	case info.IsDir():
		return "", d.folder(path, real)
	}
	return d.file(path, real, info)
}

// file takes one file, or says why it is skipped.
func (d *discovery) file(path, real string, info fs.FileInfo) (reason string, err error) {
	if !info.Mode().IsRegular() {
		return specialFile, nil // opening a pipe would wait for its writer
	}
	if d.seen[real] {
		return reasonTwice, nil
	}
	d.seen[real] = true
	s := Source{Path: path, Size: info.Size(), Text: info.Size(), Root: d.index}
	if reason, err = s.sniff(d.c.opt); reason == "" && err == nil {
		d.c.Sources = append(d.c.Sources, s)
	} else if s.unread != nil && d.c.why[reason] == nil {
		d.c.why[reason] = s.unread
	}
	return reason, err
}

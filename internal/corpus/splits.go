package corpus

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// side is what a name says that a file or folder is for.
type side uint8

const (
	unnamed side = iota
	trainSide
	valSide
	testSide
)

var sides = map[string]side{"train": trainSide, "training": trainSide, "valid": valSide, "validation": valSide,
	"val": valSide, "dev": valSide, "eval": valSide, "test": testSide, "testing": testSide}

// splitPattern matches a name without its endings: what the corpus may be called, the split, and the shard's number.
var splitPattern = regexp.MustCompile(`^(?:(.*)[-_.])?(train(?:ing)?|valid(?:ation)?|val|dev|eval|test(?:ing)?)` +
	`(?:[-_.]?(?:part|shard)?[-_.]?[0-9]+(?:[-_.]?of[-_.]?[0-9]+)?(?:-[0-9a-f]{16})?)?$`)

// splitEntry is a file or folder that is named like a split, and what is in it.
type splitEntry struct {
	of             string // the folder, and what the corpus is called there: the same for all its splits
	side           side
	depth          int // folders between it and the given path; -1: it is one of several given paths
	file           bool
	all            int // files
	records, texts int // of them, by their names
}

// splits are the files that their names held out of training.
type splits struct {
	val, test []string // files and folders, as named
	trained   []string // named like a held-out split and trained on: nothing beside them is named train
	weighted  []string // the same, because their path has a weight
}

// splitByName finds what people have split. Files of records or folders of them, anywhere, and text directly under the
// given paths, are what they are named if something beside them is named train. It marks the sources of validation,
// and takes those of a test out of the corpus: nothing learns from them, neither tokenizer nor judge.
//
// Source code has tests, and people keep text under ~/dev: files of code are no splits, nor are the given paths
// themselves, unless one beside the other is given without weights.
func (c *Corpus) splitByName(paths []string) {
	if !c.opt.Splits {
		return
	}
	entries := map[string]*splitEntry{}
	under := make([][]*splitEntry, len(c.Sources))
	weighted := c.opt.Weights != nil
	for i := range c.Sources {
		s := &c.Sources[i]
		under[i] = namedLikeSplits(filepath.Clean(paths[s.Root]), s.Path, len(paths) > 1, entries)
		record, text := looksLike(s.Path)
		for _, e := range under[i] {
			e.all++
			if record {
				e.records++
			} else if text && (!e.file || filepath.Ext(s.Path) != "") { // a script may be called train
				e.texts++
			}
		}
	}
	trained := map[string]bool{}
	for _, e := range entries {
		trained[e.of] = trained[e.of] || e.side == trainSide && e.counts()
	}
	test := make([]bool, len(c.Sources))
	for i := range c.Sources {
		of := unnamed
		for _, e := range under[i] {
			if e.counts() && trained[e.of] && !(weighted && e.depth < 0) {
				of = max(of, e.side)
			}
		}
		c.Sources[i].Held, test[i] = of == valSide, of == testSide
	}
	c.splits.note(entries, trained, weighted)
	kept := c.Sources[:0]
	for i, s := range c.Sources {
		if !test[i] {
			kept = append(kept, s)
		}
	}
	c.Sources = kept
}

// namedLikeSplits returns the files and folders from root to path that are named like splits.
func namedLikeSplits(root, path string, several bool, entries map[string]*splitEntry) (list []*splitEntry) {
	names := []string{filepath.Base(root)}
	dir := filepath.Dir(root)
	if rel, err := filepath.Rel(root, path); err == nil && rel != "." {
		names = append(names, strings.Split(rel, string(filepath.Separator))...)
	}
	for i, name := range names {
		at := filepath.Join(dir, name)
		file := i == len(names)-1
		if of, side := splitName(name, file); side != unnamed && (i > 0 || several) {
			e := entries[at]
			if e == nil {
				e = &splitEntry{of: dir + "\x00" + of, side: side, depth: i - 1, file: file}
				entries[at] = e
			}
			list = append(list, e)
		}
		dir = at
	}
	return list
}

// splitName returns what a name says: of which corpus it is a split, and which.
func splitName(name string, file bool) (of string, _ side) {
	name = strings.ToLower(name)
	if file {
		name, _ = cutPack(name)
		name = strings.TrimSuffix(name, filepath.Ext(name))
	}
	if m := splitPattern.FindStringSubmatch(name); m != nil {
		return m[1], sides[m[2]]
	}
	return "", unnamed
}

var (
	recordEndings = []string{".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv"}
	textEndings   = []string{"", ".txt", ".text", ".md", ".tokens", ".raw"}
)

// looksLike says by the name of a file whether it holds records, or text that is no source code.
func looksLike(path string) (record, text bool) {
	name, _ := cutPack(strings.ToLower(filepath.Base(path)))
	ext := filepath.Ext(name)
	if strings.Trim(ext, ".0123456789") == "" {
		ext = "" // numbered
	}
	return slices.Contains(recordEndings, ext), slices.Contains(textEndings, ext)
}

// counts reports whether an entry may be a split: most of it is records or, near the given path, text.
func (e *splitEntry) counts() bool {
	if e.depth > 0 {
		return e.records == e.all
	}
	return 2*(e.records+e.texts) > e.all
}

// note remembers the names for those who want to know.
func (n *splits) note(entries map[string]*splitEntry, trained map[string]bool, weighted bool) {
	for path, e := range entries {
		switch {
		case e.side == trainSide || !e.counts():
		case trained[e.of] && weighted && e.depth < 0:
			n.weighted = append(n.weighted, path)
		case trained[e.of] && e.side == valSide:
			n.val = append(n.val, path)
		case trained[e.of]:
			n.test = append(n.test, path)
		case e.file && e.records > 0 && e.depth >= 0:
			n.trained = append(n.trained, path)
		}
	}
	slices.Sort(n.val)
	slices.Sort(n.test)
	slices.Sort(n.trained)
	slices.Sort(n.weighted)
}

// SplitNames names the files and folders that are held out by their names: for validation, and for a test. They are
// empty without such.
func (c *Corpus) SplitNames() (val, test string) { return names(c.splits.val), names(c.splits.test) }

// names lists the first of some files and folders for a person.
func names(paths []string) string {
	const most = 2
	var list []string
	for _, p := range paths[:min(most, len(paths))] {
		list = append(list, printable(filepath.Base(p)))
	}
	if more := len(paths) - most; more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	if last := len(list) - 1; last > 0 {
		list = append(list[:last-1], list[last-1]+" and "+list[last])
	}
	return strings.Join(list, ", ")
}

// printable returns a name as it is, or quoted if it would do more to a terminal than show.
func printable(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !strconv.IsPrint(r) || r == utf8.RuneError }) {
		return strconv.Quote(name)
	}
	return name
}

// findings says what follows from names.
func (n *splits) findings() (f []Finding) {
	var parts []string
	if n.val != nil {
		parts = append(parts, names(n.val)+" for validation")
	}
	if n.test != nil {
		parts = append(parts, names(n.test)+" for neither training nor validation")
	}
	if parts != nil {
		f = append(f, Finding{Text: "split by name: " + strings.Join(parts, "; "),
			Advice: "data.splits=ignore trains on all files"})
	}
	if n.trained != nil {
		f = append(f, Finding{Text: names(n.trained) + ": named like a held-out part and trained on, because nothing " +
			"beside it is named train", Advice: "take it out of the folder, or give the rest such a name"})
	}
	if n.weighted != nil {
		f = append(f, Finding{Text: names(n.weighted) + ": named like a held-out part and trained on, because " +
			"data.weights gives it a share", Advice: "without weights it is held out"})
	}
	return f
}

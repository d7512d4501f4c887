package corpus

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"gimbal/internal/sniff"
)

// Finding is something that a person should know about a text before a model learns from it.
type Finding struct {
	Text   string // a sentence without a full stop: what, how many, the names of the first
	Advice string // what to do; may be empty
	Warn   bool   // it changes what is learned, and hardly as meant
}

// Findings returns what is to be told of the files.
func (c *Corpus) Findings() (f []Finding) {
	if left := c.leftText(true); left != "" {
		f = append(f, Finding{Text: "left out: " + left, Advice: c.leftAdvice(), Warn: c.leftMuch()})
	}
	for _, name := range slices.Sorted(maps.Keys(c.decoded)) {
		d := c.decoded[name]
		told := Finding{Text: "decoded from " + name + ": " + CountKind(d.files, "file") + named(d.first, d.files)}
		if lost := d.lost / int64(len(sniff.Replacement)); lost > 0 {
			told.Text += fmt.Sprintf("; %s could not be decoded", CountKind(lost, "character"))
			told.Warn = float64(d.lost) > muchInvalid*float64(d.bytes)
		}
		f = append(f, told)
	}
	return append(append(f, c.recordFindings()...), c.splits.findings()...)
}

// Invalid returns what is to be told of bytes that are not UTF-8: their number in so many documents, of all bytes.
func (c *Corpus) Invalid(bytes, documents, all int64) Finding {
	share := float64(bytes) / float64(max(1, all))
	f := Finding{Text: fmt.Sprintf("%s in %s %s not UTF-8: %.2g %%", CountKind(bytes, "byte"),
		CountKind(documents, "document"), is(bytes), 100*share)}
	if c.opt.raw() || share <= muchInvalid {
		return f
	}
	f.Warn, f.Advice = true, "name the encoding in data.encoding, or convert the files to UTF-8"
	if c.guess != "" {
		f.Text += ", and they look like " + c.guess
		f.Advice = fmt.Sprintf("set data.encoding = %q, or convert the files to UTF-8", c.guess)
	}
	return f
}

// generated is the kind of a file of the default corpus that no person wrote.
const generated = "generated file"

// quiet are the kinds that are left out of every folder, and tell nobody anything.
var quiet = []string{hidden, generated, reasonTwice}

// mostNamed is how many paths of a kind are named.
const mostNamed = 3

func newCorpus(opt Options) *Corpus {
	return &Corpus{Skipped: map[string]int64{}, first: map[string][]string{}, why: map[string]*Error{},
		decoded: map[string]*decoding{}, opt: opt}
}

// skip counts a file or folder that is left out of a root.
func (c *Corpus) skip(kind string, root int, path string) {
	c.Skipped[kind]++
	c.first[kind] = appendFirst(c.first[kind], c.short(root, path))
}

// short names a path by its place below a root.
func (c *Corpus) short(root int, path string) string {
	if root >= len(c.roots) {
		return path
	}
	switch short, err := filepath.Rel(c.roots[root], path); {
	case err != nil:
		return path
	case short == ".":
		return filepath.Base(path)
	default:
		return short
	}
}

func appendFirst(list []string, path string) []string {
	if len(list) < mostNamed {
		list = append(slices.Clip(list), path) // others may hold the list
	}
	return list
}

// leftText lists what was left out, by kind, the most frequent first, with the names of the first; without those
// that are quiet if told is set.
func (c *Corpus) leftText(told bool) string {
	var parts []string
	for _, kind := range mostFirst(c.Skipped) {
		if told && c.why[kind] != nil {
			continue // they have lines of their own
		}
		if n := c.Skipped[kind]; !slices.Contains(quiet, kind) {
			parts = append(parts, CountKind(n, kind)+named(c.first[kind], n))
		} else if !told {
			parts = append(parts, CountKind(n, kind))
		}
	}
	return strings.Join(parts, ", ")
}

// adviceFor says what to do with a kind of file or folder; "" where there is no text in it.
func adviceFor(kind string) string {
	switch kind {
	case invalidFile:
		return "convert the files to UTF-8, name their encoding in data.encoding, or set it to raw"
	case linkOut:
		return "name what links lead to as paths of their own"
	case specialFile:
		return "it is a pipe, socket or device: give a regular file"
	}
	if slices.Contains(ownKinds, kind) {
		return "pass files or folders of text; a model is taken by --from"
	}
	return sniff.Advice(kind)
}

// leftAdvice says how to get text out of what was left out.
func (c *Corpus) leftAdvice() string {
	var all []string
	for _, kind := range mostFirst(c.Skipped) {
		advice := adviceFor(kind)
		if kind == invalidFile && c.guess != "" {
			advice = fmt.Sprintf("what is not UTF-8 looks like %s: set data.encoding = %q, or convert it", c.guess,
				c.guess)
		}
		if advice != "" && !slices.Contains(ownKinds, kind) {
			all = append(all, advice)
		}
	}
	return strings.Join(all, "; ")
}

// leftMuch reports whether more files were left out than taken, own output not counted, or text that was not fetched.
func (c *Corpus) leftMuch() bool {
	n := c.Skipped[sniff.LFSPointer] * int64(len(c.Sources))
	for kind, k := range c.Skipped {
		if !slices.Contains(quiet, kind) && !slices.Contains(ownKinds, kind) {
			n += k
		}
	}
	return n > int64(len(c.Sources))
}

// named lists the first of n paths in brackets.
func named(first []string, n int64) string {
	if len(first) == 0 {
		return ""
	}
	list := make([]string, len(first))
	for i, p := range first {
		list[i] = Printable(p)
	}
	if int64(len(first)) < n {
		list = append(list, "…")
	}
	return " (" + strings.Join(list, ", ") + ")"
}

// Printable writes a path or another text for a terminal or a log: as it is, or quoted as in Go where a character does
// not print or a byte is not UTF-8.
func Printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// CountKind writes a number with the kind of thing that it counts: "2 links out of the folder".
func CountKind(n int64, kind string) string {
	if n == 1 {
		return "1 " + kind
	}
	end := len(kind)
	for _, behind := range []string{" (", " of ", " out of ", " that ", " to ", " without ", " packed "} {
		if i := strings.Index(kind, behind); i >= 0 {
			end = min(end, i)
		}
	}
	return fmt.Sprintf("%d %ss%s", n, kind[:end], kind[end:])
}

func is(n int64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

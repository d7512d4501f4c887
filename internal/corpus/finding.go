package corpus

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
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
	decoded, first := map[string]int64{}, map[string][]string{}
	for _, s := range c.Sources {
		if s.Encoding != "" {
			decoded[s.Encoding]++
			first[s.Encoding] = appendFirst(first[s.Encoding], s.Path)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(decoded)) {
		f = append(f, Finding{Text: "decoded from " + name + ": " + CountKind(decoded[name], "file") +
			named(first[name], decoded[name])})
	}
	return append(append(f, c.recordFindings()...), c.splits.findings()...)
}

// Guess returns the encoding that bytes that are not UTF-8 look like; "" if that is unknown.
func (c *Corpus) Guess() string { return c.guess }

// generated is the kind of a file of the default corpus that no person wrote.
const generated = "generated file"

// quiet are the kinds that are left out of every folder, and tell nobody anything.
var quiet = []string{hidden, generated, reasonTwice}

// mostNamed is how many paths of a kind are named.
const mostNamed = 3

func newCorpus(opt Options) *Corpus {
	return &Corpus{Skipped: map[string]int64{}, first: map[string][]string{}, why: map[string]*Error{}, opt: opt}
}

// skip counts a file or folder that is left out.
func (c *Corpus) skip(kind, path string) {
	c.Skipped[kind]++
	c.first[kind] = appendFirst(c.first[kind], path)
}

func appendFirst(list []string, path string) []string {
	if len(list) < mostNamed {
		list = append(list, path)
	}
	return list
}

// leftText lists what was left out, by kind, with the names of the first; without those that are quiet if told is set.
func (c *Corpus) leftText(told bool) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(c.Skipped)) {
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

// leftAdvice says how to get text out of what was left out.
func (c *Corpus) leftAdvice() string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(c.Skipped)) {
		if advice := converts[kind]; advice != "" && !slices.Contains(ownKinds, kind) {
			all = append(all, advice)
		}
	}
	return strings.Join(all, "; ")
}

// leftMuch reports whether more files were left out than taken, output of this program and links not counted.
func (c *Corpus) leftMuch() bool {
	n := int64(0)
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
		list[i] = ShowPath(p)
	}
	if int64(len(first)) < n {
		list = append(list, "…")
	}
	return " (" + strings.Join(list, ", ") + ")"
}

// ShowPath writes a path for a terminal or a log: as it is, or quoted as in Go where a character does not print or a
// byte is not UTF-8.
func ShowPath(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) {
		return strconv.Quote(path)
	}
	return path
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

package gimbal_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// pages returns the text of every page of the repository by its path, reports of bench/ included.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".md" || strings.Contains(path, "testdata") {
			return err
		}
		text, err := os.ReadFile(path)
		all[filepath.ToSlash(path)] = string(text)
		return err
	})
	if err != nil || len(all) < 20 {
		t.Fatalf("%d pages: %v", len(all), err)
	}
	return all
}

// isReport reports whether a page is a dated report or a list of changes: such pages name what was there at their time.
func isReport(path string) bool {
	return path == "CHANGELOG.md" || strings.HasPrefix(path, "bench/")
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks follows every link from one page of the repository to another, down to the heading.
func TestLinks(t *testing.T) {
	all := pages(t)
	found := 0
	for path, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := path
			if file != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(path), file))
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(all[target]), anchor) {
				t.Errorf("%s links to %s, which has no such heading", path, m[1])
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d links were found", found)
	}
}

// anchors are the names that GitHub gives the headings of a page.
func anchors(page string) (list []string) {
	for line := range strings.Lines(page) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			list = append(list, strings.Map(func(r rune) rune {
				switch {
				case r == ' ':
					return '-'
				case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
					return unicode.ToLower(r)
				}
				return -1
			}, strings.TrimSpace(title)))
		}
	}
	return list
}

// TestPagesAreShort keeps the limits of words, and prose under 120 columns. Rows of tables cannot be wrapped.
func TestPagesAreShort(t *testing.T) {
	limits := map[string]int{"README.md": 900, "docs/tour.md": 600, "docs/architecture.md": 2600, "docs/": 22000}
	words := map[string]int{}
	for path, text := range pages(t) {
		n := len(strings.Fields(text))
		words[path] = n
		if strings.HasPrefix(path, "docs/") {
			words["docs/"] += n
		}
		number := 0
		for line := range strings.Lines(text) {
			number++
			if columns := utf8.RuneCountInString(strings.TrimRight(line, "\n")); columns >= 120 &&
				!strings.HasPrefix(line, "|") {
				t.Errorf("%s:%d has %d columns", path, number, columns)
			}
		}
	}
	for path, limit := range limits {
		if words[path] == 0 || words[path] > limit {
			t.Errorf("%s has %d words, at most %d are allowed", path, words[path], limit)
		}
	}
	t.Logf("docs/ has %d words", words["docs/"])
}

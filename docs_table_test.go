package gimbal_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var updateDocs = flag.Bool("update", false, "write lines and imports of the table in docs/architecture.md anew")

const (
	architecture = "docs/architecture.md"
	tableBegins  = "<!-- packages -->\n```\n"
	tableEnds    = "```\n"
)

// TestPackageTable holds the table of packages against the code: every package, its lines of Go without tests, and
// what it imports. A package imports only packages that stand below it, so the table has no circle.
//
// Names, order and descriptions are written by hand. Lines may be off by a tenth, or by a hundred.
func TestPackageTable(t *testing.T) {
	page, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), tableBegins)
	table, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok || !ok2 {
		t.Fatal("there is no table of packages")
	}
	imports := importsOf(t)
	row := regexp.MustCompile(`^(\S+) +(\d+)  (.+)\n$`)
	var want strings.Builder
	seen := map[string]bool{}
	for line := range strings.Lines(table) {
		m := row.FindStringSubmatch(line)
		if m == nil {
			if !strings.HasPrefix(line, " ") { // a heading, or an empty line
				want.WriteString(line)
			}
			continue
		}
		name := m[1]
		deps, known := imports[name]
		if !known || seen[name] {
			t.Errorf("the table has %s, which does not exist or comes twice", name)
		}
		seen[name] = true
		for _, dep := range deps {
			if seen[dep] {
				t.Errorf("%s imports %s, which stands above it", name, dep)
			}
		}
		lines := linesOf(t, name)
		if was, _ := strconv.Atoi(m[2]); !*updateDocs && max(was-lines, lines-was) <= max(100, lines/10) {
			lines = was
		}
		fmt.Fprintf(&want, "%-14s%5d  %s\n", name, lines, m[3])
		for len(deps) > 0 {
			n := min(len(deps), 10)
			fmt.Fprintf(&want, "%22s %s\n", "→", strings.Join(deps[:n], " "))
			deps = deps[n:]
		}
	}
	for name := range imports {
		if !seen[name] {
			t.Errorf("the table lacks %s", name)
		}
	}
	switch {
	case want.String() == table:
	case *updateDocs:
		text := before + tableBegins + want.String() + tableEnds + after
		if err := os.WriteFile(architecture, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what the code is; \"go test . -run TestPackageTable -update\" writes\n%s", architecture,
			want.String())
	}
}

// importsOf returns what each package imports of ours, on any system, sorted.
func importsOf(t *testing.T) map[string][]string {
	imports := map[string][]string{}
	for _, p := range listPackages(t) {
		name := tableName(p.ImportPath)
		deps := imports[name]
		for _, imp := range p.Imports {
			if dep := tableName(imp); dep != imp && !slices.Contains(deps, dep) {
				deps = append(deps, dep)
			}
		}
		slices.Sort(deps)
		imports[name] = deps
	}
	return imports
}

// tableName is a package of ours as the table names it; other paths stay.
func tableName(importPath string) string {
	if name := shorten(importPath); name != "." {
		return strings.TrimPrefix(name, "internal/")
	}
	return "(root)"
}

// TestSizes keeps files and packages of a size that one can read: a file has at most 300 lines, a package 3,000, and
// the loop of a run 2,000.
func TestSizes(t *testing.T) {
	for name := range importsOf(t) {
		limit := 3000
		if name == "train" {
			limit = 2000
		}
		total := 0
		for file, n := range linesByFile(t, name) {
			if total += n; n > 300 {
				t.Errorf("%s has %d lines, at most 300 are allowed", file, n)
			}
		}
		if total > limit {
			t.Errorf("%s has %d lines, at most %d are allowed", name, total, limit)
		}
	}
}

// linesOf counts the lines of Go of a package, without its tests.
func linesOf(t *testing.T, name string) (lines int) {
	for _, n := range linesByFile(t, name) {
		lines += n
	}
	return lines
}

// linesByFile counts the lines of each file of a package that is not a test.
func linesByFile(t *testing.T, name string) map[string]int {
	dir := filepath.Join("internal", name)
	switch name {
	case "(root)":
		dir = "."
	case "cmd/gimbal", "cmd/gimbal-device":
		dir = name
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of %s: %v", name, err)
	}
	lines := map[string]int{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines[file] = bytes.Count(text, []byte("\n"))
	}
	return lines
}

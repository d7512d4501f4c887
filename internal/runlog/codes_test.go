package runlog

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/events.md anew")

var codePattern = regexp.MustCompile(`^[A-Z][0-9]?(-[A-Z]+)+$`)

// kinds are the letters that codes begin with.
const kinds = "EAWIJFP"

// codesIn returns the string literals of a Go file that are codes.
func codesIn(t *testing.T, name string, src any) (codes []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, err := strconv.Unquote(lit.Value)
			if err == nil && codePattern.MatchString(text) && strings.Contains(kinds, text[:1]) {
				codes = append(codes, text)
			}
		}
		return true
	})
	return codes
}

// listed returns all codes of the table.
func listed() (codes []Code) {
	for _, part := range Codes {
		codes = append(codes, part.Codes...)
	}
	return codes
}

// Every code in the sources is in the table, and every code of the table is in the sources.
func TestCodesAreThoseOfTheSources(t *testing.T) {
	sources := map[string]string{} // code: a file that has it
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		skipped := path == filepath.Join(root, "bench") || name == "testdata" || path != root && name[0] == '.'
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped:
			return fs.SkipDir
		case d.IsDir(), filepath.Ext(name) != ".go", strings.HasSuffix(name, "_test.go"), name == "codes.go":
			return nil
		}
		for _, code := range codesIn(t, path, nil) {
			sources[code] = path
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]bool{}
	for _, c := range listed() {
		if table[c.Code] {
			t.Errorf("%s is in the table twice", c.Code)
		}
		table[c.Code] = true
		if _, ok := sources[c.Code]; !ok {
			t.Errorf("%s is in the table, and in no source", c.Code)
		}
	}
	for code, path := range sources {
		if !table[code] {
			t.Errorf("%s of %s is not in the table of codes.go", code, path)
		}
	}
}

// The scan finds a code wherever it is written, and takes nothing else for one.
func TestCodesIn(t *testing.T) {
	const src = "package p\nconst a, b = \"E9-NEW\", `W-ALSO-NEW`\n" +
		"var c = []string{\"P-\", \"E\", \"e0-small\", \"X-OTHER\", \"UTF-8\", \"W-A b\", \"J\" + \"-PIECE\"}\n"
	if got := codesIn(t, "p.go", src); !slices.Equal(got, []string{"E9-NEW", "W-ALSO-NEW"}) {
		t.Errorf("found %q", got)
	}
}

// A line of the table says something in each column that may not be empty, and can stand in a table of Markdown.
func TestCodesAreDescribed(t *testing.T) {
	severities := []string{"info", "warning", "error", "warning, error"}
	for _, c := range listed() {
		if !codePattern.MatchString(c.Code) || c.When == "" || !slices.Contains(severities, c.Severity) {
			t.Errorf("not a description: %+v", c)
		}
		if strings.HasPrefix(c.Code, "E") && (c.Does == "" || c.Advice == "") {
			t.Errorf("%s: an error of training says what is done, and what to do", c.Code)
		}
		for _, text := range []string{c.When, c.Does, c.Advice} {
			if strings.ContainsAny(text, "|\n") || strings.HasSuffix(text, ".") {
				t.Errorf("%s: %q does not fit into a table", c.Code, text)
			}
		}
	}
}

// docs/events.md is made from the table, so that it cannot fall behind.
func TestEventsPage(t *testing.T) {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(eventsHead, "'", "`"))
	for _, part := range Codes {
		fmt.Fprintf(&b, "\n## %s\n\n", part.Title)
		if part.Intro != "" {
			b.WriteString(part.Intro + "\n\n")
		}
		// Where Gimbal only reports, there is no column for what it does.
		acts := slices.ContainsFunc(part.Codes, func(c Code) bool { return c.Does != "" })
		if acts {
			b.WriteString("| code | when | what Gimbal does | what to do |\n|---|---|---|---|\n")
		} else {
			b.WriteString("| code | when | what to do |\n|---|---|---|\n")
		}
		for _, c := range part.Codes {
			fmt.Fprintf(&b, "| `%s` %s | %s |", c.Code, c.Severity, c.When)
			if acts {
				fmt.Fprintf(&b, " %s |", cmp.Or(c.Does, "reports"))
			}
			fmt.Fprintf(&b, " %s |\n", cmp.Or(c.Advice, "nothing"))
		}
	}
	path := filepath.Join("..", "..", "docs", "events.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s is stale (go test ./internal/runlog -update); it should be:\n%s", path, b.String())
	}
}

// eventsHead has ' where the page has a back quote.
const eventsHead = `# Event codes

Every event of a run is in its 'log.jsonl', with one of these codes and its numbers; 'gimbal why RUN' prints them in
order. The first letter is the kind: E a refused update, A an alarm about gradients, W a warning, I information, J a
decision about the writing, F files, P a check before step 1. Numbers in brackets are exit codes. A table without a
column for what Gimbal does has events that change nothing in training. [guards.md](guards.md) explains how the guard
decides.

This page is generated from 'internal/runlog/codes.go'.
`

package gimbal_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSilencePage holds the page of promises to its tests: every line says what happens, and names tests that exist.
func TestSilencePage(t *testing.T) {
	page, err := os.ReadFile("docs/silence.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("^\\| [^|]+ \\| (?:impossible|refused|told|undone)[^|]* \\| ((?:`\\w+`(?:, )?)+) \\|$")
	rows := 0
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what goes wrong") {
			continue
		}
		rows++
		m := row.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("not a promise with a test: %s", line)
			continue
		}
		for _, name := range strings.Split(m[1], ", ") {
			if !tests[strings.Trim(name, "`")] {
				t.Errorf("%s is no test: %s", name, line)
			}
		}
	}
	if rows < 25 {
		t.Errorf("only %d promises were found", rows)
	}
}

package rundir

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The text is looked for beside the run and above it, by the longest end of its path.
func TestMoved(t *testing.T) {
	home := t.TempDir()
	run, text := filepath.Join(home, "new", "runs", "r"), filepath.Join(home, "new", "texts", "a")
	for _, dir := range []string{run, text, filepath.Join(home, "new", "a")} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	gone := func(path string) string { return filepath.Join(home, "old", path) }
	for name, c := range map[string]struct{ paths, want []string }{
		"nothing moved": {[]string{text}, nil},
		"moved":         {[]string{gone("texts/a")}, []string{text}},
		"one of two":    {[]string{run, gone("texts/a")}, []string{run, text}},
		"gone":          {[]string{gone("texts/b")}, nil},
		"no paths":      {nil, nil},
	} {
		if got := Moved(run, c.paths); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

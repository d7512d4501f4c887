package judge

import (
	"slices"
	"testing"
)

// FuzzPage: whatever a page holds, marks that are set on it are read from it, and no other text changes.
func FuzzPage(f *testing.F) {
	f.Add([]byte("# Evaluation 1, step 1\n\n## 1 of 2: a\n\n    text\n\n- [ ] good\n- [x] broken\n\n## 2 of 2: b\n"), 0)
	f.Add([]byte("## \n- [x] good\r\n## \n"), 1)
	f.Add([]byte("# E\n\n## 1 of 1: a\n\n- [ ] good\n- [x] broken\n- [x] good\n- [x] broken\n"), 0)
	f.Fuzz(func(t *testing.T, page []byte, at int) {
		sections := ReadPage(page)
		Look(page)
		if at < 0 || at >= len(sections) {
			return
		}
		marked := ReadPage(Tick(page, at, sections[at].Marks))
		if len(marked) != len(sections) || !slices.Equal(marked[at].Marks, sections[at].Marks) {
			t.Fatalf("%q: %+v became %+v", page, sections, marked)
		}
		for i := range sections {
			if i != at && !slices.Equal(marked[i].Marks, sections[i].Marks) {
				t.Fatalf("%q: text %d changed", page, i)
			}
		}
	})
}

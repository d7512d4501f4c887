package judge

import (
	"reflect"
	"strings"
	"testing"
)

func TestPageRoundTrip(t *testing.T) {
	texts := []Written{
		{"The cat", " sat\n## 9 of 9: a heading\n- [x] good\n", "eos", Reading{}},
		{"", strings.Repeat("line\n", 60), "length", Reading{Badness: 3, Reasons: []string{"repeating: much",
			"broken: a little"}}},
		{"p", strings.Repeat("長", 3000), "length", Reading{}},
	}
	page := Page(4, 120, []string{"one", "two"}, texts, []int{1, 0, 2})
	sections := ReadPage(page)
	if len(sections) != 3 || !strings.HasPrefix(sections[0].Text, "1 of 3: repeating: much; broken: a little") {
		t.Fatalf("%d sections, %+v", len(sections), sections)
	}
	for i, s := range sections {
		if s.Marks != nil {
			t.Errorf("text %d is marked already: %v", i, s.Marks)
		}
		if n := strings.Count(s.Text, "\n"); n > screenLines+15 {
			t.Errorf("text %d has %d lines", i, n)
		}
	}
	if !strings.Contains(sections[0].Text, "more characters") || !strings.Contains(sections[2].Text,
		"(1400 more characters)") {
		t.Error("what is cut is not said")
	}
	if l := Look(page); l.Marked != 0 || l.Texts != 3 || !strings.Contains(l.String(), "nobody") {
		t.Errorf("%+v %s", l, l)
	}
	page = Tick(page, 1, []string{"good"})
	page = Tick(page, 2, []string{"repeating", "broken"})
	page = Tick(page, 2, []string{"drifting", "broken"})                          // another opinion
	page = []byte(strings.Replace(string(page), "- [ ] good", "- [X] good  ", 1)) // in an editor
	got := ReadPage(page)
	if !reflect.DeepEqual([][]string{got[0].Marks, got[1].Marks, got[2].Marks},
		[][]string{{"good"}, {"good"}, {"drifting", "broken"}}) {
		t.Errorf("%v %v %v", got[0].Marks, got[1].Marks, got[2].Marks)
	}
	for i := range got {
		if got[i].Text != sections[i].Text {
			t.Errorf("marking changed text %d", i)
		}
	}
	if l := Look(page); l.String() != "a person marked 3 of 3 texts: 2 good, 1 drifting, 1 broken" {
		t.Error(l)
	}
}

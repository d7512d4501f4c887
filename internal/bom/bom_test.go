package bom

import "testing"

func TestFind(t *testing.T) {
	for _, c := range []struct {
		text, encoding string
		size           int
	}{
		{"", "", 0},
		{"text", "", 0},
		{"\xEF\xBB", "", 0},
		{"\xEF\xBB\xBFtext", "utf-8", 3},
		{"\xFF\xFEa\x00", "utf-16le", 2},
		{"\xFF\xFE", "utf-16le", 2},
		{"\xFE\xFF\x00a", "utf-16be", 2},
		{"\xFF\xFE\x00\x00a\x00\x00\x00", "utf-32le", 4},
		{"\x00\x00\xFE\xFF\x00\x00\x00a", "utf-32be", 4},
	} {
		if encoding, size := Find([]byte(c.text)); encoding != c.encoding || size != c.size {
			t.Errorf("%q: %q, %d", c.text, encoding, size)
		}
	}
	for text, want := range map[string]string{"": "", "a": "a", "\xEF\xBB\xBFa": "a", "\xFF\xFEa": "\xFF\xFEa",
		"\xEF\xBB\xBF\xEF\xBB\xBF": "\xEF\xBB\xBF"} {
		if got := string(Drop([]byte(text))); got != want {
			t.Errorf("Drop(%q) is %q", text, got)
		}
	}
}

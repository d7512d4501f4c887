package strictjson

import "testing"

// TestAppendQuote reads back every byte, valid UTF-8 or not.
func TestAppendQuote(t *testing.T) {
	var all []byte
	for c := range 256 {
		all = append(all, byte(c))
	}
	for _, s := range []string{"", "plain", "a\"b\\c\n", "größer 中文 😀", string(all)} {
		quoted := AppendQuote([]byte("x"), s)
		r := New(quoted[1:], AllowInvalidUTF8)
		if raw := r.Value(); r.End() != nil || quoted[0] != 'x' || len(raw) != len(quoted)-1 {
			t.Errorf("%q is quoted as %q: %v", s, quoted, r.End())
		}
		if valid := s == "" || s != string(all); valid {
			if got := New(quoted[1:]).Text(); got != s {
				t.Errorf("%q is read back as %q", s, got)
			}
		}
	}
}

package data

import "testing"

func TestCopies(t *testing.T) {
	for _, tt := range []struct {
		split string
		cut   int
		texts []string
		want  Copies
	}{
		{"none", 0, []string{"a", "b", "", "c", ""}, Copies{Documents: 3}},
		{"none", 0, []string{"a", "b", "a", "a", "b"}, Copies{Documents: 5, Copies: 3}},
		{"position", 2, []string{"a", "b", "c", "d", "b"}, Copies{Documents: 5, Copies: 1, Crossing: 1}},
		{"position", 2, []string{"a", "a", "c", "d", "d"}, Copies{Documents: 5, Copies: 2}},
	} {
		s := &Set{SplitBy: tt.split, cutDoc: tt.cut}
		for i, text := range tt.texts {
			r := record{Tokens: int64(len(text)), Ref: Ref{Source: int32(i)}}
			r.Hash[0] = (text + "\x00")[0]
			s.index = r.append(s.index)
		}
		if got := s.Copies(); got != tt.want {
			t.Errorf("%q split by %s at %d: %+v, not %+v", tt.texts, tt.split, tt.cut, got, tt.want)
		}
	}
}

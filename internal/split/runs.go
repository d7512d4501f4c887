package split

import "unicode/utf8"

// runs is a scanner that matches runs of some characters, as \s?\p{L}+ or [0-9][0-9][0-9] do. What is between two
// matches is a piece.
type runs struct {
	lead     func(r rune) bool // of a character that may stand before the run; nil: none
	in       func(r rune) bool // of the characters of the run
	min, max int               // characters of the run; max 0: any number
}

func (s runs) split() *Split { return one(s.scanner()) }

func (s runs) scanner() scanner {
	var begins [utf8.RuneSelf]bool // a match can
	for c := range begins {
		begins[c] = s.in(rune(c)) || s.lead != nil && s.lead(rune(c))
	}
	return func(b []byte) (n, look int) {
		for i := 0; i < len(b); {
			if b[i] < utf8.RuneSelf && !begins[b[i]] {
				i++
				continue
			}
			switch end := s.match(b, i); {
			case end > 0 && i == 0:
				return end, end
			case end > 0:
				return i, end
			}
			_, w := utf8.DecodeRune(b[i:])
			i += w
		}
		return len(b), len(b)
	}
}

// match returns the end of the match at b[i]; 0 if there is none.
func (s runs) match(b []byte, i int) int {
	if s.lead != nil {
		if r, w := utf8.DecodeRune(b[i:]); s.lead(r) {
			if end := s.run(b, i+w); end > 0 {
				return end
			}
		}
	}
	return s.run(b, i)
}

// run returns the end of the run at b[i]; 0 if it is too short.
func (s runs) run(b []byte, i int) int {
	n := 0
	for ; i < len(b) && (s.max == 0 || n < s.max); n++ {
		r, w := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && w == 1 || !s.in(r) {
			break
		}
		i += w
	}
	if n < max(1, s.min) {
		return 0
	}
	return i
}

// of returns the test for the characters of a set.
func (s set) of(r rune) bool { return s.has(classOf(r)) }

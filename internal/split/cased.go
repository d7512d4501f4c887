package split

// cased is the pattern of o200k and of Tekken: letters are cut where their case says so.
type cased struct {
	digits       int
	contractions bool // belong to the word before them
}

// In these patterns marks are letters of both cases, and signs too.
const (
	uppers = 1<<upper | 1<<caseless | marks
	lowers = 1<<lower | 1<<caseless | marks
)

func (p cased) next(b []byte) (n, look int) {
	c, i := at(b, 0)
	prefix := i < len(b) && c != newline && c != number && !letters.has(c)
	for _, word := range []func(b []byte, i int) (end, look int){mixed, capitals} {
		if prefix {
			if n, look = word(b, i); n > 0 {
				return p.suffix(b, n, look)
			}
		}
		if n, look = word(b, 0); n > 0 {
			return p.suffix(b, n, look)
		}
	}
	switch c {
	case number:
		return digits(b, i, p.digits)
	case newline:
		return spaces(b, true)
	}
	return rest(b, others, true)
}

// mixed returns the end of [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+ at b[i]; 0 if it does not match.
// The first run gives back characters until the second has one.
func mixed(b []byte, i int) (end, look int) {
	back := 0 // the end of the last character of the first run that the second can have
	for i < len(b) {
		c, w := at(b, i)
		if !uppers.has(c) {
			if c == lower {
				end = run(b, i, lowers)
				return end, end
			}
			break
		}
		i += w
		if c != upper {
			back = i
		}
	}
	return back, i
}

// capitals returns the end of [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+ at b[i], where mixed does not match, and with it that of
// [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*; 0 if there is none.
func capitals(b []byte, i int) (end, look int) {
	if end = run(b, i, uppers); end == i {
		return 0, end
	}
	return end, end
}

// suffix adds a contraction to the word b[:n].
func (p cased) suffix(b []byte, n, look int) (int, int) {
	if p.contractions && n < len(b) && b[n] == '\'' {
		if k := contraction(b[n:], true); k > 0 {
			return n + k, max(look, n+k)
		}
		look = max(look, n+3) // it may yet become one
	}
	return n, look
}

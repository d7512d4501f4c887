package split

// The scanners of patterns that cover every text: those of GPT-2, of cl100k and their kin.

// llama is the pattern of Llama 3, Qwen 2 and others.
type llama struct {
	letters, others set // \p{L} and [^\s\p{L}\p{N}]
	digits          int // in a piece
}

func (l llama) next(b []byte) (n, look int) {
	c, i := at(b, 0)
	switch {
	case l.letters.has(c):
		n = run(b, i, l.letters)
		return n, n
	case c == number:
		return digits(b, i, l.digits)
	case b[0] == '\'':
		if n = contraction(b, true); n > 0 {
			return n, n
		}
	case c == newline:
		return spaces(b, true)
	}
	// One sign or space joins the letters after it.
	if i < len(b) {
		if k, w := at(b, i); l.letters.has(k) {
			n = run(b, i+w, l.letters)
			return n, n
		}
	}
	return rest(b, l.others, false)
}

// digits returns the end of a run of at most n numbers, the first of which ends at i.
func digits(b []byte, i, n int) (end, look int) {
	for n--; n > 0 && i < len(b); n-- {
		c, w := at(b, i)
		if c != number {
			break
		}
		i += w
	}
	return i, i
}

// rest is the end of these patterns: signs with a blank before and line breaks behind them, else white space. With
// slash, there may be slashes among the line breaks.
func rest(b []byte, signs set, slash bool) (n, look int) {
	c, i := at(b, 0)
	if blanks.has(c) {
		if i == len(b) {
			return i, i
		}
		if k, _ := at(b, i); b[0] != ' ' || !signs.has(k) {
			return spaces(b, true)
		}
	}
	i = run(b, i, signs)
	for i < len(b) && (b[i] == '\n' || b[i] == '\r' || slash && b[i] == '/') {
		i++
	}
	return i, i
}

// nextGPT2 is the scanner of GPT-2's pattern.
func nextGPT2(b []byte) (n, look int) {
	c, i := at(b, 0)
	if b[0] == '\'' {
		if n = contraction(b, false); n > 0 {
			return n, n
		}
	}
	if b[0] == ' ' && len(b) > 1 {
		if k, w := at(b, 1); !blanks.has(k) {
			c, i = k, 1+w
		}
	}
	switch {
	case blanks.has(c):
		return spaces(b, false)
	case letters.has(c):
		n = run(b, i, letters)
	case c == number:
		n = run(b, i, numbers)
	default:
		n = run(b, i, others)
	}
	if b[0] == '\'' {
		return n, max(n, 2) // a letter at 2 may yet make it 're, 've or 'll
	}
	return n, n
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd at the start of b, which begins with an
// apostrophe; 0 if there is none. With fold, case does not matter, and the long s is an s, as in Unicode.
func contraction(b []byte, fold bool) int {
	lower := func(i int) byte {
		if i >= len(b) {
			return 0
		}
		c := b[i]
		if fold && 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	switch lower(1) {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if lower(2) == 'e' {
			return 3
		}
	case 'l':
		if lower(2) == 'l' {
			return 3
		}
	case 0xc5: // U+017F is c5 bf
		if fold && lower(2) == 0xbf {
			return 3
		}
	}
	return 0
}

// spaces returns the piece at the start of a run of white space. With lines, this is the run up to its last line
// break, if it has one (\s*[\r\n]+). Otherwise it is the whole run at the end of the text (\s+(?!\S)), or else the
// run without its last character, which belongs to what follows, or a single one (\s+).
func spaces(b []byte, lines bool) (n, look int) {
	i, last, brk := 0, 0, 0
	for i < len(b) {
		c, w := at(b, i)
		if !blanks.has(c) {
			break
		}
		last = i
		i += w
		if c == newline {
			brk = i
		}
	}
	switch {
	case lines && brk > 0:
		return brk, i
	case i == len(b) || last == 0:
		return i, i
	}
	return last, i
}

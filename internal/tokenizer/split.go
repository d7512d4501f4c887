package tokenizer

import (
	"unicode"
	"unicode/utf8"

	"gimbal/internal/nfc"
)

// The split of text into pieces ("pre-tokens") inside which merges happen. Each scanner below is a published regular
// expression written by hand, as first-match alternatives with their look-ahead, so that it is linear in the text. A
// byte that is not part of valid UTF-8 is a character of its own, neither letter nor number nor space.

// split names a split of text into pieces.
type split uint8

const (
	splitNone   split = iota // every byte is a piece: there are no merges
	splitGPT2                // ByteLevel with its own expression
	splitQwen2               // one digit at a time
	splitLlama3              // up to three digits at a time
	splitDigits              // GPT-2's, with a Digits before it: SmolLM's. It is only read
)

// patterns are the expressions of the scanners as files have them. A file says GPT-2's with ByteLevel's use_regex.
var patterns = [...]string{
	splitGPT2: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
	splitQwen2: `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}` +
		`| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	splitLlama3: `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}` +
		`| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
}

// maxPiece bounds a piece: the scanner sees the text as if it ended this many bytes after the start of the piece. It
// cuts only runs of a mebibyte of letters, of signs or of spaces, which could not be encoded in bounded memory
// otherwise.
const maxPiece = nfc.Longest

// class is what the patterns distinguish.
type class uint8

const (
	other   class = iota // [^\s\p{L}\p{N}]
	letter               // \p{L}
	number               // \p{N}
	space                // \s but not newline
	newline              // [\r\n]
)

// classes holds the class of each character up to the last letter of Unicode 16, the version of the regular expression
// engine in Hugging Face's library.
var classes = func() (c [0x32400]class) {
	fill := func(t *unicode.RangeTable, k class) {
		for _, r := range t.R16 {
			for x := int(r.Lo); x <= int(r.Hi); x += int(r.Stride) {
				c[x] = k
			}
		}
		for _, r := range t.R32 {
			for x := int(r.Lo); x <= min(int(r.Hi), len(c)-1); x += int(r.Stride) {
				c[x] = k
			}
		}
	}
	fill(unicode.L, letter)
	fill(unicode.N, number)
	fill(unicode.White_Space, space)
	c['\n'], c['\r'] = newline, newline
	for k, ranges := range map[class][][2]rune{letter: newLetters, number: newNumbers} {
		for _, r := range ranges {
			for x := r[0]; x <= r[1]; x++ {
				c[x] = k
			}
		}
	}
	return c
}()

// newLetters and newNumbers are what Unicode 15.1 and 16 added to the 15.0 of the unicode package.
var newLetters = [][2]rune{
	{0x1c89, 0x1c8a}, {0xa7cb, 0xa7cd}, {0xa7da, 0xa7dc}, {0x105c0, 0x105f3}, {0x10d4a, 0x10d65}, {0x10d6f, 0x10d85},
	{0x10ec2, 0x10ec4}, {0x11380, 0x11389}, {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x113b5},
	{0x113b7, 0x113b7}, {0x113d1, 0x113d1}, {0x113d3, 0x113d3}, {0x11bc0, 0x11be0}, {0x13460, 0x143fa},
	{0x16100, 0x1611d}, {0x16d40, 0x16d6c}, {0x18cff, 0x18cff}, {0x1e5d0, 0x1e5ed}, {0x1e5f0, 0x1e5f0},
	{0x2ebf0, 0x2ee5d},
}

var newNumbers = [][2]rune{
	{0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9}, {0x16130, 0x16139}, {0x16d70, 0x16d79},
	{0x1ccf0, 0x1ccf9}, {0x1e5f1, 0x1e5fa},
}

// at returns the class and the width of the character at b[i]. i must be less than len(b).
func at(b []byte, i int) (class, int) {
	if b[i] < utf8.RuneSelf {
		return classes[b[i]], 1
	}
	r, w := utf8.DecodeRune(b[i:]) // a bad byte reads as U+FFFD, which is other
	if int(r) < len(classes) {
		return classes[r], w
	}
	return other, w
}

// run returns the end of the run of characters of class k from b[i] on.
func run(b []byte, i int, k class) int {
	for i < len(b) {
		c, w := at(b, i)
		if c != k {
			break
		}
		i += w
	}
	return i
}

// next returns the length n of the first piece of b, which is not empty. n is final if a whole character starts at
// b[look], and otherwise only if b is all the text there is.
func (s split) next(b []byte) (n, look int) {
	switch s {
	case splitGPT2:
		return nextGPT2(b)
	case splitQwen2, splitLlama3:
		return nextLlama(b, s.digits())
	case splitDigits:
		return nextDigits(b)
	}
	return 1, 0
}

// digits returns the number of digits in a piece of the splits of Qwen 2 and Llama 3; 0 for others.
func (s split) digits() int {
	switch s {
	case splitQwen2:
		return 1
	case splitLlama3:
		return 3
	}
	return 0
}

// nextLlama is next for the patterns of Llama 3 and Qwen 2, which differ in the number of digits in a piece.
func nextLlama(b []byte, digits int) (n, look int) {
	c, i := at(b, 0)
	switch c {
	case letter:
		n = run(b, i, letter)
		return n, n
	case number:
		for digits--; digits > 0 && i < len(b); digits-- {
			c, w := at(b, i)
			if c != number {
				break
			}
			i += w
		}
		return i, i
	case other:
		if b[0] == '\'' {
			if n = contraction(b, true); n > 0 {
				return n, n
			}
		}
	case newline:
		return spaces(b, true)
	}
	// One sign or space joins the letters after it, and a blank joins the signs.
	if i < len(b) {
		k, w := at(b, i)
		if k == letter {
			n = run(b, i+w, letter)
			return n, n
		}
		if c == space && (b[0] != ' ' || k != other) {
			return spaces(b, true)
		}
	} else if c == space {
		return i, i
	}
	i = run(b, i, other)
	for i < len(b) && (b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i, i
}

// nextGPT2 is next for GPT-2's pattern.
func nextGPT2(b []byte) (n, look int) {
	c, i := at(b, 0)
	if b[0] == '\'' {
		if n = contraction(b, false); n > 0 {
			return n, n
		}
	}
	if b[0] == ' ' && len(b) > 1 {
		k, w := at(b, 1)
		if k != space && k != newline {
			c, i = k, 1+w
		}
	}
	if c == space || c == newline {
		return spaces(b, false)
	}
	n = run(b, i, c)
	if b[0] == '\'' {
		return n, max(n, 2) // a letter at 2 may yet make it 're, 've or 'll
	}
	return n, n
}

// nextDigits is next for GPT-2's pattern between the numbers: each is a piece, and the text ends before it.
func nextDigits(b []byte) (n, look int) {
	c, i := at(b, 0)
	switch c {
	case number:
		return i, i
	case space, newline:
		for i < len(b) {
			k, w := at(b, i)
			if k == number {
				return i, i
			} else if k != space && k != newline {
				break
			}
			i += w
		}
	}
	return nextGPT2(b)
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
		if c != space && c != newline {
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

// window returns the part of b that the scanner may see from the start of a piece: at most limit bytes, without a
// character that the limit would cut.
func window(b []byte, limit int) []byte {
	if len(b) <= limit {
		return b
	}
	for i := limit; i > limit-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			return b[:i]
		}
	}
	return b[:limit]
}

package split

import (
	"encoding/binary"
	"math/bits"
)

// Most pieces are ASCII and short. They are cut here, eight letters at a time and with few branches; the scanners of
// scan.go cut the rest, and are what this must agree with.

// byteClass is a class of ASCII: letter, sign and foreign, for the bytes of other characters, are sets of classes.
type byteClass = class

const (
	letter  byteClass = lower
	sign    byteClass = other
	foreign byteClass = 15
)

var byteClasses = func() (c [256]byteClass) {
	for i := range c {
		switch c[i] = classes[i%0x80]; {
		case i >= 0x80:
			c[i] = foreign
		case letters.has(c[i]):
			c[i] = letter
		case others.has(c[i]):
			c[i] = sign
		}
	}
	return c
}()

// asciiPiece bounds the pieces that are cut here, far below the limits of a piece.
const asciiPiece = 64

// nextASCII returns the length of the first piece of b in the split of Llama 3 or Qwen 2, which differ in the digits
// of a piece. It returns 0 where the piece and the character after it are not ASCII, where the piece is longer than
// asciiPiece, or where the text ends too near to tell.
func nextASCII(b []byte, digits int) int {
	if len(b) < asciiPiece+8 {
		return 0
	}
	b = b[:asciiPiece+8]
	c, i := byteClasses[b[0]], 1
	if c == number {
		for i < digits && byteClasses[b[i]] == number {
			i++
		}
		if i < digits && byteClasses[b[i]] == foreign {
			return 0
		}
		return i
	}
	k := byteClasses[b[1]]
	switch {
	case c == letter:
		return asciiLetters(b, 0)
	case c == newline || c == foreign || b[0] == '\'':
	case k == letter: // one sign or space joins the letters after it
		return asciiLetters(b, 1)
	case c == sign || b[0] == ' ' && k == sign: // a blank joins the signs
		for i < asciiPiece && byteClasses[b[i]] == sign {
			i++
		}
		for i < asciiPiece && byteClasses[b[i]] == newline {
			i++
		}
		if i == asciiPiece || byteClasses[b[i]] == foreign {
			return 0
		}
		return i
	}
	if c != space && c != newline {
		return 0
	}
	brk := 0
	for i = 0; i < asciiPiece; i++ {
		if k := byteClasses[b[i]]; k == newline {
			brk = i + 1
		} else if k == foreign {
			return 0
		} else if k != space {
			break
		}
	}
	switch {
	case i == asciiPiece:
		return 0
	case brk > 0:
		return brk
	}
	return max(1, i-1) // the last one belongs to what follows
}

// asciiLetters returns the end of the run of ASCII letters from b[i] on, which may be none; 0 if that is not certain.
func asciiLetters(b []byte, i int) int {
	for ; i < asciiPiece; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		x := (w | 0x2020202020202020) & 0x7f7f7f7f7f7f7f7f
		// The highest bit of each byte: at least 'a', not above 'z', and ASCII.
		is := (x + (0x80-'a')*0x0101010101010101) &^ (x + (0x80-'z'-1)*0x0101010101010101) &^ w
		if no := ^is & 0x8080808080808080; no != 0 {
			i += bits.TrailingZeros64(no) / 8
			if b[i] >= 0x80 {
				return 0
			}
			return i
		}
	}
	return 0
}

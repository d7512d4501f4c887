// Package split cuts text into the pieces ("pre-tokens") inside which a tokenizer merges, as the pre-tokenizers of
// Hugging Face's library do. The package knows no token.
//
// Expressions of files are compared as strings and never run: each scanner here is a published one written by hand, as
// first-match alternatives with their look-ahead, so that it is linear in the text. A byte that is not part of valid
// UTF-8 is a character of its own of no class.
package split

import (
	"unicode/utf8"

	"gimbal/internal/normal"
)

// MaxPiece bounds a piece: the last scanner sees the text as if it ended this many bytes after the start of the piece.
// It cuts only runs of a mebibyte of letters, of signs or of spaces, which could not be encoded in bounded memory
// otherwise.
const MaxPiece = normal.Longest

// slack is more than the bytes by which further text can shorten a piece of a scanner before the last.
const slack = 8

// scanner returns the length n of the first piece of b, which is not empty. n is final if a whole character starts at
// b[look], and otherwise only if b is all the text there is.
type scanner func(b []byte) (n, look int)

// Split is a way to cut text. Its scanners work in turn, each on the pieces of the one before.
type Split struct {
	scanners []scanner
	digits   int     // in a piece of a pattern that nextASCII knows; 0: another one
	covers   bool    // its matches are the text, without pieces between them
	bytes    scanner // does the same to the characters that a ByteLevel writes for bytes; nil: none
	ofBytes  bool    // its scanner is one for such text
	whole    int     // the scanner of whose pieces none is begun that is not certain: the last of characters
}

func one(s scanner) *Split { return &Split{scanners: []scanner{s}} }

// Covers reports whether the pattern of s matches every text.
func (s *Split) Covers() bool { return s.covers }

// OfBytes returns s for text in which a ByteLevel has written characters for bytes; nil if there is no such split.
func (s *Split) OfBytes() *Split {
	if s.bytes == nil {
		return nil
	}
	of := one(s.bytes)
	of.ofBytes = true
	return of
}

func (s *Split) withBytes(of scanner) *Split {
	s.bytes = of
	return s
}

// MaxParts bounds the parts of a Sequence.
const MaxParts = 8

// Sequence returns the split that cuts by its parts in turn: one part is returned as it is. It panics if there are
// none or more than MaxParts.
func Sequence(parts ...*Split) *Split {
	if len(parts) == 1 {
		return parts[0]
	}
	s := new(Split)
	for _, p := range parts {
		if s.scanners = append(s.scanners, p.scanners...); !p.ofBytes {
			s.whole = len(s.scanners) - 1
		}
	}
	if n := len(s.scanners); n == 0 || n > MaxParts {
		panic("split: number of parts")
	}
	return s
}

// Cutter cuts a text from its start.
type Cutter struct {
	split *Split
	text  []byte
	safe  int // whole characters end here
	final bool
	at    int
	ends  [MaxParts]int  // where the pieces of the scanners before the last end
	open  [MaxParts]bool // further text may move that end
}

// Cut returns a Cutter of text. If final is false, more text follows.
func (s *Split) Cut(text []byte, final bool) Cutter {
	return Cutter{split: s, text: text, safe: normal.Whole(text), final: final}
}

// Next returns the next piece and what follows it: rest[:n]. n is 0 where no piece is left that further text cannot
// change.
func (c *Cutter) Next() (rest []byte, n int) {
	rest = c.text[c.at:]
	if len(rest) == 0 {
		return nil, 0
	}
	if c.split.digits > 0 {
		if n = nextASCII(rest, c.split.digits); n > 0 {
			c.at += n
			return rest, n
		}
	}
	w, open, safe := rest, !c.final, c.safe
	for i, next := range c.split.scanners {
		if c.ends[i] <= c.at {
			if i == c.split.whole && len(w) > MaxPiece {
				w, open = Window(w, MaxPiece), false
			}
			n, look := next(w)
			c.ends[i], c.open[i] = c.at+n, open && c.at+max(n, look) >= safe
			if c.open[i] && i >= c.split.whole {
				c.ends[i] = 0
				return nil, 0
			}
		}
		w = rest[:c.ends[i]-c.at]
		if open = c.open[i]; open {
			safe = c.safe - slack
		}
	}
	c.at += len(w)
	return rest, len(w)
}

// At returns where the next piece begins.
func (c *Cutter) At() int { return c.at }

// First returns the length of the first piece of b, which is not empty, as if b ended after limit bytes. s has one
// part.
func (s *Split) First(b []byte, limit int) int {
	if s.digits > 0 {
		if n := nextASCII(b, s.digits); n > 0 {
			return n
		}
	}
	n, _ := s.scanners[0](Window(b, limit))
	return n
}

// Window returns the start of b: at most limit bytes, without a character that the limit would cut.
func Window(b []byte, limit int) []byte {
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

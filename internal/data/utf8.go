package data

import "unicode/utf8"

// invalidCounter counts the bytes of a text that belong to no valid UTF-8 sequence, across writes.
type invalidCounter struct {
	n    int64
	tail [utf8.UTFMax]byte // start of a character whose end has not come yet
	have int
}

func (c *invalidCounter) write(p []byte) {
	for c.have > 0 && len(p) > 0 {
		c.tail[c.have] = p[0]
		c.have, p = c.have+1, p[1:]
		c.drain(false)
	}
	for len(p) > 0 {
		if utf8.Valid(p) { // the common case, eight bytes at a time
			return
		}
		// Find the first fault or an unfinished end; what lies before is valid.
		i := 0
		for i < len(p) {
			r, w := utf8.DecodeRune(p[i:])
			if r == utf8.RuneError && w == 1 {
				break
			}
			i += w
		}
		if p = p[i:]; !utf8.FullRune(p) {
			c.have = copy(c.tail[:], p)
			return
		}
		c.n++
		p = p[1:]
	}
}

// drain takes whole characters and faults out of tail; at the end of the text all of it.
func (c *invalidCounter) drain(end bool) {
	for c.have > 0 && (end || utf8.FullRune(c.tail[:c.have])) {
		r, w := utf8.DecodeRune(c.tail[:c.have])
		if r == utf8.RuneError && w == 1 {
			c.n++
		}
		c.have = copy(c.tail[:], c.tail[w:c.have])
	}
}

// end returns the count and makes the counter ready for the next text.
func (c *invalidCounter) end() int64 {
	c.drain(true)
	n := c.n
	*c = invalidCounter{}
	return n
}

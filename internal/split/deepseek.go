package split

// nextDeepSeek is the scanner of the main pattern of DeepSeek 3. It matches no numbers and no controls: what is between
// two matches is a piece.
func nextDeepSeek(b []byte) (n, look int) {
	const words, ends = letters | marks, signs | blanks
	c, i := at(b, 0)
	if isASCIISign(b[0]) {
		if n = asciiLetterRun(b, 1); n > 1 {
			return n, n
		}
	}
	if words.has(c) {
		n = run(b, i, words)
		return n, n
	}
	k, w := other, 0
	if i < len(b) {
		k, w = at(b, i)
	}
	switch {
	case words.has(k) && c != newline && !signs.has(c):
		n = run(b, i+w, words)
		return n, n
	case ends.has(c):
		return rest(b, signs, false)
	}
	for i < len(b) && !ends.has(k) {
		after := other
		if i+w < len(b) {
			after, _ = at(b, i+w)
		}
		if words.has(k) || words.has(after) {
			return i, i + w
		}
		if i += w; i < len(b) {
			k, w = at(b, i)
		}
	}
	return i, i
}

func isASCIISign(c byte) bool { return c < 0x80 && signs.has(classes[c]) }

func asciiLetterRun(b []byte, i int) int {
	for i < len(b) && b[i] < 0x80 && letters.has(classes[b[i]]) {
		i++
	}
	return i
}

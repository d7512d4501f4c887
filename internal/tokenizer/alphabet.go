package tokenizer

// GPT-2's alphabet: a character for each byte, so that files can hold any bytes.

// byteOrder lists the bytes in the order of GPT-2's alphabet: the printable
// ones, which stand for themselves, then the others.
var byteOrder = func() (order []byte) {
	for c := range 256 {
		if printable(byte(c)) {
			order = append(order, byte(c))
		}
	}
	for c := range 256 {
		if !printable(byte(c)) {
			order = append(order, byte(c))
		}
	}
	return order
}()

func printable(c byte) bool { return '!' <= c && c <= '~' || 0xa1 <= c && c <= 0xac || c >= 0xae }

// byteRune maps a byte to the character that stands for it in files, runeByte
// back.
var byteRune, runeByte = func() (to [256]rune, from map[rune]byte) {
	from = make(map[rune]byte, 256)
	next := rune(256)
	for c := range 256 {
		r := rune(c)
		if !printable(byte(c)) {
			r = next
			next++
		}
		to[c], from[r] = r, byte(c)
	}
	return to, from
}()

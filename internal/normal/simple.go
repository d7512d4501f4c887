package normal

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// Lowercase makes letters small, each for itself, by Unicode 17.
var Lowercase Form = each(func(dst []byte, r rune) []byte {
	switch {
	case r == 0x130:
		return append(dst, "i\u0307"...)
	case r == 0xa7cb:
		r = 0x264
	case r == 0xa7dc:
		r = 0x19b
	case r == 0x1c89, r == 0xa7cc, r == 0xa7ce, r == 0xa7d2, r == 0xa7d4, r == 0xa7da:
		r++
	case 0x10d50 <= r && r <= 0x10d65:
		r += 0x20
	case 0x16ea0 <= r && r <= 0x16eb8:
		r += 0x1b
	default:
		r = unicode.ToLower(r)
	}
	return utf8.AppendRune(dst, r)
})

// StripAccents leaves combining marks out. It is of use behind a form that decomposes.
var StripAccents Form = each(func(dst []byte, r rune) []byte {
	if unicode.Is(unicode.M, r) && !unicode.Is(newMarks, r) || r == 0x1cf2 || r == 0x1cf3 {
		return dst
	}
	return utf8.AppendRune(dst, r)
})

// each returns the form that changes characters one by one.
func each(change func(dst []byte, r rune) []byte) Form {
	return func(dst, text []byte, final bool) ([]byte, int) {
		end := len(text)
		if !final {
			end = Whole(text)
		}
		for i := 0; i < end; {
			r, w := utf8.DecodeRune(text[i:end])
			if r == utf8.RuneError && w == 1 {
				dst = append(dst, text[i])
			} else {
				dst = change(dst, r)
			}
			i += w
		}
		return dst, end
	}
}

// Replace returns the form with one string in the place of another, which is not empty.
func Replace(old, by string) Form {
	return func(dst, text []byte, final bool) ([]byte, int) {
		for done := 0; ; {
			i := bytes.Index(text[done:], []byte(old))
			if i < 0 {
				end := len(text)
				if !final {
					end = max(done, end-len(old)+1)
				}
				return append(dst, text[done:end]...), end
			}
			dst = append(append(dst, text[done:done+i]...), by...)
			done += i + len(old)
		}
	}
}

package record

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// unescape returns what a JSON string spells, and overwrites the string, which is never shorter. The JSON library
// replaces bytes that are not UTF-8 with U+FFFD; here they stay.
func unescape(quoted []byte) []byte {
	rest := quoted[1 : len(quoted)-1]
	out := rest[:0]
	for {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			return append(out, rest...)
		}
		out = append(out, rest[:i]...)
		c := rest[i+1]
		if rest = rest[i+2:]; c != 'u' {
			out = append(out, "\"\\/\b\f\n\r\t"[strings.IndexByte(`"\/bfnrt`, c)])
			continue
		}
		r := hex4(rest)
		if rest = rest[4:]; !utf16.IsSurrogate(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		pair := rune(utf8.RuneError)
		if bytes.HasPrefix(rest, []byte(`\u`)) {
			pair = utf16.DecodeRune(r, hex4(rest[2:]))
		}
		if pair != utf8.RuneError {
			out = utf8.AppendRune(out, pair)
			rest = rest[6:]
		} else {
			out = append(out, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
		}
	}
}

// hex4 reads the four digits after \u.
func hex4(digits []byte) rune {
	code, _ := strconv.ParseUint(string(digits[:4]), 16, 16) // the JSON was checked
	return rune(code)
}

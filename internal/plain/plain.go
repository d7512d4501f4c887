// Package plain makes text that somebody else wrote safe to show: names, logs, samples, messages of other programs. A
// terminal obeys control characters, so they become escapes as in Go.
//
// [Escape] is for text within a line, [Text] for lines. [Writer] does the same to all that is written to it, so that a
// face that forgets to escape shows nothing worse than a long line.
package plain

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape makes text from anybody safe to print in a line. Control characters, characters that turn the direction of
// writing, and bytes that are not UTF-8 become escapes as in Go.
func Escape(s string) string { return escape(s, "") }

// Text is Escape for a text of several lines: newlines and tabs stay.
func Text(s string) string { return escape(s, "\n\t") }

// acts reports whether a terminal or an editor does something else with a character than to show it.
func acts(r rune) bool {
	return unicode.IsControl(r) || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 ||
		// ends of lines, overrides
		r == 0x200e || r == 0x200f || r == 0x061c // marks of direction
}

func escape(s, keep string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)): // a byte that is not UTF-8
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case acts(r) && !strings.ContainsRune(keep, r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Writer passes on what is written to it as [Text] has it. It keeps the beginning of a character until the rest comes.
type Writer struct {
	w    io.Writer
	rest []byte // of a character
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write implements io.Writer.
func (p *Writer) Write(b []byte) (int, error) {
	all := append(p.rest, b...)
	n := len(all)
	for i := n - 1; i >= max(0, n-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(all[i]) {
			if !utf8.FullRune(all[i:]) {
				n = i
			}
			break
		}
	}
	_, err := io.WriteString(p.w, Text(string(all[:n])))
	p.rest = append([]byte(nil), all[n:]...)
	return len(b), err
}

// Flush writes what is left of a character that never became whole.
func (p *Writer) Flush() error {
	if len(p.rest) == 0 {
		return nil
	}
	_, err := io.WriteString(p.w, Text(string(p.rest)))
	p.rest = nil
	return err
}

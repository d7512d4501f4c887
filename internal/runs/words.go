package runs

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plural writes a number with the thing that it counts.
func Plural[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Size writes a number of bytes for a person: 412 MB.
func Size(bytes int64) string {
	x, unit := float64(bytes), "B"
	for _, larger := range []string{"kB", "MB", "GB", "TB"} {
		if x < 999.5 {
			break
		}
		x, unit = x/1000, larger
	}
	if unit != "B" && x < 9.95 {
		return fmt.Sprintf("%.1f %s", x, unit)
	}
	return fmt.Sprintf("%.0f %s", x, unit)
}

// Quote writes a path so that a shell takes it as one argument, and no program as a flag.
func Quote(path string) string {
	if strings.HasPrefix(path, "-") {
		path = "." + string(filepath.Separator) + path
	}
	plain := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_@%+=:,./-", r)
	}
	if path != "" && strings.TrimFunc(path, plain) == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// Escape makes a name from anybody safe to print in a line. Control characters, characters that turn the direction of
// writing, and bytes that are not UTF-8 become escapes as in Go.
func Escape(s string) string { return escape(s, "") }

// EscapeText is Escape for a text of several lines: newlines and tabs stay.
func EscapeText(s string) string { return escape(s, "\n\t") }

func escape(s, keep string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)): // a byte that is not UTF-8
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !strings.ContainsRune(keep, r) && (unicode.IsControl(r) || r >= 0x2028 && r <= 0x202e ||
			r >= 0x2066 && r <= 0x2069): // separators of lines, and overrides of direction
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

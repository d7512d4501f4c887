package runs

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode"

	"gimbal/internal/plain"
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

// Escape makes a name from anybody safe to print in a line; see plain.Escape.
func Escape(s string) string { return plain.Escape(s) }

// EscapeText is Escape for a text of several lines; see plain.Text.
func EscapeText(s string) string { return plain.Text(s) }

package screen

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"gimbal/internal/runs"
)

// clockText writes a duration in its two largest units: 15s, 2m35s, 1h05m, 3d04h.
func clockText(d time.Duration) string {
	switch s := int64(d.Round(time.Second) / time.Second); {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 24*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd%02dh", s/(24*3600), s/3600%24)
	}
}

// aboutText writes a duration that is an estimate, in words: 40 seconds, 12 minutes, 3 hours.
func aboutText(d time.Duration) string {
	switch {
	case d < 100*time.Second:
		return fmt.Sprintf("%d seconds", max(10, d.Round(10*time.Second)/time.Second))
	case d < 100*time.Minute:
		return fmt.Sprintf("%d minutes", d.Round(time.Minute)/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", d.Round(time.Hour)/time.Hour)
	default:
		return fmt.Sprintf("%d days", d.Round(24*time.Hour)/(24*time.Hour))
	}
}

// columns is how many columns of a terminal a character takes, at most.
func columns(r rune) int {
	switch {
	case r >= 0x300 && unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x2e80: // East Asian writing, emoji
		return 2
	}
	return 1
}

// widthOf is how many columns a line takes.
func widthOf(s string) (n int) {
	for _, r := range s {
		n += columns(r)
	}
	return n
}

// fitting is how many bytes of s fit into so many columns.
func fitting(s string, width int) int {
	for i, r := range s {
		if width -= columns(r); width < 0 {
			return i
		}
	}
	return len(s)
}

// clip cuts a line to a width; an ellipsis says so.
func clip(s string, width int) string {
	if fitting(s, width) == len(s) {
		return s
	}
	return s[:fitting(s, width-1)] + "…"
}

// wrap breaks a text into lines between words, at most so many; 0: as many as it takes. Lines after the first are
// indented. What others wrote is escaped.
func wrap(s string, width, indent, most int) string {
	s = runs.Escape(strings.Join(strings.Fields(s), " "))
	var lines []string
	for pad := ""; ; pad = strings.Repeat(" ", indent) {
		room := max(10, width-len(pad))
		n := fitting(s, room)
		if n == len(s) || len(lines)+1 == most {
			return strings.Join(append(lines, pad+clip(s, room)), "\n")
		}
		if space := strings.LastIndexByte(s[:n+1], ' '); space > 0 {
			n = space
		}
		lines = append(lines, pad+s[:n])
		s = strings.TrimPrefix(s[n:], " ")
	}
}

package config

import (
	"fmt"
	"math"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

func (k *key) text(s string) string {
	if !k.path && !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return fmt.Sprintf("%q is not text", s)
	}
	if k.choices == nil || slices.Contains(k.choices, s) || k.path && strings.ContainsAny(s, `/\`) {
		return ""
	}
	fault := fmt.Sprintf("%q is not one of %s", s, strings.Join(k.choices, ", "))
	if k.path {
		fault += ", and no path"
	}
	if near := closest(s, k.choices); near != "" {
		fault += "; did you mean " + near + "?"
	}
	return fault
}

// number checks a number against the limits; written so that NaN fails.
func (k *key) number(f float64) string {
	low := f > k.lo || f == k.lo && !k.above
	high := f < k.hi || f == k.hi && !k.below
	if low && high {
		return ""
	}
	open, closing := "from ", " to "
	if k.above {
		open = "above "
	}
	if k.below {
		closing = " to below "
	}
	return fmt.Sprintf("%s is outside the range %s%s%s%s",
		formatFloat(f), open, formatFloat(k.lo), closing, formatFloat(k.hi))
}

// format writes the key's value; with quote as TOML, without as people read it.
func (k *key) format(c *Config, quote bool) string {
	str := func(s string) string {
		switch {
		case !quote:
			return s
		case k.path:
			s = encodePath(s)
		}
		return quoteTOML(s)
	}
	if k.isAuto(c) {
		return str("auto")
	}
	var items []string
	switch p := k.at(c).(type) {
	case *string:
		return str(*p)
	case *[]string:
		if !quote {
			return strings.Join(*p, " ")
		}
		for _, s := range *p {
			items = append(items, str(s))
		}
	case *[]float64:
		for _, f := range *p {
			items = append(items, formatFloat(f))
		}
	case *Rule:
		if p.Name != "" {
			return str(p.Name)
		}
		return formatFloat(p.Value)
	case *float64:
		return formatFloat(*p)
	default: // a boolean or a whole number
		return fmt.Sprint(reflect.ValueOf(p).Elem())
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// formatFloat writes f with as few digits as give f back; whole numbers below 1e12 without an exponent.
func formatFloat(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e12 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// pathScheme begins a path that is written as in a URL, because TOML has no way to write bytes that are not UTF-8.
const pathScheme = "file:"

// encodePath writes a path as text.
func encodePath(path string) string {
	escaped := (&url.URL{Path: path}).EscapedPath()
	switch {
	case utf8.ValidString(path) && !strings.HasPrefix(path, pathScheme):
		return path
	case strings.HasPrefix(path, "/"):
		return pathScheme + "//" + escaped
	}
	return pathScheme + escaped
}

// decodePath returns the path that encodePath has written, or that a file URL names. Other texts are paths as they
// are.
func decodePath(text string) string {
	escaped, ok := strings.CutPrefix(text, pathScheme)
	if strings.HasPrefix(escaped, "///") { // no host
		escaped = escaped[2:]
	}
	if path, err := url.PathUnescape(escaped); ok && err == nil {
		return path
	}
	return text
}

// quoteTOML writes s as a basic string.
func quoteTOML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

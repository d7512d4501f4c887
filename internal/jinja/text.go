package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isSpace is str.isspace of python.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }

// letters cuts a string into characters. A byte that is not UTF-8 is one.
func letters(t string) []string {
	all := make([]string, 0, len(t))
	for len(t) > 0 {
		_, n := utf8.DecodeRuneInString(t)
		all = append(all, t[:n])
		t = t[n:]
	}
	return all
}

// strip leaves out white space, or the characters that are named, at one end or both.
func strip(t, how string, chars any) string {
	out := isSpace
	if chars != nil {
		set, ok := chars.(string)
		if !ok {
			failf("%s gets %s and no string", how, kindOf(chars))
		}
		out = func(r rune) bool { return strings.ContainsRune(set, r) }
	}
	if how != "rstrip" {
		t = strings.TrimLeftFunc(t, out)
	}
	if how != "lstrip" {
		t = strings.TrimRightFunc(t, out)
	}
	return t
}

// splitSpace cuts a string at white space, most times at most.
func splitSpace(t, how string, most int) (parts []string) {
	if most < 0 {
		return strings.FieldsFunc(t, isSpace)
	}
	if how == "rsplit" {
		failf("rsplit at white space with a limit is not known here")
	}
	for t = strings.TrimLeftFunc(t, isSpace); t != ""; t = strings.TrimLeftFunc(t, isSpace) {
		i := strings.IndexFunc(t, isSpace)
		if i < 0 || len(parts) == most {
			return append(parts, t)
		}
		parts, t = append(parts, t[:i]), t[i:]
	}
	return parts
}

// splitAt cuts a string at sep, most times at most: rsplit counts from the end.
func splitAt(t, sep, how string, most int) []string {
	if sep == "" {
		failf("%s at nothing", how)
	}
	if how == "split" || most < 0 {
		if most >= 0 {
			most++
		}
		return strings.SplitN(t, sep, most)
	}
	parts := strings.Split(t, sep)
	if n := len(parts) - most; n > 1 {
		parts = append([]string{strings.Join(parts[:n], sep)}, parts[n:]...)
	}
	return parts
}

// lines are those of str.splitlines.
func lines(t string) (all []string) {
	for from, i := 0, 0; i < len(t); {
		r, n := utf8.DecodeRuneInString(t[i:])
		end := i + n
		switch {
		case r == '\r' && strings.HasPrefix(t[end:], "\n"):
			end++
		case '\n' <= r && r <= '\r' || 0x1c <= r && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029:
		default:
			if i = end; i == len(t) {
				all = append(all, t[from:])
			}
			continue
		}
		all = append(all, t[from:i])
		from, i = end, end
	}
	return all
}

// ascii refuses text whose case python decides by tables that are not here.
func ascii(t, what string) {
	for i := range len(t) {
		if t[i] >= utf8.RuneSelf {
			failf("%s of text that is not ASCII is not known here", what)
		}
	}
}

// inCase is upper, lower, capitalize and title of a string.
func inCase(t, how string) string {
	ascii(t, how)
	switch how {
	case "upper":
		return strings.ToUpper(t)
	case "lower":
		return strings.ToLower(t)
	}
	b := []byte(strings.ToLower(t))
	inWord := false
	for i, c := range b {
		letter := 'a' <= c && c <= 'z'
		if letter && !inWord && (how == "title" || i == 0) {
			b[i] = c - 'a' + 'A'
		}
		inWord = letter
	}
	return string(b)
}

// float writes a number as python does.
func float(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	e := strconv.FormatFloat(f, 'e', -1, 64)
	_, exp, _ := strings.Cut(e, "e")
	if n, _ := strconv.Atoi(exp); n < -4 || n >= 16 {
		return e
	}
	d := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(d, ".") {
		d += ".0"
	}
	return d
}

// show is what a value is written as.
func (m *machine) show(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case safe:
		return string(v)
	case undefined:
		return ""
	}
	var b strings.Builder
	m.repr(&b, v)
	return b.String()
}

// repr is repr of python.
func (m *machine) repr(b *strings.Builder, v any) {
	defer m.deeper()()
	from := b.Len()
	list := func(open, end string, all []any) {
		b.WriteString(open)
		for i, x := range all {
			if i > 0 {
				b.WriteString(", ")
			}
			m.repr(b, x)
		}
		b.WriteString(end)
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int:
		b.WriteString(strconv.Itoa(v))
	case float64:
		b.WriteString(float(v))
	case string:
		m.made(4 * len(v))
		quoted(b, v)
		from = b.Len()
	case undefined:
		b.WriteString("Undefined")
	case []any:
		list("[", "]", v)
		from = b.Len()
	case tuple:
		if list("(", map[bool]string{true: ",)", false: ")"}[len(v) == 1], v); true {
			from = b.Len()
		}
	case *Dict:
		b.WriteByte('{')
		for i, key := range v.order {
			if i > 0 {
				b.WriteString(", ")
			}
			m.repr(b, key)
			b.WriteString(": ")
			m.repr(b, v.vals[key])
		}
		b.WriteByte('}')
		from = b.Len()
	default:
		failf("%s is written that has no text of its own", kindOf(v))
	}
	m.made(b.Len() - from + 8)
}

// quoted writes a string as python quotes it.
func quoted(b *strings.Builder, t string) {
	quote := '\''
	if strings.Contains(t, "'") && !strings.Contains(t, `"`) {
		quote = '"'
	}
	b.WriteRune(quote)
	for i, r := range t {
		switch {
		case r == utf8.RuneError && t[i] != "\uFFFD"[0]:
			b.WriteByte(t[i]) // not UTF-8
		case r == quote || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteRune(quote)
}

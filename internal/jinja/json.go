package jinja

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// writer writes JSON as json.dumps does.
type writer struct {
	*machine
	strings.Builder
	indent      string // of one level; with "": all in one line
	lines       bool
	comma, sep  string
	ascii, sort bool
}

// toJSON is the filter tojson, as transformers has it.
func (s *scope) toJSON(v any, a values) string {
	got := a.only("tojson", "ensure_ascii", "indent", "separators", "sort_keys")
	w := &writer{machine: s.machine, comma: ", ", sep: ": ", ascii: got[0] != nil && s.truth(got[0]),
		sort: got[3] != nil && s.truth(got[3]), lines: got[1] != nil}
	if t, ok := got[1].(string); ok {
		w.indent = t
	} else if w.lines {
		w.indent = s.repeat(" ", whole(got[1], "indent")).(string)
	}
	if w.lines {
		w.comma = ","
	}
	if got[2] != nil {
		pair := s.items(got[2])
		if len(pair) != 2 {
			failf("tojson with %d separators", len(pair))
		}
		w.comma, w.sep = s.text(pair[0], "a separator"), s.text(pair[1], "a separator")
	}
	w.value(v, 1)
	return w.String()
}

func (w *writer) value(v any, level int) {
	defer w.deeper()()
	from := w.Len()
	switch v := v.(type) {
	case nil:
		w.WriteString("null")
	case bool:
		fmt.Fprint(w, v)
	case int:
		fmt.Fprint(w, v)
	case float64:
		t := float(v)
		if named, ok := map[string]string{"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[t]; ok {
			t = named
		}
		w.WriteString(t)
	case string:
		w.quote(v)
	case []any:
		w.all("[", "]", len(v), level, func(i int) { w.value(v[i], level+1) })
		return
	case tuple:
		w.value([]any(v), level)
		return
	case *Dict:
		keys := v.order
		if w.sort {
			keys = slices.Sorted(slices.Values(keys))
		}
		w.all("{", "}", len(keys), level, func(i int) {
			w.quote(keys[i])
			w.WriteString(w.sep)
			w.value(v.vals[keys[i]], level+1)
		})
		return
	default:
		failf("tojson of %s", kindOf(v))
	}
	w.made(w.Len() - from)
}

// all writes the items of a list or an object.
func (w *writer) all(open, end string, n, level int, item func(int)) {
	w.WriteString(open)
	line := func(level int) {
		if w.lines {
			w.made(1 + level*len(w.indent))
			w.WriteString("\n" + strings.Repeat(w.indent, level))
		}
	}
	for i := range n {
		if i > 0 {
			w.WriteString(w.comma)
		}
		line(level)
		item(i)
	}
	if n > 0 {
		line(level - 1)
	}
	w.WriteString(end)
	w.made(2 + len(w.comma)*n)
}

func (w *writer) quote(t string) {
	w.made(2 * len(t))
	w.WriteByte('"')
	for i, r := range t {
		switch {
		case r == utf8.RuneError && t[i] != "\uFFFD"[0]:
			w.WriteByte(t[i]) // not UTF-8
		case r == '"' || r == '\\':
			w.WriteByte('\\')
			w.WriteRune(r)
		case r == '\n':
			w.WriteString(`\n`)
		case r == '\r':
			w.WriteString(`\r`)
		case r == '\t':
			w.WriteString(`\t`)
		case r == '\f':
			w.WriteString(`\f`)
		case r == '\b':
			w.WriteString(`\b`)
		case r < ' ' || w.ascii && 0x7f <= r && r < 0x10000:
			fmt.Fprintf(w, `\u%04x`, r)
		case w.ascii && r >= 0x10000:
			r -= 0x10000
			fmt.Fprintf(w, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			w.WriteRune(r)
		}
	}
	w.WriteByte('"')
}

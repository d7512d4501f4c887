package jinja

import "strings"

// tag is a run of text, or what stands between {{ and }} or {% and %}.
type tag struct {
	kind byte // 't' for text, '{' or '%'
	text string
}

// cut splits a template into tags, with the white space left out as trim_blocks and lstrip_blocks say.
func cut(template string) (tags []tag) {
	text := func(s string) {
		if s != "" {
			tags = append(tags, tag{'t', s})
		}
	}
	rest, strip, line, top := template, false, false, true // of the text that comes: white space, or one line break
	for {
		at := opening(rest)
		before := rest
		if at >= 0 {
			before = rest[:at]
		}
		atLine := top // nothing but blanks stands before the tag in its line
		if i := strings.LastIndexByte(before, '\n'); i >= 0 || top {
			atLine = strings.Trim(before[i+1:], " \t\v\f") == ""
		}
		if strip {
			before = strings.TrimLeftFunc(before, isSpace)
		} else if line {
			before = strings.TrimPrefix(before, "\n")
		}
		if at < 0 {
			text(before)
			return tags
		}
		kind := rest[at+1]
		end := closing(rest[at+2:], kind)
		inner := rest[at+2 : at+2+end]
		rest, top = rest[at+4+end:], false
		if left, ok := strings.CutPrefix(inner, "-"); ok {
			before, inner = strings.TrimRightFunc(before, isSpace), left
		} else if left, ok := strings.CutPrefix(inner, "+"); ok {
			inner = left
		} else if kind != '{' && atLine {
			before = strings.TrimRight(before, " \t\v\f")
		}
		text(before)
		inner, strip = strings.CutSuffix(inner, "-")
		inner, keep := strings.CutSuffix(inner, "+")
		line = kind != '{' && !keep
		if kind != '#' {
			tags = append(tags, tag{kind, inner})
		}
	}
}

// opening returns where the next tag begins, -1 if there is none.
func opening(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '{' && strings.IndexByte("{%#", s[i+1]) >= 0 {
			return i
		}
	}
	return -1
}

// closing returns where the end of a tag is. Strings and brackets may hold what looks like it.
func closing(s string, kind byte) int {
	end := string(kind) + "}"
	if kind == '{' {
		end = "}}"
	}
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case strings.HasPrefix(s[i:], end) && (depth == 0 || kind != '{'):
			return i
		case kind == '#':
		case c == '\'' || c == '"':
			for i++; i < len(s) && s[i] != c; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case c == '{':
			depth++
		case c == '}':
			depth--
		}
	}
	failf("a tag without its end %s", end)
	return 0
}

package jinja

import (
	"slices"
	"strconv"
	"strings"
)

// filter is v | name(a).
func (s *scope) filter(name string, v any, a values) any {
	s.step()
	switch name {
	case "tojson":
		return s.toJSON(v, a)
	case "trim":
		return strip(s.show(v), "strip", a.only(name, "chars")[0])
	case "upper", "lower", "capitalize":
		a.only(name)
		return inCase(s.show(v), name)
	case "title":
		a.only(name)
		return title(s.show(v))
	case "string":
		if a.only(name); kindOf(v) == "a string" {
			return v
		}
		return s.show(v)
	case "safe":
		a.only(name)
		return safe(s.show(v))
	case "replace":
		got := a.only(name, "old", "new", "count")
		return s.replace(s.show(v), s.show(got[0]), s.show(got[1]), got[2])
	case "indent":
		return s.indent(s.show(v), a)
	case "format":
		if a.named != nil {
			failf("format with names is not known here")
		}
		return s.printf(s.text(v, "a format"), tuple(a.list))
	case "default", "d":
		got := a.only(name, "value", "boolean")
		if _, missing := v.(undefined); !missing && (got[1] == nil || !s.truth(got[1]) || s.truth(v)) {
			return v
		}
		if len(a.list) == 0 && got[0] == nil {
			return ""
		}
		return got[0]
	case "length", "count":
		a.only(name)
		return s.length(v)
	case "int", "float":
		return s.toNumber(name, v, a)
	case "list":
		a.only(name)
		items := s.items(v)
		s.made(wordBytes * len(items))
		return append([]any{}, items...)
	}
	return s.listFilter(name, v, a)
}

// listFilter is a filter of lists and objects.
func (s *scope) listFilter(name string, v any, a values) any {
	switch name {
	case "first", "last":
		a.only(name)
		items := s.items(v)
		if name == "first" {
			return at(items, 0, "the first of nothing")
		}
		if _, ok := v.(*lazy); ok {
			failf("last of what is read once")
		}
		return at(items, len(items)-1, "the last of nothing")
	case "join":
		got := a.only(name, "d", "attribute")
		sep := ""
		if got[0] != nil {
			sep = s.show(got[0])
		}
		return s.joinAll(sep, s.each(s.items(v), got[1], nil), true)
	case "map":
		return &lazy{items: s.mapped(s.items(v), a)}
	case "select", "reject", "selectattr", "rejectattr":
		return &lazy{items: s.chosen(name, s.items(v), a)}
	case "reverse":
		a.only(name)
		if t, ok := v.(string); ok {
			return s.slice(t, [3]any{nil, nil, -1})
		}
		return &lazy{items: s.slice(slices.Clone(s.items(v)), [3]any{nil, nil, -1}).([]any)}
	case "items":
		a.only(name)
		if _, missing := v.(undefined); missing {
			return &lazy{}
		}
		if d, ok := v.(*Dict); ok {
			return &lazy{items: s.pairs(d)}
		}
		failf("items of %s", kindOf(v))
	case "dictsort":
		got := a.only(name, "case_sensitive")
		d, ok := v.(*Dict)
		if !ok {
			failf("dictsort of %s", kindOf(v))
		}
		return s.sorted(s.pairs(d), false, got[0] != nil && s.truth(got[0]), func(x any) any { return x.(tuple)[0] })
	case "sort":
		got := a.only(name, "reverse", "case_sensitive", "attribute")
		return s.sorted(slices.Clone(s.items(v)), got[0] != nil && s.truth(got[0]), got[1] != nil && s.truth(got[1]),
			func(x any) any { return s.attribute(x, got[2]) })
	}
	failf("the filter %.40q is not known here", name)
	return nil
}

// attribute is the field of an item that is named as "a.b.0"; nil: the item itself.
func (s *scope) attribute(v, name any) any {
	if name == nil {
		return v
	}
	if _, ok := name.(int); ok {
		return s.item(v, name)
	}
	for part := range strings.SplitSeq(s.text(name, "an attribute"), ".") {
		if i, err := strconv.Atoi(part); err == nil {
			v = s.item(v, i)
		} else {
			v = s.item(v, part)
		}
	}
	return v
}

// each is an attribute of every item; otherwise stands in for one that is not there.
func (s *scope) each(all []any, name, otherwise any) []any {
	if name == nil {
		return all
	}
	fields := make([]any, len(all))
	for i, x := range all {
		fields[i] = s.attribute(x, name)
		if _, missing := fields[i].(undefined); missing && otherwise != nil {
			fields[i] = otherwise
		}
	}
	s.made(wordBytes * len(all))
	return fields
}

// mapped is what map gives.
func (s *scope) mapped(all []any, a values) []any {
	if len(a.list) == 0 {
		got := a.only("map", "", "attribute", "default")
		if got[1] == nil {
			failf("map without a filter or an attribute")
		}
		return s.each(all, got[1], got[2])
	}
	name := a.string(0, "map")
	out := make([]any, len(all))
	for i, x := range all {
		out[i] = s.filter(name, x, values{a.list[1:], a.named})
	}
	s.made(wordBytes * len(all))
	return out
}

// chosen is what select, reject, selectattr and rejectattr give.
func (s *scope) chosen(name string, all []any, a values) (kept []any) {
	if a.named != nil {
		failf("%s with names is not known here", name)
	}
	var by any
	if strings.HasSuffix(name, "attr") {
		if len(a.list) == 0 {
			failf("%s without an attribute", name)
		}
		by, a.list = a.list[0], a.list[1:]
	}
	for _, x := range all {
		field := s.attribute(x, by)
		var yes bool
		if len(a.list) == 0 {
			yes = s.truth(field)
		} else {
			yes = s.test(a.string(0, name), field, values{list: a.list[1:]})
		}
		if yes == strings.HasPrefix(name, "select") {
			kept = append(kept, x)
		}
	}
	s.made(wordBytes * len(kept))
	return kept
}

func (s *scope) length(v any) int {
	switch v := v.(type) {
	case string:
		s.made(len(v))
		return len(letters(v))
	case *lazy:
		failf("the length of what is read once")
	case *Dict:
		return v.Len()
	}
	return len(s.items(v))
}

// indent puts white space before every line but the first.
func (s *scope) indent(t string, a values) string {
	got := a.only("indent", "width", "first", "blank")
	pad := "    "
	if w, ok := got[0].(string); ok {
		pad = w
	} else if got[0] != nil {
		pad = s.repeat(" ", whole(got[0], "a width")).(string)
	}
	first, blank := got[1] != nil && s.truth(got[1]), got[2] != nil && s.truth(got[2])
	all := lines(t + "\n")
	s.made(len(t) + wordBytes*len(all))
	s.many(len(pad), len(all))
	for i, line := range all {
		if i > 0 && (line != "" || blank) {
			all[i] = pad + line
		}
	}
	if t = strings.Join(all, "\n"); first {
		t = pad + t
	}
	return t
}

// title is the filter title: a word begins after white space, a bracket or a hyphen.
func title(t string) string {
	ascii(t, "title")
	b := []byte(strings.ToLower(t))
	for i, c := range b {
		if (i == 0 || strings.IndexByte("-({[<", b[i-1]) >= 0 || isSpace(rune(b[i-1]))) && 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

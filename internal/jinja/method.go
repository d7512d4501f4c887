package jinja

import (
	"slices"
	"strings"
)

// method returns a method of a value; nil if it has none of that name. One that python has and that is not known here
// is refused.
func (s *scope) method(v any, name string) any {
	switch v := v.(type) {
	case *Dict:
		return s.dictMethod(v, name)
	case string:
		return s.stringMethod(v, name)
	case []any, tuple:
		if slices.Contains(changing, name) {
			failf("a template must not change a list (%s)", name)
		}
		if name == "index" || name == "count" || name == "copy" {
			failf("the method %s of a list is not known here", name)
		}
	}
	return nil
}

func (s *scope) dictMethod(d *Dict, name string) any {
	if slices.Contains([]string{"clear", "pop", "popitem", "setdefault", "update"}, name) {
		failf("a template must not change an object (%s)", name)
	}
	switch name {
	case "get":
		return function(func(a values) any {
			got := a.only("get", "key", "default")
			key, ok := got[0].(string)
			if v, there := d.Get(key); ok && there {
				return v
			}
			return got[1]
		})
	case "items":
		return function(func(a values) any { a.only(name); return view{s.pairs(d), false} })
	case "keys":
		return function(func(a values) any { a.only(name); return view{s.strings(d.order), false} })
	case "values":
		return function(func(a values) any {
			a.only(name)
			var all []any
			for _, key := range d.order {
				all = append(all, d.vals[key])
			}
			s.made(wordBytes * len(all))
			return view{all, false}
		})
	case "copy", "fromkeys":
		failf("the method %s of an object is not known here", name)
	}
	return nil
}

// pairs are the keys of an object with their values.
func (s *scope) pairs(d *Dict) (pairs []any) {
	for _, key := range d.order {
		pairs = append(pairs, tuple{key, d.vals[key]})
	}
	s.made(4 * wordBytes * len(pairs))
	return pairs
}

// stringMethods are all that python has.
var stringMethods = strings.Fields(`capitalize casefold center count encode endswith expandtabs find format
	format_map index isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle
	isupper join ljust lower lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition
	rsplit rstrip split splitlines startswith strip swapcase title translate upper zfill`)

func (s *scope) stringMethod(t string, name string) any {
	if !slices.Contains(stringMethods, name) {
		return nil
	}
	return function(func(a values) any {
		s.made(len(t) / 8)
		return s.stringCall(t, name, a)
	})
}

func (s *scope) stringCall(t, name string, a values) any {
	switch name {
	case "strip", "lstrip", "rstrip":
		return strip(t, name, a.only(name, "chars")[0])
	case "startswith", "endswith":
		has := strings.HasPrefix
		if name == "endswith" {
			has = strings.HasSuffix
		}
		got := a.only(name, "prefix")[0]
		if all, ok := got.(tuple); ok {
			return slices.ContainsFunc(all, func(x any) bool { return has(t, s.text(x, "a beginning or end")) })
		}
		return has(t, s.text(got, "a beginning or end"))
	case "split", "rsplit":
		got := a.only(name, "sep", "maxsplit")
		most := -1
		if got[1] != nil {
			most = whole(got[1], "the most parts")
		}
		if got[0] == nil {
			return s.strings(splitSpace(t, name, most))
		}
		return s.strings(splitAt(t, s.text(got[0], "what separates"), name, most))
	case "splitlines":
		a.only(name)
		return s.strings(lines(t))
	case "join":
		return s.joinAll(t, s.items(a.only(name, "list")[0]), false)
	case "replace":
		got := a.only(name, "old", "new", "count")
		return s.replace(t, s.text(got[0], "what is replaced"), s.text(got[1], "what replaces it"), got[2])
	case "upper", "lower", "capitalize", "title":
		a.only(name)
		return inCase(t, name)
	case "removeprefix":
		return strings.TrimPrefix(t, s.text(a.only(name, "prefix")[0], "a beginning"))
	case "removesuffix":
		return strings.TrimSuffix(t, s.text(a.only(name, "suffix")[0], "an end"))
	case "find", "rfind":
		part := s.text(a.only(name, "part")[0], "what is found")
		i := strings.Index(t, part)
		if name == "rfind" {
			i = strings.LastIndex(t, part)
		}
		if i < 0 {
			return i
		}
		return len(letters(t[:i]))
	case "count":
		part := s.text(a.only(name, "part")[0], "what is counted")
		if part == "" {
			return len(letters(t)) + 1
		}
		return strings.Count(t, part)
	}
	failf("the method %s of a string is not known here", name)
	return nil
}

// joinAll joins values with sep between them; show says that they need not be strings.
func (s *scope) joinAll(sep string, all []any, show bool) string {
	parts := make([]string, len(all))
	n := 0
	for i, v := range all {
		if show {
			parts[i] = s.show(v)
		} else {
			parts[i] = s.text(v, "what is joined")
		}
		if i > 0 {
			n += len(sep)
		}
		if n += len(parts[i]); n > s.limits.Bytes {
			break
		}
	}
	s.made(n + wordBytes*len(all))
	return strings.Join(parts, sep)
}

func (s *scope) replace(t, old, by string, count any) string {
	most := -1
	if count != nil {
		most = whole(count, "a count")
	}
	n := len(letters(t)) + 1
	if old != "" {
		n = strings.Count(t, old)
	}
	s.made(len(t))
	s.many(len(by), n)
	return strings.Replace(t, old, by, most)
}

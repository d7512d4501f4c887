package jinja

import "slices"

// changing are methods of lists that the sandbox refuses.
var changing = []string{"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"}

// field is v.name: a method before a key. Where there is none, it is undefined.
func (s *scope) field(v any, name string) any {
	s.step()
	switch v := v.(type) {
	case undefined:
		failf("%.60s is not there, and a field of it (%.40s) is used", string(v), name)
	case *namespace:
		if x, ok := v.Get(name); ok {
			return x
		}
		return undefined(name)
	case *loop:
		return s.loopField(v, name)
	}
	if len(name) > 1 && name[:2] == "__" {
		return undefined(name) // what the sandbox gives
	}
	if f := s.method(v, name); f != nil {
		return f
	}
	if d, ok := v.(*Dict); ok {
		if x, ok := d.Get(name); ok {
			return x
		}
	}
	return undefined(name)
}

// item is v[key]: a key before a method.
func (s *scope) item(v, key any) any {
	s.step()
	if u, ok := v.(undefined); ok {
		failf("%.60s is not there, and an item of it is used", string(u))
	}
	if name, ok := key.(string); ok {
		if d, ok := v.(*Dict); ok {
			if x, ok := d.Get(name); ok {
				return x
			}
		}
		return s.field(v, name)
	}
	_, i, isInt, ok := number(key)
	if !ok || !isInt {
		return undefined("an item that is not named by a string or a number")
	}
	var all []any
	switch v := v.(type) {
	case []any:
		all = v
	case tuple:
		all = v
	case view:
		if !v.index {
			return undefined("an item of a view")
		}
		all = v.items
	case string:
		all = s.items(v)
	default:
		return undefined("an item of " + kindOf(v))
	}
	if i < 0 {
		i += len(all)
	}
	return at(all, i, "an item of a list")
}

func at(all []any, i int, what string) any {
	if i < 0 || i >= len(all) {
		return undefined(what)
	}
	return all[i]
}

// slice is v[from:to:step].
func (s *scope) slice(v any, by [3]any) any {
	var all []any
	switch v := v.(type) {
	case []any:
		all = v
	case tuple:
		all = v
	case string:
		all = s.items(v)
	case view:
		if !v.index {
			failf("a part of a view")
		}
		all = v.items
	default:
		failf("a part of %s", kindOf(v))
	}
	n, step := len(all), 1
	if by[2] != nil {
		if step = whole(by[2], "a step"); step == 0 {
			failf("a part with the step 0")
		}
	}
	edge := func(v any, otherwise, low, high int) int {
		if v == nil {
			return otherwise
		}
		i := whole(v, "an edge")
		if i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	var part []any
	if step > 0 {
		for i, to := edge(by[0], 0, 0, n), edge(by[1], n, 0, n); i < to; i += step {
			part = append(part, all[i])
		}
	} else {
		for i, to := edge(by[0], n-1, -1, n-1), edge(by[1], -1, -1, n-1); i > to; i += step {
			part = append(part, all[i])
		}
	}
	s.made(wordBytes * len(part))
	switch v.(type) {
	case string:
		parts := make([]string, len(part))
		for i, c := range part {
			parts[i] = c.(string)
		}
		return s.joined(parts...)
	case tuple:
		return tuple(part)
	case view:
		return view{part, true}
	}
	return slices.Clip(part)
}

// whole is a value that must be an int.
func whole(v any, what string) int {
	_, n, isInt, ok := number(v)
	if !ok || !isInt {
		failf("%s is %s and no whole number", what, kindOf(v))
	}
	return n
}

// string returns the argument i, which must be a string; name is that of the function.
func (a values) string(i int, name string) string {
	if i >= len(a.list) {
		failf("%s gets %d values", name, len(a.list))
	}
	t, ok := a.list[i].(string)
	if !ok {
		failf("%s gets %s and no string", name, kindOf(a.list[i]))
	}
	return t
}

func (a values) int(i int, name string) int {
	if i >= len(a.list) {
		failf("%s gets %d values", name, len(a.list))
	}
	return whole(a.list[i], "a value of "+name)
}

// only puts named arguments in their places and refuses others; those that are missing are nil.
func (a values) only(name string, names ...string) []any {
	if len(a.list) > len(names) {
		failf("%s gets %d values", name, len(a.list))
	}
	got := make([]any, len(names))
	copy(got, a.list)
	for _, n := range a.named.names() {
		i := slices.Index(names, n)
		if i < len(a.list) {
			failf("%s does not know %.40s here", name, n)
		}
		got[i] = a.named.vals[n]
	}
	return got
}

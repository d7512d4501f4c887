package jinja

import (
	"slices"
	"strings"
)

// Values that are not those of variables.
type (
	undefined string         // what is not there, by its name
	tuple     []any          // (a, b)
	namespace struct{ Dict } // whose fields a template may set
	view      struct {       // range(n), and the keys, values and items of an object
		items []any
		index bool // it is indexed as a list is
	}
	lazy struct { // what map, select and others give: it is read once
		items []any
		used  bool
	}
	safe string // what the filter safe gives: what is added to it is escaped as HTML
)

// Dict is an object with its keys in the order in which they came.
type Dict struct {
	order []string
	vals  map[string]any
}

// NewDict returns an object without keys.
func NewDict() *Dict { return &Dict{vals: map[string]any{}} }

// Set gives a key a value. A key that is there stays in its place.
func (d *Dict) Set(key string, value any) {
	if _, there := d.vals[key]; !there {
		d.order = append(d.order, key)
	}
	d.vals[key] = value
}

// Before returns the object with a key before all others.
func (d *Dict) Before(key string, value any) *Dict {
	o := NewDict()
	o.Set(key, value)
	for _, k := range d.order {
		o.Set(k, d.vals[k])
	}
	return o
}

// Len returns the number of keys.
func (d *Dict) Len() int { return len(d.order) }

// Get returns the value of a key; a nil object has none.
func (d *Dict) Get(key string) (v any, ok bool) {
	if d != nil {
		v, ok = d.vals[key]
	}
	return v, ok
}

func (d *Dict) names() []string {
	if d == nil {
		return nil
	}
	return d.order
}

// truth is how a value counts as a condition.
func (s *scope) truth(v any) bool {
	s.step()
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case safe:
		return v != ""
	case []any:
		return len(v) > 0
	case tuple:
		return len(v) > 0
	case view:
		return len(v.items) > 0
	case *Dict:
		return v.Len() > 0
	}
	return true
}

// number returns a bool, an int or a float as a float, and whether it is an int.
func number(v any) (f float64, n int, isInt, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, 1, true, true
		}
		return 0, 0, true, true
	case int:
		return float64(v), v, true, true
	case float64:
		return v, 0, false, true
	}
	return 0, 0, false, false
}

// items are what is iterated.
func (s *scope) items(v any) []any {
	s.step()
	switch v := v.(type) {
	case []any:
		return v
	case tuple:
		return v
	case view:
		return v.items
	case *lazy:
		items := v.items
		v.items, v.used = nil, true
		return items
	case *Dict:
		return s.strings(v.order)
	case string:
		var items []any
		for _, c := range letters(v) {
			items = append(items, c)
		}
		s.made(wordBytes * len(items))
		return items
	case undefined:
		return nil
	}
	failf("%s is no list", kindOf(v))
	return nil
}

// strings returns strings as a list.
func (m *machine) strings(all []string) []any {
	items := make([]any, len(all))
	for i, s := range all {
		items[i] = s
	}
	m.made(wordBytes * len(all))
	return items
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case undefined:
		return "what is not there (" + string(v) + ")"
	case bool:
		return "a truth value"
	case int, float64:
		return "a number"
	case string, safe:
		return "a string"
	case []any, tuple, view, *lazy:
		return "a list"
	case *Dict:
		return "an object"
	case function:
		return "a function"
	}
	return "a value"
}

func (s *scope) equal(a, b any) bool {
	defer s.deeper()()
	s.step()
	if x, m, isInt, ok := number(a); ok {
		y, n, alsoInt, also := number(b)
		if isInt && alsoInt {
			return also && m == n
		}
		return also && x == y
	}
	same := func(x, y []any) bool {
		if len(x) != len(y) {
			return false
		}
		for i := range x {
			if !s.equal(x[i], y[i]) {
				return false
			}
		}
		return true
	}
	switch x := a.(type) {
	case nil:
		return b == nil
	case undefined:
		_, also := b.(undefined)
		return also
	case string:
		y, ok := b.(string)
		s.made(0)
		return ok && x == y
	case []any:
		y, ok := b.([]any)
		return ok && same(x, y)
	case tuple:
		y, ok := b.(tuple)
		return ok && same(x, y)
	case *Dict:
		y, ok := b.(*Dict)
		if !ok || x.Len() != y.Len() {
			return false
		}
		for key, v := range x.vals {
			if w, there := y.vals[key]; !there || !s.equal(v, w) {
				return false
			}
		}
		return true
	}
	failf("%s cannot be compared", kindOf(a))
	return false
}

// less orders numbers, and strings; others have no order.
func (s *scope) less(a, b any) bool {
	s.step()
	x, m, isInt, ok := number(a)
	y, n, alsoInt, also := number(b)
	if ok && also {
		if isInt && alsoInt {
			return m < n
		}
		return x < y
	}
	p, ok := a.(string)
	q, also := b.(string)
	if !ok || !also {
		failf("%s and %s have no order", kindOf(a), kindOf(b))
	}
	s.made(0)
	return p < q
}

func (s *scope) compare(op string, a, b any) bool {
	switch op {
	case "==":
		return s.equal(a, b)
	case "!=":
		return !s.equal(a, b)
	case "<":
		return s.less(a, b)
	case ">":
		return s.less(b, a)
	case "<=":
		return s.less(a, b) || s.equal(a, b)
	case ">=":
		return s.less(b, a) || s.equal(a, b)
	case "not in":
		return !s.within(a, b)
	}
	return s.within(a, b)
}

func (s *scope) within(a, b any) bool {
	switch b := b.(type) {
	case string:
		s.steps += len(b) / 64
		return strings.Contains(b, s.text(a, "what is in a string"))
	case *Dict:
		_, there := b.vals[s.text(a, "a key")]
		return there
	}
	return slices.ContainsFunc(s.items(b), func(x any) bool { return s.equal(a, x) })
}

// text is a value that must be a string; what says which.
func (m *machine) text(v any, what string) string {
	t, ok := v.(string)
	if !ok {
		failf("%s is %s and no string", what, kindOf(v))
	}
	return t
}

package chat

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// The values of a template: nil, bool, int, string, []any, map[string]any, undefined, namespace and function.
type (
	undefined struct{}
	namespace map[string]any
	function  func(values) any
)

// values are the arguments of a call.
type values struct {
	list  []any
	named namespace
}

// scope has the variables of a template, and what it has written.
type scope struct {
	vars  map[string]any
	outer *scope
	out   *strings.Builder
	steps *int
}

func (s *scope) inner() *scope { return &scope{map[string]any{}, s, s.out, s.steps} }

// step counts a step, which costs more for a value that is long.
func (s *scope) step(of any) any {
	*s.steps++
	switch v := of.(type) {
	case string:
		*s.steps += len(v) / 32
	case []any:
		*s.steps += len(v) / 8
	}
	if *s.steps > maxSteps {
		failf("more than %d steps", maxSteps)
	}
	return of
}

func (s *scope) write(text string) {
	if s.out.Len()+len(text) > maxOutput {
		failf("more than %d bytes are written", maxOutput)
	}
	s.out.WriteString(text)
}

func (s *scope) look(name string) any {
	for at := s; at != nil; at = at.outer {
		if v, ok := at.vars[name]; ok {
			return v
		}
	}
	return undefined{}
}

// bind sets the names of a loop.
func (s *scope) bind(names []string, v any) {
	if len(names) == 1 {
		s.vars[names[0]] = v
		return
	}
	parts := list(v)
	if len(parts) != len(names) {
		failf("%d values for %d names", len(parts), len(names))
	}
	for i, name := range names {
		s.vars[name] = parts[i]
	}
}

// show is what a value is written as.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case undefined:
		return ""
	case string:
		return v
	case bool:
		return map[bool]string{true: "True", false: "False"}[v]
	case int:
		return fmt.Sprint(v)
	}
	failf("a list or object is written")
	return ""
}

func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

// number returns an int or a bool as an int.
func number(v any) (n int, ok bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func equal(a, b any) bool {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	if _, ok := a.(function); ok {
		return false
	}
	return reflect.DeepEqual(a, b)
}

func compare(op string, a, b any) bool {
	switch op {
	case "==":
		return equal(a, b)
	case "!=":
		return !equal(a, b)
	}
	x, ok := number(a)
	y, also := number(b)
	if !ok || !also {
		failf("%s compares what is no number", op)
	}
	switch op {
	case "<":
		return x < y
	case ">":
		return x > y
	case "<=":
		return x <= y
	}
	return x >= y
}

func calculate(op string, a, b any) any {
	if op == "~" {
		return calculate("+", show(a), show(b))
	}
	if op == "+" {
		switch x := a.(type) {
		case string:
			if y, ok := b.(string); ok && len(x)+len(y) <= maxOutput {
				return x + y
			}
			failf("a string and something else are added, or they are too long")
		case []any:
			if y, ok := b.([]any); ok && len(x)+len(y) <= maxSteps {
				return slices.Concat(x, y)
			}
		}
	}
	x, ok := number(a)
	y, also := number(b)
	if !ok || !also || max(x, -x, y, -y) > 1<<30 {
		failf("%s of what is no number, or too large a one", op)
	}
	switch {
	case op == "+":
		return x + y
	case op == "-":
		return x - y
	case op == "*":
		return x * y
	case y <= 0:
		failf("%s by %d", op, y)
	case op == "%":
		return ((x % y) + y) % y
	}
	return (x - ((x%y)+y)%y) / y // rounded down, as Python does
}

func within(a, b any) bool {
	switch b := b.(type) {
	case string:
		x, ok := a.(string)
		return ok && strings.Contains(b, x)
	case []any:
		return slices.ContainsFunc(b, func(x any) bool { return equal(a, x) })
	case map[string]any:
		x, ok := a.(string)
		_, there := b[x]
		return ok && there
	case undefined:
		return false
	}
	failf("in what is no list")
	return false
}

func is(test string, v any) bool {
	switch test {
	case "defined", "undefined":
		_, un := v.(undefined)
		return un == (test == "undefined")
	case "none":
		return v == nil
	case "string":
		_, ok := v.(string)
		return ok
	case "mapping":
		_, ok := v.(map[string]any)
		return ok
	case "iterable", "sequence":
		switch v.(type) {
		case string, []any, map[string]any:
			return true
		}
		return false
	case "boolean":
		_, ok := v.(bool)
		return ok
	case "true", "false":
		return v == (test == "true")
	}
	failf("the test %q is not known", test)
	return false
}

// field is v.name. Where there is none, it is undefined.
func field(v any, name string) any {
	switch v := v.(type) {
	case map[string]any:
		if x, ok := v[name]; ok {
			return x
		}
	case namespace:
		if x, ok := v[name]; ok {
			return x
		}
	case undefined:
		failf("%s of what is not there", name)
	}
	return undefined{}
}

func item(v, key any) any {
	if name, ok := key.(string); ok {
		return field(v, name)
	}
	i, ok := number(key)
	if !ok {
		failf("an index is neither a number nor a name")
	}
	all := list(v)
	if i < 0 {
		i += len(all)
	}
	return at(all, i)
}

func at(all []any, i int) any {
	if i < 0 || i >= len(all) {
		return undefined{}
	}
	return all[i]
}

// list returns the items of a list, the keys of an object, or the characters of a string.
func list(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case map[string]any:
		var keys []string
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		return texts(keys)
	case string:
		return texts(strings.Split(v, ""))
	case undefined:
		return nil
	}
	failf("a list is expected")
	return nil
}

func texts(list []string) []any {
	all := make([]any, len(list))
	for i, s := range list {
		all[i] = s
	}
	return all
}

// slice is v[from:to:step], of which the step may be 1 or -1.
func slice(v any, by [3]any) any {
	all := list(v)
	step := 1
	if by[2] != nil {
		step, _ = number(by[2])
	}
	if step == -1 && by[0] == nil && by[1] == nil {
		all = slices.Clone(all)
		slices.Reverse(all)
	} else if step != 1 {
		failf("a slice with such a step is not known")
	}
	edge := func(v any, otherwise int) int {
		n, ok := number(v)
		if !ok {
			return otherwise
		}
		if n < 0 {
			n += len(all)
		}
		return min(max(n, 0), len(all))
	}
	from, to := edge(by[0], 0), edge(by[1], len(all))
	all = all[from:max(from, to)]
	if _, ok := v.(string); ok {
		return join(all, "")
	}
	return all
}

func join(all []any, between string) string {
	var b strings.Builder
	for i, x := range all {
		if i > 0 {
			b.WriteString(between)
		}
		if b.WriteString(show(x)); b.Len() > maxOutput {
			failf("a string is too long")
		}
	}
	return b.String()
}

// text returns the argument i, or otherwise.
func (a values) text(i int, otherwise string) string {
	if i >= len(a.list) {
		return otherwise
	}
	s, ok := a.list[i].(string)
	if !ok {
		failf("a string is expected")
	}
	return s
}

const white = " \t\r\n\v\f"

// method calls a method of a string or an object.
func method(v any, name string, a values) any {
	if m, ok := v.(map[string]any); ok && name == "get" && len(a.list) > 0 {
		if x, ok := m[a.text(0, "")]; ok {
			return x
		}
		if len(a.list) > 1 {
			return a.list[1]
		}
		return nil
	}
	s, ok := v.(string)
	if !ok {
		failf("the method %q is not known here", name)
	}
	switch name {
	case "strip":
		return strings.Trim(s, a.text(0, white))
	case "lstrip":
		return strings.TrimLeft(s, a.text(0, white))
	case "rstrip":
		return strings.TrimRight(s, a.text(0, white))
	case "startswith":
		return strings.HasPrefix(s, a.text(0, ""))
	case "endswith":
		return strings.HasSuffix(s, a.text(0, ""))
	case "upper":
		return strings.ToUpper(s)
	case "lower":
		return strings.ToLower(s)
	case "split":
		if by := a.text(0, ""); by != "" && len(a.list) == 1 {
			return texts(strings.Split(s, by))
		}
	}
	failf("the method %q is not known here", name)
	return nil
}

// filter is v | name.
func filter(v any, name string, a values) any {
	switch name {
	case "trim":
		return strings.Trim(show(v), white)
	case "length", "count":
		return len(list(v))
	case "upper", "lower":
		return method(show(v), name, values{})
	case "string":
		return show(v)
	case "safe":
		return v
	case "list":
		return list(v)
	case "first":
		return at(list(v), 0)
	case "last":
		return at(list(v), len(list(v))-1)
	case "join":
		return join(list(v), a.text(0, ""))
	case "default":
		if _, un := v.(undefined); un && len(a.list) == 1 {
			return a.list[0]
		}
		return v
	case "tojson":
		if s, ok := v.(string); ok {
			raw, err := json.Marshal(s)
			if err == nil {
				return string(raw)
			}
		}
	}
	failf("the filter %q is not known here", name)
	return nil
}

package chat

import (
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

// operate computes a op b. It computes b only where that is needed.
func operate(op string, a any, second func() any) any {
	if op == "or" && truth(a) || op == "and" && !truth(a) {
		return a
	}
	b := second()
	x, isText := a.(string)
	y, alsoText := b.(string)
	switch {
	case op == "or", op == "and":
		return b
	case op == "==", op == "!=":
		return equal(a, b) == (op == "==")
	case op == "~":
		x, y, isText, alsoText = show(a), show(b), true, true
		fallthrough
	case isText && alsoText && op == "+":
		if len(x)+len(y) > maxOutput {
			failf("a string is too long")
		}
		return x + y
	}
	m, ok := number(a)
	n, also := number(b)
	if !ok || !also || max(m, -m, n, -n) > maxSteps {
		failf("%s of what is no number, or too large a one", op)
	}
	switch op {
	case "+":
		return m + n
	case "-":
		return m - n
	case "<":
		return m < n
	case ">":
		return m > n
	case "<=":
		return m <= n
	}
	return m >= n
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

package jinja

// test is v is name(a).
func (s *scope) test(name string, v any, a values) bool {
	s.step()
	switch name {
	case "defined", "undefined":
		_, missing := v.(undefined)
		return missing == (name == "undefined")
	case "none":
		return v == nil
	case "string":
		_, ok := v.(string)
		_, also := v.(safe)
		return ok || also
	case "mapping":
		_, ok := v.(*Dict)
		return ok
	case "boolean":
		_, ok := v.(bool)
		return ok
	case "true", "false":
		return v == (name == "true")
	case "integer":
		_, ok := v.(int)
		return ok
	case "float":
		_, ok := v.(float64)
		return ok
	case "number":
		_, _, _, ok := number(v)
		return ok
	case "iterable":
		switch v.(type) {
		case string, safe, []any, tuple, view, *lazy, *Dict, undefined:
			return true
		}
		return false
	case "sequence": // what has a length and items
		switch v := v.(type) {
		case string, safe, []any, tuple, *Dict, undefined:
			return true
		case view:
			return v.index
		}
		return false
	case "callable":
		_, ok := v.(function)
		return ok
	case "odd", "even":
		n := whole(v, "what is odd or even")
		return n%2 != 0 == (name == "odd")
	}
	got := a.only("a test", "value")
	switch name {
	case "eq", "equalto", "==":
		return s.compare("==", v, got[0])
	case "ne", "!=":
		return s.compare("!=", v, got[0])
	case "lt", "lessthan", "<":
		return s.compare("<", v, got[0])
	case "gt", "greaterthan", ">":
		return s.compare(">", v, got[0])
	case "le", "<=":
		return s.compare("<=", v, got[0])
	case "ge", ">=":
		return s.compare(">=", v, got[0])
	case "in":
		return s.within(v, got[0])
	case "divisibleby":
		n := whole(got[0], "what divides")
		if n == 0 {
			failf("a division by zero")
		}
		return whole(v, "what is divided")%n == 0
	}
	failf("the test %.40q is not known here", name)
	return false
}

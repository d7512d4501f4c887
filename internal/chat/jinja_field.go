package chat

import (
	"encoding/json"
	"slices"
	"strings"
)

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

// list returns the items of a list.
func list(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case undefined:
		return nil
	}
	failf("a list is expected")
	return nil
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
	return all[from:max(from, to)]
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
	}
	failf("the method %q is not known here", name)
	return nil
}

// filter is v | name.
func filter(v any, name string, a values) any {
	switch name {
	case "trim":
		return strings.Trim(show(v), white)
	case "length":
		return len(list(v))
	case "string":
		return show(v)
	case "safe":
		return v
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

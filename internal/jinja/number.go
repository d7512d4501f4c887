package jinja

import (
	"math"
	"strconv"
)

// toNumber is the filters int and float: what is no number is the default.
func (s *scope) toNumber(name string, v any, a values) any {
	got := a.only(name, "default")
	f, n, isInt, ok := number(v)
	switch v := v.(type) {
	case string:
		t, err := strip(v, "strip", nil), error(nil)
		if n, err = strconv.Atoi(t); err == nil {
			f, isInt, ok = float64(n), true, true
		} else if f, err = strconv.ParseFloat(t, 64); err == nil {
			ok = true
		}
	case undefined:
		failf("%s of what is not there", name)
	}
	switch {
	case ok && name == "float":
		return f
	case ok && isInt:
		return n
	case ok && math.Abs(f) < 1<<53:
		return int(f)
	case got[0] != nil:
		return got[0]
	case name == "float":
		return 0.0
	}
	return 0
}

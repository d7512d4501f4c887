package jinja

import (
	"math"
	"strconv"
	"strings"
)

// toInt is int(default): what is no number is the default.
func (s *scope) toInt(v any, a values) any {
	got := a.only("int", "default")
	f, n, isInt, ok := number(v)
	t, isText := v.(string)
	if isText {
		t = strings.Trim(strip(t, "strip", nil), " ")
		i, err := strconv.Atoi(t)
		if n, isInt, ok = i, true, err == nil; !ok {
			f, err = strconv.ParseFloat(t, 64)
			isInt, ok = false, err == nil
		}
	} else if _, missing := v.(undefined); missing {
		failf("int of what is not there")
	}
	switch {
	case ok && isInt:
		return n
	case ok && math.Abs(f) < 1<<53:
		return int(f)
	case got[0] == nil:
		return 0
	}
	return got[0]
}

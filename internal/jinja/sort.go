package jinja

import "slices"

// sorted sorts by keys; big and small letters are the same unless cased.
func (s *scope) sorted(all []any, reverse, cased bool, key func(any) any) []any {
	order := func(x any) any {
		if k := key(x); cased {
			return k
		} else {
			return folded(k)
		}
	}
	slices.SortStableFunc(all, func(x, y any) int {
		p, q := order(x), order(y)
		if reverse {
			p, q = q, p
		}
		switch {
		case s.less(p, q):
			return -1
		case s.less(q, p):
			return 1
		}
		return 0
	})
	s.made(wordBytes * len(all))
	return all
}

// folded is a string in small letters.
func folded(v any) any {
	if t, ok := v.(string); ok {
		return inCase(t, "lower")
	}
	return v
}

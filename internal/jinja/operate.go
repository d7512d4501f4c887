package jinja

import (
	"math"
	"slices"
	"strings"
)

// operate computes a op b.
func (s *scope) operate(op string, a, b any) any {
	s.step()
	if op == "~" {
		return s.joined(s.show(a), s.show(b))
	}
	if text, ok := a.(string); ok && op == "%" {
		return s.printf(text, b)
	}
	x, m, isInt, ok := number(a)
	y, n, alsoInt, also := number(b)
	if !ok || !also {
		return s.combine(op, a, b)
	}
	ints := isInt && alsoInt
	if ints && max(m, -m, n, -n) < 1<<31 {
		switch op {
		case "+":
			return m + n
		case "-":
			return m - n
		case "*":
			return m * n
		}
	} else if ints {
		failf("%s of too large a number", op)
	}
	if y == 0 && strings.Contains("//%", op) {
		failf("a division by zero")
	}
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "/":
		return x / y
	case "//":
		if f := math.Floor(x / y); !ints {
			return f
		}
		return int(math.Floor(float64(m) / float64(n)))
	case "%":
		if f := x - y*math.Floor(x/y); !ints {
			return f
		}
		return ((m % n) + n) % n
	}
	failf("the operator %s is not known here", op)
	return nil
}

// combine computes a op b of what is not two numbers.
func (s *scope) combine(op string, a, b any) any {
	if _, n, isInt, ok := number(a); op == "*" && ok && isInt {
		return s.repeat(b, n)
	}
	if _, n, isInt, ok := number(b); op == "*" && ok && isInt {
		return s.repeat(a, n)
	}
	if op == "+" {
		_, left := a.(safe)
		if _, right := b.(safe); left || right {
			return safe(s.joined(escape(a), escape(b)))
		}
		switch x := a.(type) {
		case string:
			if y, ok := b.(string); ok {
				return s.joined(x, y)
			}
		case []any:
			if y, ok := b.([]any); ok {
				s.made(wordBytes * (len(x) + len(y)))
				return slices.Concat(x, y)
			}
		case tuple:
			if y, ok := b.(tuple); ok {
				s.made(wordBytes * (len(x) + len(y)))
				return slices.Concat(x, y)
			}
		}
	}
	failf("%s of %s and %s", op, kindOf(a), kindOf(b))
	return nil
}

// escape is a string as HTML, as markupsafe writes it.
func escape(v any) string {
	if t, ok := v.(safe); ok {
		return string(t)
	}
	t, ok := v.(string)
	if !ok {
		failf("+ of what is safe and %s", kindOf(v))
	}
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;").Replace(t)
}

// repeat is a string or a list n times.
func (s *scope) repeat(v any, n int) any {
	n = max(n, 0)
	switch v := v.(type) {
	case string:
		s.many(len(v), n)
		return strings.Repeat(v, n)
	case []any:
		s.many(wordBytes*len(v), n)
		return slices.Repeat(v, n)
	}
	failf("* of %s", kindOf(v))
	return nil
}

// many counts n times size bytes.
func (m *machine) many(size, n int) {
	if size > 0 && n > m.limits.Bytes/size {
		n = m.limits.Bytes/size + 1
	}
	m.made(size * n)
}

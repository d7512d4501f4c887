package chat

import (
	"slices"
	"strconv"
	"strings"
)

// expr reads: a if b else c.
func (in *lexer) expr() expr {
	if in.depth++; in.depth > maxNested {
		failf("nested deeper than %d", maxNested)
	}
	defer func() { in.depth-- }()
	value := in.or()
	if !in.take("if") {
		return value
	}
	when, otherwise := in.or(), expr(func(*scope) any { return undefined{} })
	if in.take("else") {
		otherwise = in.expr()
	}
	return func(s *scope) any {
		if truth(when(s)) {
			return value(s)
		}
		return otherwise(s)
	}
}

// chain reads values of the next higher rank with operators between them.
func (in *lexer) chain(next func() expr, ops ...string) expr {
	left := next()
	for {
		op := in.peek()
		if op.kind == '"' || !slices.Contains(ops, op.text) {
			return left
		}
		in.next()
		a, b := left, next()
		left = func(s *scope) any { return s.step(operate(op.text, a(s), func() any { return b(s) })) }
	}
}

func (in *lexer) or() expr   { return in.chain(in.and, "or") }
func (in *lexer) and() expr  { return in.chain(in.not, "and") }
func (in *lexer) sum() expr  { return in.chain(in.join, "+", "-") }
func (in *lexer) join() expr { return in.chain(in.postfix, "~") }

func (in *lexer) not() expr {
	n := 0
	for in.take("not") {
		n++
	}
	value := in.compare()
	if n == 0 {
		return value
	}
	return func(s *scope) any { return truth(value(s)) == (n%2 == 0) }
}

func (in *lexer) compare() expr {
	left := in.chain(in.sum, "==", "!=", "<", ">", "<=", ">=")
	for {
		a, not := left, false
		switch {
		case in.take("is"):
			not = in.take("not")
			test := in.name()
			left = func(s *scope) any { return is(test, a(s)) != not }
			continue
		case in.take("not"):
			not = true
			in.need("in")
		case !in.take("in"):
			return left
		}
		b := in.sum()
		left = func(s *scope) any { return within(a(s), s.step(b(s))) != not }
	}
}

// postfix reads what follows a value: a field, an index, a call, a filter.
func (in *lexer) postfix() expr {
	value := in.primary()
	for {
		v := value
		switch {
		case in.take("."):
			name := in.name()
			if in.take("(") {
				args := in.args(")")
				value = func(s *scope) any { return method(s.step(v(s)), name, args.of(s)) }
			} else {
				value = func(s *scope) any { return field(v(s), name) }
			}
		case in.take("["):
			value = in.index(v)
		case in.take("("):
			args := in.args(")")
			value = func(s *scope) any {
				f, ok := s.step(v(s)).(function)
				if !ok {
					failf("a value is called that is no function")
				}
				return f(args.of(s))
			}
		case in.take("|"):
			name, args := in.name(), arguments{}
			if in.take("(") {
				args = in.args(")")
			}
			value = func(s *scope) any { return filter(s.step(v(s)), name, args.of(s)) }
		default:
			return value
		}
	}
}

// index reads v[i] or v[i:j:k] behind the bracket.
func (in *lexer) index(v expr) expr {
	var part [3]expr
	n := 0
	for ; n < 3; n++ {
		if t := in.peek(); t.text != ":" && t.text != "]" || t.kind != '+' {
			part[n] = in.expr()
		}
		if !in.take(":") {
			break
		}
	}
	in.need("]")
	if n == 0 {
		if part[0] == nil {
			failf("an index is missing")
		}
		return func(s *scope) any { return item(s.step(v(s)), part[0](s)) }
	}
	return func(s *scope) any {
		var by [3]any
		for i, p := range part {
			if p != nil {
				by[i] = p(s)
			}
		}
		return slice(s.step(v(s)), by)
	}
}

// arguments are those of a call, by place and by name.
type arguments struct {
	list  []expr
	named map[string]expr
}

func (in *lexer) args(end string) (a arguments) {
	a.named = map[string]expr{}
	for !in.take(end) {
		if len(a.list)+len(a.named) > 0 {
			in.need(",")
			if in.take(end) {
				break
			}
		}
		if len(in.list) > 1 && in.list[0].kind == 'n' && in.list[1] == (lexeme{'+', "="}) {
			name := in.name()
			in.next()
			a.named[name] = in.expr()
			continue
		}
		a.list = append(a.list, in.expr())
	}
	return a
}

func (a arguments) of(s *scope) (v values) {
	for _, e := range a.list {
		v.list = append(v.list, e(s))
	}
	v.named = namespace{}
	for name, e := range a.named {
		v.named[name] = e(s)
	}
	return v
}

func (in *lexer) primary() expr {
	constant := func(v any) expr { return func(*scope) any { return v } }
	switch t := in.next(); t.kind {
	case '"':
		for in.peek().kind == '"' {
			t.text += in.next().text
		}
		return constant(t.text)
	case '0':
		n, err := strconv.Atoi(t.text)
		if err != nil || n > maxOutput {
			failf("the number %.20s is too large", t.text)
		}
		return constant(n)
	case 'n':
		switch strings.ToLower(t.text) {
		case "true", "false":
			return constant(strings.EqualFold(t.text, "true"))
		case "none":
			return constant(nil)
		}
		return func(s *scope) any { return s.look(t.text) }
	case '+':
		switch t.text {
		case "-":
			value := in.postfix()
			return func(s *scope) any { return operate("-", 0, func() any { return value(s) }) }
		case "(":
			value := in.expr()
			in.need(")")
			return value
		case "[":
			args := in.args("]")
			return func(s *scope) any { return args.of(s).list }
		}
		failf("%q is not expected", t.text)
	}
	failf("an expression is missing")
	return nil
}

package jinja

import (
	"slices"
	"strconv"
)

// expr is an expression.
type expr func(*scope) any

func constant(v any) expr { return func(*scope) any { return v } }

// deeper bounds how deep expressions nest.
func (in *lexer) deeper(read func() expr) expr {
	if in.depth++; in.depth > maxNested {
		failf("nested deeper than %d", maxNested)
	}
	defer func() { in.depth-- }()
	return read()
}

// expr reads: a if b else c.
func (in *lexer) expr() expr { return in.deeper(in.conditional) }

func (in *lexer) conditional() expr {
	value := in.or()
	for in.take("if") {
		yes, when, no := value, in.or(), constant(undefined("the value of an if without else"))
		if in.take("else") {
			no = in.expr()
		}
		value = func(s *scope) any {
			if s.truth(when(s)) {
				return yes(s)
			}
			return no(s)
		}
	}
	return value
}

// tuple reads values with commas between them, which are a tuple, or one value. ends says whether nothing more comes.
func (in *lexer) tuple(read func() expr, ends func() bool) expr {
	var all []expr
	comma := false
	for !ends() {
		all = append(all, read())
		if comma = in.take(","); !comma {
			break
		}
	}
	if len(all) == 1 && !comma {
		return all[0]
	}
	if len(all) == 0 {
		failf("an expression is missing")
	}
	return func(s *scope) any { return tuple(s.list(all)) }
}

// list computes values.
func (s *scope) list(all []expr) []any {
	values := make([]any, len(all))
	for i, e := range all {
		values[i] = e(s)
	}
	s.made(len(all) * wordBytes)
	return values
}

// ended reports that nothing is left, or the word with which the filter of a for begins.
func (in *lexer) ended() bool { return len(in.list) == 0 || in.is("if") || in.is("recursive") }

// chain reads values of the next higher rank with operators between them.
func (in *lexer) chain(next func() expr, ops ...string) expr {
	left := next()
	for {
		op := in.peek()
		if op.kind != '+' && op.kind != 'n' || !slices.Contains(ops, op.text) {
			return left
		}
		in.next()
		a, b := left, next()
		switch op.text {
		case "or", "and":
			left = func(s *scope) any {
				if v := a(s); s.truth(v) == (op.text == "or") {
					return v
				}
				return b(s)
			}
		default:
			left = func(s *scope) any { return s.operate(op.text, a(s), b(s)) }
		}
	}
}

func (in *lexer) or() expr      { return in.chain(in.and, "or") }
func (in *lexer) and() expr     { return in.chain(in.not, "and") }
func (in *lexer) sum() expr     { return in.chain(in.join, "+", "-") }
func (in *lexer) join() expr    { return in.chain(in.product, "~") }
func (in *lexer) product() expr { return in.chain(in.power, "*", "/", "//", "%") }
func (in *lexer) power() expr   { return in.chain(func() expr { return in.unary(true) }, "**") }

func (in *lexer) not() expr {
	if !in.take("not") {
		return in.compare()
	}
	value := in.deeper(in.not)
	return func(s *scope) any { return !s.truth(value(s)) }
}

// compare reads comparisons: a < b < c is a < b and b < c.
func (in *lexer) compare() expr {
	left := in.sum()
	var ops []string
	var rest []expr
	for {
		op := in.peek().text
		switch {
		case in.peek().kind == '+' && slices.Contains([]string{"==", "!=", "<", ">", "<=", ">="}, op), in.is("in"):
			in.next()
		case in.is("not") && len(in.list) > 1 && in.list[1] == (lexeme{'n', "in"}):
			in.list, op = in.list[2:], "not in"
		default:
			if len(ops) == 0 {
				return left
			}
			return func(s *scope) any {
				a := left(s)
				for i, op := range ops {
					b := rest[i](s)
					if !s.compare(op, a, b) {
						return false
					}
					a = b
				}
				return true
			}
		}
		ops, rest = append(ops, op), append(rest, in.sum())
	}
}

// unary reads a sign and a value with what follows it; filters says whether filters and tests are read.
func (in *lexer) unary(filters bool) (value expr) {
	if in.is("-") || in.is("+") {
		op := in.next().text
		v := in.deeper(func() expr { return in.unary(false) })
		factor := map[string]int{"-": -1, "+": 1}[op]
		value = func(s *scope) any { return s.operate("*", signed(v(s)), factor) }
	} else {
		value = in.postfix(in.primary())
	}
	for filters {
		v := value
		switch {
		case in.take("|"):
			name, args := in.name(), arguments{}
			if in.take("(") {
				args = in.args(")")
			}
			value = func(s *scope) any { return s.filter(name, v(s), args.of(s)) }
		case in.take("is"):
			value = in.test(v)
		case in.take("("):
			args := in.args(")")
			value = func(s *scope) any { return s.call(v(s), args.of(s)) }
		default:
			return value
		}
	}
	return value
}

// signed refuses what has no sign: a string can be multiplied.
func signed(v any) any {
	if _, _, _, ok := number(v); !ok {
		failf("a sign before %s", kindOf(v))
	}
	return v
}

// test reads what follows "is".
func (in *lexer) test(v expr) expr {
	not := in.take("not")
	name, args := in.name(), arguments{}
	switch t := in.peek(); {
	case in.take("("):
		args = in.args(")")
	case t.kind == 'n' && slices.Contains([]string{"else", "or", "and", "is", "in", "if", "not", "recursive"}, t.text):
	case t.kind != 0 && t.kind != '+', in.is("("), in.is("["), in.is("{"):
		args.list = []expr{in.postfix(in.primary())}
	}
	return func(s *scope) any { return s.test(name, v(s), args.of(s)) != not }
}

// postfix reads what follows a value: a field, an index, a call.
func (in *lexer) postfix(value expr) expr {
	for {
		v := value
		switch {
		case in.take("."):
			if t := in.peek(); t.kind == '0' {
				i, _ := strconv.Atoi(in.next().text)
				value = func(s *scope) any { return s.item(v(s), i) }
				continue
			}
			name := in.name()
			value = func(s *scope) any { return s.field(v(s), name) }
		case in.take("["):
			value = in.index(v)
		case in.take("("):
			args := in.args(")")
			value = func(s *scope) any { return s.call(v(s), args.of(s)) }
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
		if !in.is(":") && !in.is("]") {
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
		return func(s *scope) any { return s.item(v(s), part[0](s)) }
	}
	return func(s *scope) any {
		of := v(s)
		var by [3]any
		for i, p := range part {
			if p != nil {
				by[i] = p(s)
			}
		}
		return s.slice(of, by)
	}
}

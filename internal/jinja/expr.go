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

// arguments are those of a call, by place and by name.
type arguments struct {
	list  []expr
	names []string
	named []expr
}

func (in *lexer) args(end string) (a arguments) {
	for !in.take(end) {
		if len(a.list)+len(a.named) > 0 {
			in.need(",")
			if in.take(end) {
				break
			}
		}
		if len(in.list) > 1 && in.list[0].kind == 'n' && in.list[1] == (lexeme{'+', "="}) {
			a.names = append(a.names, in.name())
			in.next()
			a.named = append(a.named, in.expr())
			continue
		}
		if len(a.named) > 0 {
			failf("an argument without a name follows one with a name")
		}
		a.list = append(a.list, in.expr())
	}
	return a
}

func (a arguments) of(s *scope) (v values) {
	v.list = s.list(a.list)
	if len(a.named) > 0 {
		v.named = NewDict()
		for i, e := range a.named {
			v.named.Set(a.names[i], e(s))
		}
	}
	return v
}

func (in *lexer) primary() expr {
	switch t := in.next(); t.kind {
	case '"':
		for in.peek().kind == '"' {
			t.text += in.next().text
		}
		return constant(t.text)
	case '0':
		n, err := strconv.Atoi(t.text)
		if err != nil || len(t.text) > 1 && t.text[0] == '0' && n != 0 {
			failf("the number %.20s is not known", t.text)
		}
		return constant(n)
	case '.':
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			failf("the number %.20s is not known", t.text)
		}
		return constant(f)
	case 'n':
		switch t.text {
		case "true", "True":
			return constant(true)
		case "false", "False":
			return constant(false)
		case "none", "None":
			return constant(nil)
		}
		return func(s *scope) any { return s.look(t.text) }
	case '+':
		switch t.text {
		case "(":
			if in.take(")") {
				return constant(tuple{})
			}
			value := in.deeper(func() expr { return in.tuple(in.expr, func() bool { return in.is(")") }) })
			in.need(")")
			return value
		case "[":
			all := in.args("]")
			if all.names != nil {
				failf("a list has a name")
			}
			return func(s *scope) any { return s.list(all.list) }
		case "{":
			return in.dict()
		}
		failf("%q is not expected", t.text)
	}
	failf("an expression is missing")
	return nil
}

// dict reads an object behind its bracket.
func (in *lexer) dict() expr {
	var keys, vals []expr
	for !in.take("}") {
		if len(keys) > 0 {
			in.need(",")
			if in.take("}") {
				break
			}
		}
		keys = append(keys, in.expr())
		in.need(":")
		vals = append(vals, in.expr())
	}
	return func(s *scope) any {
		d := NewDict()
		for i := range keys {
			d.Set(s.text(keys[i](s), "a key"), vals[i](s))
		}
		s.made(len(keys) * 4 * wordBytes)
		return d
	}
}

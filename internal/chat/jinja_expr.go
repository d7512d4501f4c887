package chat

import (
	"strconv"
	"strings"
	"unicode"
)

// lexeme is a name, a number, a string or a mark of an expression.
type lexeme struct {
	kind byte // 'n' name, '0' number, '"' string, '+' mark
	text string
}

// lexer has what is left of a tag.
type lexer struct {
	list  []lexeme
	depth int
}

// marksOf are the marks of expressions, the long ones first.
var marksOf = []string{"==", "!=", "<=", ">=", "//", "<", ">", "=", "+", "-", "*", "/", "%", "~", "(", ")", "[", "]", "{",
	"}", ",", ":", ".", "|"}

// lex cuts the text of a tag into tokens.
func lex(text string) *lexer {
	in := &lexer{}
	for i := 0; i < len(text); {
		c := text[i]
		from := i
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
		case c == '\'' || c == '"':
			s := ""
			s, i = str(text, i)
			in.list = append(in.list, lexeme{'"', s})
		case c == '_' || unicode.IsLetter(rune(c)) && c < 0x80:
			for i < len(text) && (text[i] == '_' || text[i] < 0x80 && unicode.IsLetter(rune(text[i])) || digit(text[i])) {
				i++
			}
			in.list = append(in.list, lexeme{'n', text[from:i]})
		case digit(c):
			for i < len(text) && digit(text[i]) {
				i++
			}
			in.list = append(in.list, lexeme{'0', text[from:i]})
		default:
			for _, m := range marksOf {
				if strings.HasPrefix(text[i:], m) {
					in.list = append(in.list, lexeme{'+', m})
					i += len(m)
					break
				}
			}
			if i == from {
				failf("%q is not known in an expression", text[i:i+1])
			}
		}
	}
	return in
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// str reads a string that begins at i, and returns where it ends.
func str(text string, i int) (s string, end int) {
	var b strings.Builder
	quote := text[i]
	for i++; i < len(text) && text[i] != quote; i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch text[i] {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case '\\', '\'', '"':
			b.WriteByte(text[i])
		default:
			failf("the escape \\%c is not known", text[i])
		}
	}
	if i == len(text) {
		failf("a string without its end")
	}
	return b.String(), i + 1
}

func (in *lexer) peek() lexeme {
	if len(in.list) == 0 {
		return lexeme{}
	}
	return in.list[0]
}

func (in *lexer) next() lexeme {
	t := in.peek()
	if len(in.list) > 0 {
		in.list = in.list[1:]
	}
	return t
}

// take reads a mark or word, if it is next.
func (in *lexer) take(text string) bool {
	if t := in.peek(); (t.kind != '+' && t.kind != 'n') || t.text != text {
		return false
	}
	in.next()
	return true
}

func (in *lexer) need(text string) {
	if !in.take(text) {
		failf("%q is expected before %q", text, in.peek().text)
	}
}

func (in *lexer) name() string {
	t := in.next()
	if t.kind != 'n' {
		failf("a name is expected before %q", t.text)
	}
	return t.text
}

func (in *lexer) end() {
	if len(in.list) > 0 {
		failf("%q is not expected", in.peek().text)
	}
}

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

func (in *lexer) or() expr {
	left := in.and()
	for in.take("or") {
		a, b := left, in.and()
		left = func(s *scope) any {
			if v := a(s); truth(v) {
				return v
			}
			return b(s)
		}
	}
	return left
}

func (in *lexer) and() expr {
	left := in.not()
	for in.take("and") {
		a, b := left, in.not()
		left = func(s *scope) any {
			if v := a(s); !truth(v) {
				return v
			}
			return b(s)
		}
	}
	return left
}

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
	left := in.sum()
	for {
		a, not := left, false
		switch t := in.peek(); {
		case t.kind == '+' && strings.Contains(" == != < > <= >= ", " "+t.text+" "):
			in.next()
			b := in.sum()
			left = func(s *scope) any { return compare(t.text, s.step(a(s)), b(s)) }
			continue
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

func (in *lexer) sum() expr {
	left := in.product()
	for {
		t := in.peek()
		if t.kind != '+' || t.text != "+" && t.text != "-" && t.text != "~" {
			return left
		}
		in.next()
		a, b := left, in.product()
		left = func(s *scope) any { return s.step(calculate(t.text, a(s), b(s))) }
	}
}

func (in *lexer) product() expr {
	left := in.unary()
	for {
		t := in.peek()
		if t.kind != '+' || t.text != "%" && t.text != "*" && t.text != "//" {
			return left
		}
		in.next()
		a, b := left, in.unary()
		left = func(s *scope) any { return s.step(calculate(t.text, a(s), b(s))) }
	}
}

func (in *lexer) unary() expr {
	if in.take("-") {
		value := in.postfix()
		return func(s *scope) any { return calculate("-", 0, value(s)) }
	}
	return in.postfix()
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

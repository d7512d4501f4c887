package jinja

import "strconv"

// arguments are those of a call, by place and by name.
type arguments struct {
	list  []expr
	names []string // "": all of an object
	named []expr
}

func (in *lexer) args(end string) (a arguments) {
	for !in.take(end) {
		if len(a.list)+len(a.named) > 0 {
			if in.need(","); in.take(end) {
				break
			}
			if n := len(a.names); n > 0 && a.names[n-1] == "" {
				failf("an argument follows one of **")
			}
		}
		named := len(in.list) > 1 && in.list[0].kind == 'n' && in.list[1] == (lexeme{'+', "="})
		if spread := in.take("**"); named || spread {
			if a.names = append(a.names, ""); named {
				a.names[len(a.names)-1] = in.name()
				in.next()
			}
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
			value := e(s)
			if a.names[i] != "" {
				v.named.Set(a.names[i], value)
				continue
			}
			d, ok := value.(*Dict)
			if !ok {
				failf("** of %s", kindOf(value))
			}
			for _, name := range d.order {
				v.named.Set(name, d.vals[name])
			}
		}
		s.made(wordBytes * len(v.named.order))
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

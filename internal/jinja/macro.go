package jinja

import "slices"

// values are the arguments of a call.
type values struct {
	list  []any
	named *Dict // nil: none
}

// function is a value that can be called.
type function func(values) any

// params are what a macro takes.
type params struct {
	names    []string
	defaults []expr // of each; nil: undefined
}

func (in *lexer) params() (p params) {
	for !in.take(")") {
		if len(p.names) > 0 {
			in.need(",")
		}
		var value expr
		p.names = append(p.names, in.name())
		if in.take("=") {
			value = in.expr()
		}
		p.defaults = append(p.defaults, value)
	}
	return p
}

// bind gives arguments to the names of a macro.
func (p params) bind(s *scope, a values) {
	if len(a.list) > len(p.names) {
		failf("%d arguments for %d names of a macro", len(a.list), len(p.names))
	}
	for i, name := range p.names {
		v, named := a.named.Get(name)
		switch {
		case i < len(a.list) && named:
			failf("a macro gets %q twice", name)
		case i < len(a.list):
			v = a.list[i]
		case named:
		case p.defaults[i] != nil:
			v = p.defaults[i](s)
		default:
			v = undefined(name)
		}
		s.vars[name] = v
	}
	for _, name := range a.named.names() {
		if !slices.Contains(p.names, name) && name != "caller" {
			failf("a macro has no argument %q", name)
		}
	}
}

// macro returns a function that captures what a body writes.
func (s *scope) macro(p params, body []node) function {
	return func(a values) any {
		defer s.deeper()()
		in := s.inner()
		if caller, ok := a.named.Get("caller"); ok {
			in.vars["caller"] = caller
		}
		p.bind(in, a)
		return in.captured(body)
	}
}

func (p *blocks) macroBlock(in *lexer, depth int) node {
	name := in.name()
	in.need("(")
	params := in.params()
	in.end()
	body := p.body("macro", depth)
	return func(s *scope) flow { s.vars[name] = s.macro(params, body); return goOn }
}

func (p *blocks) callBlock(in *lexer, depth int) node {
	var params params
	if in.take("(") {
		params = in.params()
	}
	// The call itself is the last of the expression: its arguments get the caller.
	list := in.list
	if len(list) == 0 || list[len(list)-1] != (lexeme{'+', ")"}) {
		failf("a call block without a call")
	}
	const held = " caller"
	more := []lexeme{{'n', "caller"}, {'+', "="}, {'n', held}, {'+', ")"}}
	if len(list) > 1 && list[len(list)-2] != (lexeme{'+', "("}) && list[len(list)-2] != (lexeme{'+', ","}) {
		more = append([]lexeme{{'+', ","}}, more...)
	}
	in.list = append(slices.Clone(list[:len(list)-1]), more...)
	call := in.expr()
	in.end()
	body := p.body("call", depth)
	return func(s *scope) flow {
		in := s.inner()
		in.vars[held] = s.macro(params, body)
		s.write(s.show(call(in)))
		return goOn
	}
}

// call calls a value.
func (s *scope) call(f any, a values) any {
	s.step()
	switch f := f.(type) {
	case function:
		return f(a)
	case undefined:
		failf("%.60s is not there, and it is called", string(f))
	}
	failf("a value is called that is no function")
	return nil
}

// globals are the functions that every template has.
func (m *machine) globals() map[string]any {
	g := map[string]any{
		"raise_exception": function(func(a values) any {
			panic(fault{Raised(a.string(0, "raise_exception"))})
		}),
		"namespace": function(func(a values) any { return &namespace{*m.dict(a)} }),
		"dict":      function(func(a values) any { return m.dict(a) }),
		"range":     function(func(a values) any { return m.span(a) }),
	}
	for _, name := range []string{"joiner", "lipsum", "cycler"} {
		g[name] = function(func(values) any { failf("%s is not known here", name); return nil })
	}
	if !m.limits.Now.IsZero() {
		g["strftime_now"] = function(func(a values) any { return m.strftime(a.string(0, "strftime_now")) })
	}
	return g
}

// dict makes an object of arguments.
func (m *machine) dict(a values) *Dict {
	d := NewDict()
	switch {
	case len(a.list) > 1:
		failf("an object of more than one value")
	case len(a.list) == 1:
		from, ok := a.list[0].(*Dict)
		if !ok {
			failf("an object of what is none")
		}
		for _, name := range from.names() {
			d.Set(name, from.vals[name])
		}
	}
	for _, name := range a.named.names() {
		d.Set(name, a.named.vals[name])
	}
	m.made(4 * wordBytes * d.Len())
	return d
}

// span is range(…).
func (m *machine) span(a values) any {
	from, to, by := 0, 0, 1
	switch len(a.list) {
	case 1:
		to = a.int(0, "range")
	case 2, 3:
		if from, to = a.int(0, "range"), a.int(1, "range"); len(a.list) == 3 {
			by = a.int(2, "range")
		}
	default:
		failf("a range of %d numbers", len(a.list))
	}
	if by == 0 {
		failf("a range with the step 0")
	}
	var items []any
	for i := from; by > 0 && i < to || by < 0 && i > to; i += by {
		m.made(wordBytes)
		items = append(items, i)
	}
	return view{items, true}
}

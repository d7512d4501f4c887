package jinja

import "slices"

// target reads the names to which values are given: a, or a, b.
func (in *lexer) target() (names []string) {
	bracket := in.take("(")
	for {
		name := in.name()
		if slices.Contains([]string{"true", "false", "none", "True", "False", "None", "loop"}, name) {
			failf("%q cannot be given a value", name)
		}
		names = append(names, name)
		if !in.take(",") {
			break
		}
	}
	if bracket {
		in.need(")")
	}
	return names
}

// give gives a value to names.
func (s *scope) give(names []string, v any) {
	if len(names) == 1 {
		s.vars[names[0]] = v
		return
	}
	items := s.items(v)
	if len(items) != len(names) {
		failf("%d values for %d names", len(items), len(names))
	}
	for i, name := range names {
		s.vars[name] = items[i]
	}
}

func (p *blocks) forBlock(in *lexer, depth int) node {
	names := in.target()
	in.need("in")
	over := in.tuple(in.or, in.ended)
	var only expr
	if in.take("if") {
		only = in.expr()
	}
	in.end() // "recursive" is not known
	body, end := p.until(depth)
	var none []node
	if end == "else" {
		p.last.end()
		none, end = p.until(depth)
	}
	if end != "endfor" {
		failf("a for without its endfor")
	}
	p.last.end()
	return func(s *scope) flow {
		items := s.items(over(s))
		if only != nil {
			var kept []any
			for _, item := range items {
				s.step()
				in := s.inner()
				if in.give(names, item); s.truth(only(in)) {
					kept = append(kept, item)
				}
			}
			items = kept
		}
		if len(items) == 0 {
			return s.inner().run(none)
		}
		l := &loop{items: items}
		for i, item := range items {
			in := s.inner()
			l.i, in.vars["loop"] = i, l
			in.give(names, item)
			if in.run(body) == breakLoop {
				break
			}
		}
		return goOn
	}
}

// loop is the variable of that name.
type loop struct {
	items []any
	i     int
}

func (s *scope) loopField(l *loop, name string) any {
	n := len(l.items)
	switch name {
	case "index":
		return l.i + 1
	case "index0":
		return l.i
	case "revindex":
		return n - l.i
	case "revindex0":
		return n - l.i - 1
	case "first":
		return l.i == 0
	case "last":
		return l.i == n-1
	case "length":
		return n
	case "previtem":
		return at(l.items, l.i-1, "the item before the first")
	case "nextitem":
		return at(l.items, l.i+1, "the item after the last")
	}
	failf("loop.%.40s is not known here", name)
	return nil
}

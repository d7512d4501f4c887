package jinja

import "slices"

// blocks reads the tags of a template.
type blocks struct {
	tags []tag
	last *lexer // of the tag that ended the last block
}

// until reads to the end of a block, and returns its body and the word that ended it, "" at the end of the template.
func (p *blocks) until(depth int) (body []node, end string) {
	if depth > maxNested {
		failf("nested deeper than %d", maxNested)
	}
	for len(p.tags) > 0 {
		t := p.tags[0]
		p.tags = p.tags[1:]
		switch t.kind {
		case 't':
			body = append(body, func(s *scope) flow { s.write(t.text); return goOn })
		case '{':
			in := lex(t.text)
			value := in.tuple(in.expr, func() bool { return len(in.list) == 0 })
			in.end()
			body = append(body, func(s *scope) flow { s.write(s.show(value(s))); return goOn })
		default:
			in := lex(t.text)
			word := in.name()
			read, known := statements[word]
			switch {
			case known:
				body = append(body, read(p, in, depth+1))
			case slices.Contains(ends, word):
				p.last = in
				return body, word
			default:
				failf("%.40q is not known here", word)
			}
		}
	}
	return body, ""
}

// body reads to a word that ends a block of that name.
func (p *blocks) body(name string, depth int) []node {
	body, end := p.until(depth)
	if end != "end"+name {
		failf("a %s without its end%s", name, name)
	}
	if name != "set" && name != "macro" && name != "call" { // which may repeat their names
		p.last.end()
	}
	return body
}

var ends = []string{"elif", "else", "endif", "endfor", "endset", "endmacro", "endcall", "endfilter", "endgeneration"}

// statements are the blocks, by their first word.
var statements map[string]func(p *blocks, in *lexer, depth int) node

func init() { // they read each other
	jump := func(f flow) func(*blocks, *lexer, int) node {
		return func(_ *blocks, in *lexer, _ int) node { in.end(); return func(*scope) flow { return f } }
	}
	statements = map[string]func(p *blocks, in *lexer, depth int) node{
		"if": (*blocks).ifBlock, "for": (*blocks).forBlock, "set": (*blocks).setBlock, "macro": (*blocks).macroBlock,
		"call": (*blocks).callBlock, "filter": (*blocks).filterBlock, "generation": (*blocks).generationBlock,
		"break": jump(breakLoop), "continue": jump(nextInLoop),
	}
}

func (p *blocks) ifBlock(in *lexer, depth int) node {
	type branch struct {
		when expr // nil: always
		body []node
	}
	var branches []branch
	condition := func(in *lexer) expr {
		when := in.expr()
		in.end()
		return when
	}
	when := condition(in)
	for {
		body, end := p.until(depth)
		branches = append(branches, branch{when, body})
		switch {
		case end == "elif" && when != nil:
			when = condition(p.last)
			continue
		case end == "else" && when != nil:
			when = nil
			p.last.end()
			continue
		case end != "endif":
			failf("an if without its endif")
		}
		return func(s *scope) flow {
			for _, b := range branches {
				if b.when == nil || s.truth(b.when(s)) {
					return s.run(b.body)
				}
			}
			return goOn
		}
	}
}

func (p *blocks) setBlock(in *lexer, depth int) node {
	if len(in.list) > 1 && in.list[1].text == "." {
		name := in.name()
		in.next()
		field := in.name()
		in.need("=")
		value := in.tuple(in.expr, in.ended)
		in.end()
		return func(s *scope) flow {
			space, ok := s.look(name).(*namespace)
			if !ok {
				failf("%s is no namespace", name)
			}
			if field[0] == '_' {
				failf("a field of a namespace begins with _")
			}
			space.Set(field, value(s))
			return goOn
		}
	}
	names := in.target()
	if in.take("=") {
		value := in.tuple(in.expr, in.ended)
		in.end()
		return func(s *scope) flow { s.give(names, value(s)); return goOn }
	}
	filter := in.filters()
	body := p.body("set", depth)
	return func(s *scope) flow { s.give(names, filter(s, s.captured(body))); return goOn }
}

// filters reads filters up to the end of a tag.
func (in *lexer) filters() func(*scope, any) any {
	const held = " " // no name of a template
	in.list = append([]lexeme{{'n', held}}, in.list...)
	value := in.unary(true)
	in.end()
	return func(s *scope, v any) any {
		inner := s.inner()
		inner.vars[held] = v
		return value(inner)
	}
}

func (p *blocks) filterBlock(in *lexer, depth int) node {
	in.list = append([]lexeme{{'+', "|"}}, in.list...)
	filter := in.filters()
	body := p.body("filter", depth)
	return func(s *scope) flow { s.write(s.show(filter(s, s.captured(body)))); return goOn }
}

// generationBlock marks what it writes as the model's own.
func (p *blocks) generationBlock(in *lexer, depth int) node {
	in.end()
	body := p.body("generation", depth)
	return func(s *scope) flow {
		if s.out != s.machine.out {
			failf("a generation block inside of a macro or of another block that is kept")
		}
		text := s.captured(body)
		from := s.out.Len()
		s.write(text)
		s.generated = append(s.generated, [2]int{from, from + len(text)})
		return goOn
	}
}

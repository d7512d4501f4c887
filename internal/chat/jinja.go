package chat

import (
	"errors"
	"fmt"
	"strings"
)

// The part of Jinja that templates of conversations use: enough to compare what one writes with what a Format writes.
// Whatever else a template holds is an error. Templates are not trusted: steps, output and nesting are limited, and
// nothing outside of the conversation can be reached.

const (
	maxTemplate = 1 << 18 // bytes
	maxOutput   = 1 << 16 // bytes, also of a string in between
	maxSteps    = 1 << 15
	maxNested   = 100
)

// node is a piece of a template that writes to the output of a scope.
type node func(*scope)

// expr is an expression.
type expr func(*scope) any

// fault is the panic with which parsing and rendering end early.
type fault string

func failf(format string, args ...any) { panic(fault(fmt.Sprintf(format, args...))) }

// rescue turns a fault into an error.
func rescue(err *error) {
	switch p := recover().(type) {
	case nil:
	case fault:
		*err = errors.New(string(p))
	default:
		panic(p)
	}
}

// tag is a run of text, or what stands between {{ and }} or {% and %}.
type tag struct {
	kind byte // 't' for text, '{' or '%'
	text string
}

// cut splits a template into tags, with the white space left out as transformers sets Jinja: trim_blocks,
// lstrip_blocks.
func cut(template string) (tags []tag) {
	text := func(s string) {
		if s != "" {
			tags = append(tags, tag{'t', s})
		}
	}
	const space = " \t\r\n"
	rest, strip, line := template, false, false // of the text that comes: all white space, or one line break
	for {
		at := strings.IndexByte(rest, '{')
		for at >= 0 && (at+1 == len(rest) || strings.IndexByte("{%#", rest[at+1]) < 0) {
			next := strings.IndexByte(rest[at+1:], '{')
			if next < 0 {
				at = -1
			} else {
				at += 1 + next
			}
		}
		before := rest
		if at >= 0 {
			before = rest[:at]
		}
		if strip {
			before = strings.TrimLeft(before, space)
		} else if line {
			before = strings.TrimPrefix(before, "\n")
		}
		if at < 0 {
			text(before)
			return tags
		}
		kind := rest[at+1]
		end := closing(rest[at+2:], kind)
		inner := rest[at+2 : at+2+end]
		rest = rest[at+2+end+2:]
		if left, ok := strings.CutPrefix(inner, "-"); ok {
			before, inner = strings.TrimRight(before, space), left
		} else if left, ok := strings.CutPrefix(inner, "+"); ok {
			inner = left
		} else if kind != '{' {
			if bare := strings.TrimRight(before, " \t"); bare == "" || bare[len(bare)-1] == '\n' {
				before = bare
			}
		}
		text(before)
		inner, strip = strings.CutSuffix(inner, "-")
		line = kind != '{'
		if kind != '#' {
			tags = append(tags, tag{kind, inner})
		}
	}
}

// closing returns where the end of a tag is. Strings may hold what looks like it.
func closing(s string, kind byte) int {
	end := string(kind) + "}"
	if kind == '{' {
		end = "}}"
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case strings.HasPrefix(s[i:], end):
			return i
		case kind != '#' && (c == '\'' || c == '"'):
			for i++; i < len(s) && s[i] != c; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		}
	}
	failf("a tag without its end %s", end)
	return 0
}

// parse reads a template.
func parse(template string) (body []node, err error) {
	defer rescue(&err)
	if len(template) > maxTemplate {
		failf("more than %d bytes", maxTemplate)
	}
	p := &blocks{tags: cut(strings.TrimSuffix(template, "\n"))}
	body, end := p.until(0)
	if end != "" {
		failf("%q without its beginning", end)
	}
	return body, nil
}

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
			body = append(body, func(s *scope) { s.write(t.text) })
		case '{':
			in := lex(t.text)
			value := in.expr()
			in.end()
			body = append(body, func(s *scope) { s.write(show(value(s))) })
		default:
			in := lex(t.text)
			switch word := in.name(); word {
			case "if":
				body = append(body, p.ifBlock(in, depth))
			case "for":
				body = append(body, p.forBlock(in, depth))
			case "set":
				body = append(body, setBlock(in))
			case "generation", "endgeneration": // marks what counts; writes nothing
				in.end()
			case "elif", "else", "endif", "endfor":
				p.last = in
				return body, word
			default:
				failf("%q is not known here", word)
			}
		}
	}
	return body, ""
}

func run(body []node, s *scope) {
	for _, n := range body {
		s.step(nil)
		n(s)
	}
}

func (p *blocks) ifBlock(in *lexer, depth int) node {
	type branch struct {
		when expr
		body []node
	}
	var branches []branch
	when := in.expr()
	in.end()
	for {
		body, end := p.until(depth + 1)
		branches = append(branches, branch{when, body})
		switch {
		case end == "elif" && when != nil:
			when = p.last.expr()
			p.last.end()
			continue
		case end == "else" && when != nil:
			when = nil
			p.last.end()
			continue
		case end != "endif":
			failf("an if without its endif")
		}
		return func(s *scope) {
			for _, b := range branches {
				if b.when == nil || truth(b.when(s)) {
					run(b.body, s)
					return
				}
			}
		}
	}
}

func (p *blocks) forBlock(in *lexer, depth int) node {
	name := in.name()
	in.need("in")
	over := in.or()
	var only expr
	if in.take("if") {
		only = in.expr()
	}
	in.end()
	body, end := p.until(depth + 1)
	if end != "endfor" {
		failf("a for without its endfor")
	}
	return func(s *scope) {
		var items []any
		for _, item := range list(s.step(over(s))) {
			s.step(nil)
			in := s.inner()
			in.vars[name] = item
			if only == nil || truth(only(in)) {
				items = append(items, item)
			}
		}
		for i, item := range items {
			in := s.inner()
			in.vars[name] = item
			in.vars["loop"] = map[string]any{"index": i + 1, "index0": i, "first": i == 0, "last": i+1 == len(items),
				"length": len(items), "previtem": at(items, i-1), "nextitem": at(items, i+1)}
			run(body, in)
		}
	}
}

func setBlock(in *lexer) node {
	name, field := in.name(), ""
	if in.take(".") {
		field = in.name()
	}
	in.need("=")
	value := in.expr()
	in.end()
	return func(s *scope) {
		v := value(s)
		if field == "" {
			s.vars[name] = v
			return
		}
		space, ok := s.look(name).(namespace)
		if !ok {
			failf("%s is no namespace", name)
		}
		space[field] = v
	}
}

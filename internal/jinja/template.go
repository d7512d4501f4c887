package jinja

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxTemplate = 1 << 20 // bytes
	maxWords    = 1 << 12 // of a tag: what follows each other nests when it is computed
	maxNested   = 100     // expressions, blocks, calls of macros, values inside each other
	wordBytes   = 16      // of a value in a list
)

// Limits bound a render. What a template needs above the size of its variables is its own.
type Limits struct {
	Steps int       // of the program, each at most a microsecond
	Bytes int       // of all strings and lists that are made
	Now   time.Time // what strftime_now tells; zero: it is not defined
}

// Output is what a template wrote.
type Output struct {
	Text      string
	Generated [][2]int // bytes of Text inside of {% generation %}, in order
}

// Raised is the message of a template that refuses its variables.
type Raised string

func (r Raised) Error() string { return fmt.Sprintf("it refuses the conversation: %.200s", string(r)) }

// ErrLimit says that a template needs more steps or memory than it may have.
var ErrLimit = errors.New("the template does not come to an end within its limits")

// Template is a parsed template. Safe for concurrent use.
type Template struct{ body []node }

// node is a piece of a template that writes to the output of a scope.
type node func(*scope) flow

// flow is how a node ends.
type flow uint8

const (
	goOn       flow = iota
	breakLoop       // the innermost loop ends
	nextInLoop      // it goes on with the next item
)

// fault is the panic with which parsing and rendering end early.
type fault struct{ error }

func failf(format string, args ...any) { panic(fault{fmt.Errorf(format, args...)}) }

// rescue turns a fault into an error.
func rescue(err *error) {
	switch p := recover().(type) {
	case nil:
	case fault:
		*err = p.error
	default:
		panic(p)
	}
}

// Parse reads a template. Its errors say what is not known or broken.
func Parse(source string) (t *Template, err error) {
	defer rescue(&err)
	if len(source) > maxTemplate {
		failf("more than %d bytes", maxTemplate)
	}
	if !utf8.ValidString(source) {
		failf("not UTF-8")
	}
	source = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)
	p := &blocks{tags: cut(strings.TrimSuffix(source, "\n"))}
	body, end := p.until(0)
	if end != "" {
		failf("%q without its beginning", end)
	}
	return &Template{body}, nil
}

// Render writes a template with variables. The error is a Raised, ErrLimit, the context's, or says what the template
// does that is not known or that jinja2 refuses.
func (t *Template) Render(ctx context.Context, vars map[string]any, limits Limits) (out Output, err error) {
	defer rescue(&err)
	m := &machine{ctx: ctx, limits: limits, out: &strings.Builder{}}
	globals := &scope{vars: m.globals(), machine: m, out: m.out}
	s := globals.inner()
	for name, v := range vars {
		s.vars[name] = v
	}
	s.run(t.body)
	return Output{m.out.String(), m.generated}, nil
}

// machine counts what a render uses.
type machine struct {
	ctx          context.Context
	limits       Limits
	steps, bytes int
	depth        int
	out          *strings.Builder
	generated    [][2]int
}

// step counts a step of the program.
func (m *machine) step() {
	if m.steps++; m.steps > m.limits.Steps {
		panic(fault{fmt.Errorf("%w: more than %d steps", ErrLimit, m.limits.Steps)})
	}
	if m.steps&1023 == 0 && m.ctx.Err() != nil {
		panic(fault{m.ctx.Err()})
	}
}

// made counts bytes that are made, and the steps that it takes to make them.
func (m *machine) made(n int) {
	if m.steps += n / 64; n > m.limits.Bytes-m.bytes {
		panic(fault{fmt.Errorf("%w: more than %d bytes", ErrLimit, m.limits.Bytes)})
	}
	m.bytes += n
	m.step()
}

// joined makes a string.
func (m *machine) joined(parts ...string) string {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	m.made(n)
	return strings.Join(parts, "")
}

// deeper bounds how deep values and calls nest.
func (m *machine) deeper() func() {
	if m.depth++; m.depth > maxNested {
		failf("nested deeper than %d", maxNested)
	}
	return func() { m.depth-- }
}

// scope has the variables of a block, and what it writes to.
type scope struct {
	*machine
	vars  map[string]any
	outer *scope
	out   *strings.Builder
}

func (s *scope) inner() *scope {
	s.steps += 3 // what it costs
	return &scope{s.machine, map[string]any{}, s, s.out}
}

func (s *scope) write(text string) {
	s.made(len(text))
	s.out.WriteString(text)
}

func (s *scope) look(name string) any {
	s.step()
	for at := s; at != nil; at = at.outer {
		if v, ok := at.vars[name]; ok {
			return v
		}
	}
	return undefined(name)
}

func (s *scope) run(body []node) flow {
	for _, n := range body {
		s.step()
		if f := n(s); f != goOn {
			return f
		}
	}
	return goOn
}

// captured returns what a body writes.
func (s *scope) captured(body []node) string {
	in := s.inner()
	in.out = &strings.Builder{}
	if in.run(body) != goOn {
		failf("a loop ends inside of a block that is not in it")
	}
	return in.out.String()
}

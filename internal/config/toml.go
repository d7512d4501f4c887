package config

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// entry is one value of a file, or one fault of its form, with its place.
type entry struct {
	key    string
	value  literal
	line   int
	where  string // "run.toml:12", for faults
	origin string // "file run.toml:12"
	fault  string // found while reading, "" when the value is to be assigned
}

// reader walks a TOML document. The library's own decoder stops at the first value of a wrong type and at the
// first unknown key; its parser gives the positions needed to go on and tell everything.
type reader struct {
	name    string
	data    []byte
	entries []entry
	lines   map[string]int // line of each key and section seen, to name the first of two
}

// parseTOML reads all values of a document and all faults of its form, in the order of the lines. A line that does
// not parse is a fault, and reading goes on after it.
func parseTOML(name string, data []byte) []entry {
	r := &reader{name: name, data: data, lines: make(map[string]int)}
	section := ""
	var p unstable.Parser
	for start := 0; ; {
		p.Reset(data[start:])
		for p.NextExpression() {
			e := p.Expression()
			line := func(n *unstable.Node) int { return r.lineAt(start + int(n.Raw.Offset)) }
			if e.Kind == unstable.KeyValue {
				r.keyValue(section, e, line)
				continue
			}
			var first int
			section, first = dotted(e.Key(), line)
			r.section(section, first, e.Kind == unstable.ArrayTable)
		}
		err := p.Error()
		if err == nil {
			return r.entries
		}
		at := len(data)
		var perr *unstable.ParserError
		if errors.As(err, &perr) {
			at = start + int(p.Range(perr.Highlight).Offset)
		}
		r.fault(r.lineAt(at), "", "not TOML: "+err.Error())
		next := bytes.IndexByte(data[at:], '\n')
		if next < 0 {
			return r.entries
		}
		start = at + next + 1
	}
}

func (r *reader) lineAt(offset int) int { return 1 + bytes.Count(r.data[:offset], []byte("\n")) }

func (r *reader) where(line int) string { return r.name + ":" + strconv.Itoa(line) }

func (r *reader) fault(line int, key, text string) {
	r.entries = append(r.entries, entry{key: key, line: line, where: r.where(line), fault: text})
}

// section meets the heading of a table.
func (r *reader) section(name string, line int, array bool) {
	known := false
	for _, s := range sections {
		known = known || s == name
	}
	switch first, twice := r.lines["["+name+"]"]; {
	case !known:
		text := "unknown section; the sections are " + strings.Join(sections, ", ")
		for _, s := range sections {
			if distance(name, s) <= 2 {
				text = "unknown section; did you mean [" + s + "]?"
			}
		}
		r.fault(line, "["+name+"]", text)
	case array:
		r.fault(line, "[["+name+"]]", "is one section, not a list; write ["+name+"]")
	case twice:
		r.fault(line, "["+name+"]", fmt.Sprintf("section was opened on line %d already", first))
	}
	r.lines["["+name+"]"] = line
}

// keyValue meets a value; an inline table is the values within it.
func (r *reader) keyValue(section string, e *unstable.Node, lineOf func(*unstable.Node) int) {
	name, line := dotted(e.Key(), lineOf)
	if section != "" {
		name = section + "." + name
	}
	v := e.Value()
	if v.Kind == unstable.InlineTable {
		for it := v.Children(); it.Next(); {
			r.keyValue(name, it.Node(), lineOf)
		}
		return
	}
	at := entry{key: name, line: line, where: r.where(line), origin: "file " + r.where(line)}
	if first, twice := r.lines[name]; twice {
		at.fault = fmt.Sprintf("was set on line %d already", first)
	} else {
		r.lines[name] = line
		var err error
		if at.value, err = tomlLiteral(v); err != nil {
			at.fault = err.Error()
		}
	}
	r.entries = append(r.entries, at)
}

// dotted joins the parts of a key and returns its line.
func dotted(it unstable.Iterator, lineOf func(*unstable.Node) int) (name string, line int) {
	var parts []string
	for it.Next() {
		if line == 0 {
			line = lineOf(it.Node())
		}
		parts = append(parts, string(it.Node().Data))
	}
	return strings.Join(parts, "."), line
}

// tomlLiteral copies a value out of the parser.
func tomlLiteral(n *unstable.Node) (literal, error) {
	switch n.Kind {
	case unstable.String:
		return stringLiteral(string(n.Data)), nil
	case unstable.Bool:
		return boolLiteral(string(n.Data) == "true"), nil
	case unstable.Integer:
		i, err := strconv.ParseInt(string(n.Data), 0, 64)
		if err != nil {
			return literal{}, fmt.Errorf("%s is no whole number of 64 bits", n.Data)
		}
		return intLiteral(i), nil
	case unstable.Float:
		f, err := strconv.ParseFloat(strings.ReplaceAll(string(n.Data), "_", ""), 64)
		if err != nil {
			return literal{}, fmt.Errorf("%s is no number of 64 bits", n.Data)
		}
		return floatLiteral(f), nil
	case unstable.Array:
		list := listLiteral()
		for it := n.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			v, err := tomlLiteral(it.Node())
			if err != nil {
				return literal{}, err
			}
			list.list = append(list.list, v)
		}
		return list, nil
	case unstable.InlineTable:
		return literal{kind: "table"}, nil
	}
	return literal{kind: "date or time"}, nil
}

// parseTOMLValue reads one value in TOML's form, from the command line.
func parseTOMLValue(text string) (literal, error) {
	var p unstable.Parser
	p.Reset([]byte("x = " + text))
	if !p.NextExpression() {
		return literal{}, fmt.Errorf("%s is not a TOML value: %w", text, p.Error())
	}
	v, err := tomlLiteral(p.Expression().Value())
	if err == nil && p.NextExpression() || p.Error() != nil {
		return literal{}, fmt.Errorf("%s is more than one value", text)
	}
	return v, err
}

// originMark stands between a value and the comment that tells its origin.
const originMark = "  # "

// TOML returns the configuration as a file that Load and Reread accept: every key, each with its origin behind it.
func (c *Config) TOML() []byte {
	var b bytes.Buffer
	b.WriteString("# Every value of this run and where it came from.\n")
	section := ""
	for _, k := range keys {
		name, short, _ := strings.Cut(k.name, ".")
		if name != section {
			section = name
			fmt.Fprintf(&b, "\n[%s]\n", section)
		}
		// The mark is looked for from the right, so an origin must not hold it.
		origin := strings.Join(strings.Fields(c.origins[k.name]), " ")
		fmt.Fprintf(&b, "%s = %s%s%s\n", short, k.format(c, true), originMark, origin)
	}
	return b.Bytes()
}

package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"gimbal/internal/bom"
)

// entry is one value of a file, or one fault of its form, with its place.
type entry struct {
	key    string
	value  any
	line   int
	where  string // "run.toml:12", for faults
	origin string // "file run.toml:12"
	fault  string // found while reading; "": the value can be assigned
}

// reader walks a TOML document. The library's own decoder stops at the first value of a wrong type and at the first
// unknown key. Its parser gives the positions that are needed to go on and report every fault.
type reader struct {
	name    string
	data    []byte
	start   int // where the parser began in data
	entries []entry
	lines   map[string]int // line of each key and section seen, to name the first of two
}

// parseTOML returns all values of a document and all faults of its form, in the order of the lines. After a line that
// does not parse it goes on with the next.
func parseTOML(name string, data []byte) []entry {
	if encoding, _ := bom.Find(data); encoding != "" && encoding != "utf-8" {
		where := name + ":1"
		return []entry{{line: 1, where: where, fault: "the file is in " + encoding + "; save it as UTF-8"}}
	}
	data = bom.Drop(data)
	r := &reader{name: name, data: data, lines: make(map[string]int)}
	section := ""
	var p unstable.Parser
	for {
		p.Reset(data[r.start:])
		for p.NextExpression() {
			if e := p.Expression(); e.Kind == unstable.KeyValue {
				r.keyValue(section, e)
			} else {
				section = r.section(e)
			}
		}
		err := p.Error()
		if err == nil {
			return r.entries
		}
		at := len(data)
		var perr *unstable.ParserError
		if errors.As(err, &perr) {
			at = r.start + int(p.Range(perr.Highlight).Offset)
		}
		r.fault(r.lineAt(at), "", "not TOML: "+err.Error())
		next := bytes.IndexByte(data[at:], '\n')
		if next < 0 {
			return r.entries
		}
		r.start = at + next + 1
	}
}

func (r *reader) lineAt(offset int) int { return 1 + bytes.Count(r.data[:offset], []byte("\n")) }

func (r *reader) where(line int) string { return r.name + ":" + strconv.Itoa(line) }

func (r *reader) fault(line int, key, text string) {
	r.entries = append(r.entries, entry{key: key, line: line, where: r.where(line), fault: text})
}

// section reads the heading of a table and returns its name.
func (r *reader) section(e *unstable.Node) (name string) {
	name, line := r.dotted(e.Key())
	heading := "[" + name + "]"
	switch first, twice := r.lines[heading]; {
	case !slices.Contains(sections, name):
		text := "unknown section; the sections are " + strings.Join(sections, ", ")
		if near := closest(name, sections); near != "" {
			text = "unknown section; did you mean [" + near + "]?"
		}
		r.fault(line, heading, text)
	case e.Kind == unstable.ArrayTable:
		r.fault(line, "["+heading+"]", "is one section, not a list; write "+heading)
	case twice:
		r.fault(line, heading, fmt.Sprintf("the section already begins on line %d", first))
	}
	r.lines[heading] = line
	return name
}

// keyValue reads a value, or the values of an inline table.
func (r *reader) keyValue(section string, e *unstable.Node) {
	name, line := r.dotted(e.Key())
	if section != "" {
		name = section + "." + name
	}
	v := e.Value()
	if v.Kind == unstable.InlineTable && name != fieldsKey {
		for it := v.Children(); it.Next(); {
			r.keyValue(name, it.Node())
		}
		return
	}
	at := entry{key: name, line: line, where: r.where(line), origin: "file " + r.where(line)}
	if first, twice := r.lines[name]; twice {
		at.fault = fmt.Sprintf("is already set on line %d", first)
	} else {
		r.lines[name] = line
		var err error
		if at.value, err = tomlValue(v); err != nil {
			at.fault = err.Error()
		}
		if v.Kind == unstable.InlineTable {
			at.value = pairs(v)
		}
	}
	r.entries = append(r.entries, at)
}

// fieldsKey may be given as a table of pairs.
const fieldsKey = "data.fields"

// pairs returns {a = "b"} as the list ["a=b"].
func pairs(table *unstable.Node) any {
	var list []any
	for it := table.Children(); it.Next(); {
		var parts []string
		for key := it.Node().Key(); key.Next(); {
			parts = append(parts, string(key.Node().Data))
		}
		v := it.Node().Value()
		if v.Kind != unstable.String {
			return otherKind("table of other values than strings")
		}
		list = append(list, strings.Join(parts, ".")+"="+string(v.Data))
	}
	return list
}

// dotted joins the parts of a key and returns the line of the first.
func (r *reader) dotted(it unstable.Iterator) (name string, line int) {
	var parts []string
	for it.Next() {
		if line == 0 {
			line = r.lineAt(r.start + int(it.Node().Raw.Offset))
		}
		parts = append(parts, string(it.Node().Data))
	}
	return strings.Join(parts, "."), line
}

// tomlValue copies a value out of the parser.
func tomlValue(n *unstable.Node) (any, error) {
	switch n.Kind {
	case unstable.String:
		return string(n.Data), nil
	case unstable.Bool:
		return string(n.Data) == "true", nil
	case unstable.Integer:
		i, err := strconv.ParseInt(string(n.Data), 0, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is not a whole number of 64 bits", n.Data)
		}
		return i, nil
	case unstable.Float:
		f, err := strconv.ParseFloat(strings.ReplaceAll(string(n.Data), "_", ""), 64)
		if err != nil {
			return nil, fmt.Errorf("%s is not a number of 64 bits", n.Data)
		}
		return f, nil
	case unstable.Array:
		var list []any
		for it := n.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			v, err := tomlValue(it.Node())
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case unstable.InlineTable:
		return otherKind("table"), nil
	}
	return otherKind("date or time"), nil
}

// parseTOMLValue reads one value in TOML's form, from the command line.
func parseTOMLValue(text string) (any, error) {
	var p unstable.Parser
	p.Reset([]byte("x = " + text))
	if !p.NextExpression() {
		return nil, fmt.Errorf("%s is not a TOML value: %w", text, p.Error())
	}
	v, err := tomlValue(p.Expression().Value())
	if err == nil && p.NextExpression() || p.Error() != nil {
		return nil, fmt.Errorf("%s is more than one value", text)
	}
	return v, err
}

// originMark stands between a value and the comment with its origin.
const originMark = "  # "

// TOML returns the configuration as a file for Load and Reread: every key with its value and its origin.
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
		// Reread looks for the mark from the right, so an origin must not hold it.
		origin := strings.Join(strings.Fields(c.origins[k.name]), " ")
		fmt.Fprintf(&b, "%s = %s%s%s\n", short, k.format(c, true), originMark, origin)
	}
	return b.Bytes()
}

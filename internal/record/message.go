package record

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"gimbal/internal/chat"
	"gimbal/internal/strictjson"
)

// aliases are the names that ShareGPT has for roles.
var aliases = map[string]string{"human": chat.User, "gpt": chat.Assistant}

// messages appends to p.chat the messages of an array, or, if a role is given, of a string that is one message. The
// texts are still escaped.
func (p *Parser) messages(name string, from part, role string, learn bool) error {
	r := &p.value
	r.Reset(from.json, strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
	switch kind := r.Kind(); {
	case kind == '"' && role != "":
		p.chat = append(p.chat, chat.Message{Role: role, Text: r.Value(), Learn: learn && role == chat.Assistant})
	case kind == '[' && role != "system":
		r.Array(func(int) { p.chat = append(p.chat, p.message(r, from.json, learn)) })
	case role == "system":
		fail(r, 0, "%q is not a string", name)
	case role != "":
		fail(r, 0, "%q is neither a string nor an array of messages", name)
	default:
		fail(r, 0, "%q is not an array of messages", name)
	}
	if err := r.End(); err != nil {
		return lineFault(err, from.at)
	}
	return nil
}

// message reads {"role": …, "content": …}, or ShareGPT's {"from": …, "value": …}. The text is still escaped.
func (p *Parser) message(r *strictjson.Reader, json []byte, learn bool) (m chat.Message) {
	start := r.At()
	if r.Kind() != '{' {
		fail(r, start, "a message is not an object")
	}
	off, on, more, null := false, "", false, int64(-1)
	r.Object(func(key []byte) {
		at, kind := r.At(), r.Kind()
		switch string(key) {
		case "role", "from":
			if m.Role != "" {
				fail(r, r.KeyAt(), "a second %q", key)
			}
			said := ""
			if kind == '"' {
				said = r.Text()
			}
			if m.Role = roleOf(said); m.Role == "" {
				what := fmt.Sprintf("%q is none of %s", key, strings.Join(chat.Roles, ", "))
				if said != "" {
					what += fmt.Sprintf(": it is %q", CutName(said))
				}
				fail(r, at, "%s", what)
			}
		case "content", "value":
			if m.Text != nil {
				fail(r, r.KeyAt(), "a second %q", key)
			}
			switch kind {
			case '"':
				m.Text = r.Value()
			case '[':
				m.Text = p.contentParts(r)
			case 'n':
				if p.shown == nil {
					fail(r, at, "%q is not a string", key)
				}
				null = at
				r.Value()
			default:
				fail(r, at, "%q is not a string", key)
			}
		case "tool_calls", "function_call", "reasoning_content", "reasoning", "thinking":
			name := string(key)
			if v := r.Value(); len(v) > 0 && !isEmpty(v) {
				if more = true; !p.shows(name) {
					fail(r, at, "%q is not supported: the assistant's words in it would be lost", name)
				}
			}
		case "weight", "train", "training", "label", "loss":
			name := string(key)
			v := r.Value()
			says, known := counts(name, v)
			switch {
			case string(v) == "null" || r.Failed():
			case known && says:
				on = name
			case known:
				off = true
			case name == "label":
				p.ignore(name)
			default:
				fail(r, at, "%s", whyCounts(name, v))
			}
		default:
			name := string(key)
			if v := r.Value(); string(v) == "null" {
			} else if p.shows(name) {
				more = true
			} else {
				p.ignore(name)
			}
		}
	})
	if more && m.Text == nil && !r.Failed() { // a call of tools
		m.Text = []byte(`""`)
	}
	if more && !r.Failed() { // texts are unescaped in place later
		m.More = bytes.Clone(bytes.TrimRight(json[start:r.At()], " \t\r\n,"))
	}
	if m.Role != "" && m.Text == nil && null >= 0 {
		fail(r, null, "a message says nothing: its content is null")
	}
	if (m.Role == "" || m.Text == nil) && !r.Failed() {
		r.Fail(&Error{Byte: start, What: `a message without "role" or "content"`,
			Advice: "its keys are " + quoteNames(keysOf(json[start:]))})
	}
	if on != "" && m.Role != chat.Assistant && learn {
		p.ignore(on + " of " + m.Role)
	}
	m.Learn = learn && m.Role == chat.Assistant && !off
	return m
}

// roleOf is the role of a name; "" if it is none.
func roleOf(name string) string {
	if alias := aliases[name]; alias != "" {
		return alias
	}
	if k := slices.Index(chat.Roles, name); k >= 0 {
		return chat.Roles[k]
	}
	return ""
}

// contentParts reads [{"type": "text", "text": …}, …] as one string.
func (p *Parser) contentParts(r *strictjson.Reader) []byte {
	texts := [][]byte{[]byte(`""`)}
	r.Array(func(int) {
		at := r.At()
		if r.Kind() != '{' {
			fail(r, at, "a part of a message is not an object")
		}
		var text []byte
		r.Object(func(key []byte) {
			at, name := r.At(), string(key)
			kind := r.Kind()
			v := r.Value()
			switch {
			case string(v) == "null":
			case name == "type" && string(v) != `"text"` && !r.Failed():
				fail(r, at, "a part of type %.40s: only text is read", v)
			case name == "text" && kind == '"' && text == nil:
				text = v
			case name == "text":
				fail(r, at, `"text" of a part is not one string`)
			case name != "type":
				p.ignore(name + " of a part")
			}
		})
		if text == nil {
			fail(r, at, `a part without "text"`)
			return
		}
		texts = append(texts, text)
	})
	if r.Failed() {
		return nil
	}
	return joinQuoted(texts...)
}

// ignore notes a key of a message that is not used.
func (p *Parser) ignore(name string) { p.Ignored = append(p.Ignored, name) }

package record

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gimbal/internal/chat"
	"gimbal/internal/strictjson"
)

// aliases are the names that ShareGPT has for roles.
var aliases = map[string]string{"human": chat.User, "gpt": chat.Assistant}

// conversation reads the messages of a record into p.chat.
func (p *Parser) conversation(shape Fields, start int64) (err error) {
	if err := p.begin(shape); err != nil {
		return err
	}
	learn, err := p.whole()
	if err != nil {
		return err
	}
	systems := len(p.chat)
	if shape.Messages != "" {
		err = p.messages(shape.Messages, inner(p.get(shape.Messages)), "", learn)
	} else {
		err = p.pair(shape, learn)
	}
	if err == nil {
		err = oneSystem(p.chat, systems, start)
	}
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(p.chat, func(m chat.Message) bool { return m.Role == chat.Assistant }) {
		return &Error{Byte: start, What: "a conversation without an answer of the assistant"}
	}
	if !slices.ContainsFunc(p.chat, func(m chat.Message) bool { return m.Learn }) {
		return ErrUncounted
	}
	unescapeAll(p.chat)
	return nil
}

// unescapeAll unescapes the texts of messages in place.
func unescapeAll(messages []chat.Message) {
	for i, m := range messages {
		messages[i].Text = unescape(m.Text)
	}
}

// begin begins p.chat with the message of the system, and refuses keys that would be lost.
func (p *Parser) begin(shape Fields) error {
	p.keep()
	for _, key := range lostKeys {
		if v := p.get(key); v.json != nil && !isEmpty(v.json) && key != shape.Prompt && key != shape.Completion &&
			!(p.shows(key) && slices.Contains(shownKeys, key)) {
			return &Error{Byte: v.at, What: fmt.Sprintf("%q is not supported: it would be lost", key),
				Advice: "remove the key if nothing that is learned depends on it"}
		}
	}
	systems := systemKeys
	if shape.System != "" {
		systems = []string{shape.System}
	}
	for _, key := range systems {
		if v := p.get(key); v.json != nil && !isEmpty(v.json) {
			if err := p.messages(key, v, "system", false); err != nil {
				return err
			}
		}
	}
	return nil
}

// oneSystem refuses a second message of the system, where the first messages are those of the record.
func oneSystem(messages []chat.Message, first int, start int64) error {
	isSystem := func(m chat.Message) bool { return m.Role == "system" }
	if first > 1 || first > 0 && slices.ContainsFunc(messages[first:], isSystem) {
		return &Error{Byte: start, What: "more than one message of the system"}
	}
	return nil
}

// shows reports whether the template has a place for a key.
func (p *Parser) shows(key string) bool { return p.shown != nil && p.shown(key) }

// keep keeps what the template shows of the whole record.
func (p *Parser) keep() {
	if p.shown == nil {
		return
	}
	for _, key := range shownKeys {
		v := p.get(key)
		if in := inner(v); isJSON(in.json) { // else a string that only begins like a list
			v = in
		}
		if v.json == nil || isEmpty(v.json) || key != "chat_template_kwargs" && !p.shown(key) {
			continue
		}
		if p.More = append(p.More, ','); len(p.More) == 1 {
			p.More[0] = '{'
		}
		p.More = append(append(strictjson.AppendQuote(p.More, key), ':'), v.json...)
	}
	if p.More != nil {
		p.More = append(p.More, '}')
	}
}

func isJSON(text []byte) bool {
	r := strictjson.New(text, strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
	r.Value()
	return r.End() == nil
}

// inner returns the JSON that a string spells, as tables have it, or the value as it is.
func inner(v part) part {
	if len(v.json) > 0 && v.json[0] == '"' {
		if json := bytes.TrimSpace(unescape(bytes.Clone(v.json))); len(json) > 0 && json[0] == '[' {
			return part{json: json, at: v.at}
		}
	}
	return v
}

// pair reads a prompt, with what it is about, and its completion.
func (p *Parser) pair(shape Fields, learn bool) error {
	if err := p.messages(shape.Prompt, p.get(shape.Prompt), chat.User, false); err != nil {
		return err
	}
	if input := p.get(shape.Input); input.json != nil && !isEmpty(input.json) {
		last := len(p.chat) - 1
		if input.json[0] != '"' {
			return &Error{Byte: input.at, What: fmt.Sprintf("%q is not a string", shape.Input)}
		}
		if last < 0 || p.chat[last].Role != chat.User {
			return &Error{Byte: input.at, What: fmt.Sprintf("%q follows no message of the user", shape.Input)}
		}
		p.chat[last].Text = joinQuoted(p.chat[last].Text, []byte(`"\n"`), input.json)
	}
	return p.messages(shape.Completion, p.get(shape.Completion), chat.Assistant, learn)
}

// joinQuoted joins JSON strings to one.
func joinQuoted(texts ...[]byte) []byte {
	out := []byte{'"'}
	for _, s := range texts {
		out = append(out, s[1:len(s)-1]...)
	}
	return append(out, '"')
}

// isEmpty reports whether a JSON value says nothing.
func isEmpty(json []byte) bool {
	return slices.Contains([]string{"null", `""`, "[]", "{}", "false"}, string(json))
}

// whole reports whether a record lets its conversation count.
func (p *Parser) whole() (learn bool, err error) {
	learn = true
	for _, key := range wholeKeys {
		v := p.get(key)
		if v.json == nil {
			continue
		}
		says, known := counts(key, v.json)
		if !known && key != "label" { // which may be a class
			return false, &Error{Byte: v.at, What: whyCounts(key, v.json)}
		}
		learn = learn && (says || !known)
	}
	return learn, nil
}

// counts reads a value that says whether something counts in the loss.
func counts(key string, json []byte) (says, known bool) {
	switch string(json) {
	case "true", "false":
		return json[0] == 't', true
	}
	if key == "label" {
		return false, false
	}
	f, err := strconv.ParseFloat(string(json), 64)
	return f == 1, err == nil && (f == 0 || f == 1)
}

// whyCounts says that a value is neither yes nor no.
func whyCounts(key string, json []byte) string {
	return fmt.Sprintf("%q is %.40s: only 0 and 1, or true and false, are supported", key, json)
}

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

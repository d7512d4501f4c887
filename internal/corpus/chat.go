package corpus

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"

	"gimbal/internal/chat"
	"gimbal/internal/strictjson"
)

// messages reads an array of messages, or, where a role is given, a string that is one of that role, and appends them
// to p.chat.
func (p *lineParser) messages(name string, from part, role string, learn bool) error {
	r := &p.value
	r.Reset(from.json, strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
	first := len(p.chat)
	switch kind := r.Kind(); {
	case kind == '"' && role != "":
		p.chat = append(p.chat, chat.Message{Role: role, Text: r.Value(), Learn: learn && role == chat.Assistant})
	case kind == '[':
		r.Array(func(int) { p.chat = append(p.chat, message(r, learn)) })
	case role != "":
		fail(r, 0, "%q is neither a string nor an array of messages", name)
	default:
		fail(r, 0, "%q is not an array of messages", name)
	}
	if err := r.End(); err != nil {
		return lineFault(err, from.at)
	}
	for i, m := range p.chat[first:] {
		p.chat[first+i].Text = unescape(m.Text)
	}
	return nil
}

// message reads {"role": …, "content": …}. Its text is as it is written.
func message(r *strictjson.Reader, learn bool) (m chat.Message) {
	start := r.At()
	if r.Kind() != '{' {
		fail(r, start, "a message is not an object")
	}
	r.Object(func(key []byte) {
		at, kind := r.At(), r.Kind()
		switch string(key) {
		case "role":
			if m.Role != "" {
				fail(r, r.KeyAt(), `a second "role"`)
			}
			k := -1
			if kind == '"' {
				k = slices.Index(chat.Roles, r.Text())
			}
			if k < 0 {
				fail(r, at, `"role" is none of %s`, strings.Join(chat.Roles, ", "))
				return
			}
			m.Role = chat.Roles[k]
		case "content":
			if m.Text != nil {
				fail(r, r.KeyAt(), `a second "content"`)
			}
			if kind != '"' {
				fail(r, at, `"content" is not a string`)
			}
			m.Text = r.Value()
		case "tool_calls", "function_call":
			if v := string(r.Value()); v != "null" && v != "[]" && v != "{}" {
				fail(r, at, "%q are not read: they are words of the assistant that would be lost", key)
			}
		default:
			r.Value()
		}
	})
	if m.Role == "" || m.Text == nil {
		fail(r, start, `a message without "role" or "content"`)
	}
	m.Learn = learn && m.Role == chat.Assistant
	return m
}

// beginsWithChat reports whether the first line with something in it holds a conversation. A line that is broken does
// not: whoever reads the documents will say so.
func beginsWithChat(br *bufio.Reader) (bool, error) {
	var line []byte
	for {
		raw, size, err := readLine(br, line[:0])
		if err != nil && err != io.EOF || size == 0 {
			if err == io.EOF {
				err = nil
			}
			return false, err
		}
		line = raw
		raw = bytes.TrimPrefix(raw, []byte("\xEF\xBB\xBF"))
		if len(bytes.TrimLeft(raw, " \t\r\n")) == 0 {
			continue
		}
		var p lineParser
		_, chat, err := p.parse(raw)
		return err == nil && chat != nil, nil
	}
}

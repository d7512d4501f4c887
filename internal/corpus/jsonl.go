package corpus

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"gimbal/internal/bom"
	"gimbal/internal/chat"
	"gimbal/internal/strictjson"
)

const maxLine = 64 << 20

// lineParser reads lines of JSONL and reuses its memory for each.
type lineParser struct {
	line, value strictjson.Reader // of the line, and of one value in it
	chat        []chat.Message
}

// part is a value of a line.
type part struct {
	json []byte // nil if it is absent
	at   int64  // byte of the line at which it begins
}

var lineKeys = [4]string{"text", "messages", "prompt", "completion"}

// parse returns the text of the JSON object in line, or the conversation in its "messages" or its "prompt" and
// "completion". It unescapes in place: the results overwrite line, alias it, and hold until the next call.
//
// Bytes that are not UTF-8 are kept as they are. A lone surrogate escape becomes its three bytes, which count as
// invalid UTF-8. Only the keys that are read may not come twice. Errors are *Error with Byte counted from 0.
func (p *lineParser) parse(line []byte) (text []byte, turns []chat.Message, err error) {
	r := &p.line
	r.Reset(line, strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
	start := r.At()
	if start == int64(len(line)) || line[start] != '{' {
		return nil, nil, &Error{Byte: start, What: "not a JSON object"}
	}
	var parts [4]part // in the order of lineKeys
	r.Object(func(key []byte) {
		at := r.At()
		k := slices.Index(lineKeys[:], string(key))
		if k >= 0 && parts[k].json != nil {
			fail(r, r.KeyAt(), "a second %q", key)
		}
		if json := r.Value(); k >= 0 {
			parts[k] = part{json, at}
		}
	})
	if err := r.End(); err != nil {
		return nil, nil, lineFault(err, 0)
	}
	isText, isChat, isPair := parts[0].json != nil, parts[1].json != nil, parts[2].json != nil && parts[3].json != nil
	p.chat = p.chat[:0]
	switch {
	case isText && isChat, isText && isPair, isChat && isPair:
		return nil, nil, &Error{Byte: start,
			What: `more than one of "text", "messages", and "prompt" with "completion"`}
	case isText:
		if parts[0].json[0] != '"' {
			return nil, nil, &Error{Byte: parts[0].at, What: `"text" is not a string`}
		}
		return unescape(parts[0].json), nil, nil
	case isChat:
		err = p.messages("messages", parts[1], "", true)
	case isPair:
		if err = p.messages("prompt", parts[2], chat.User, false); err == nil {
			err = p.messages("completion", parts[3], chat.Assistant, true)
		}
	default:
		return nil, nil, &Error{Byte: start, What: `no "text", "messages", or "prompt" with "completion"`}
	}
	if err != nil {
		return nil, nil, err
	}
	if !slices.ContainsFunc(p.chat, func(m chat.Message) bool { return m.Learn }) {
		return nil, nil, &Error{Byte: start, What: "a conversation without an answer of the assistant"}
	}
	return nil, p.chat, nil
}

// fail stops the reading of r with an *Error at a byte of what it reads.
func fail(r *strictjson.Reader, at int64, format string, args ...any) {
	r.Fail(&Error{Byte: at, What: fmt.Sprintf(format, args...)})
}

// lineFault turns the fault of a value that begins at byte from of a line into a fault of the line.
func lineFault(err error, from int64) error {
	if syntax, ok := err.(*strictjson.Error); ok {
		return &Error{Byte: from + syntax.Byte, What: "broken JSON: " + syntax.What}
	}
	fault := err.(*Error) // of fail; there are no others
	fault.Byte += from
	return fault
}

// unescape returns what a JSON string spells, and overwrites the string, which is never shorter. The JSON library
// replaces bytes that are not UTF-8 with U+FFFD; here they stay.
func unescape(quoted []byte) []byte {
	rest := quoted[1 : len(quoted)-1]
	out := rest[:0]
	for {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			return append(out, rest...)
		}
		out = append(out, rest[:i]...)
		c := rest[i+1]
		if rest = rest[i+2:]; c != 'u' {
			out = append(out, "\"\\/\b\f\n\r\t"[strings.IndexByte(`"\/bfnrt`, c)])
			continue
		}
		r := hex4(rest)
		if rest = rest[4:]; !utf16.IsSurrogate(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		pair := rune(utf8.RuneError)
		if bytes.HasPrefix(rest, []byte(`\u`)) {
			pair = utf16.DecodeRune(r, hex4(rest[2:]))
		}
		if pair != utf8.RuneError {
			out = utf8.AppendRune(out, pair)
			rest = rest[6:]
		} else {
			out = append(out, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
		}
	}
}

// hex4 reads the four digits after \u.
func hex4(digits []byte) rune {
	code, _ := strconv.ParseUint(string(digits[:4]), 16, 16) // the JSON was checked
	return rune(code)
}

// messages appends to p.chat the messages of an array, or, if a role is given, of a string that is one message.
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

// message reads {"role": …, "content": …}. The text is still escaped.
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
				fail(r, at, "%q is not supported: the assistant's words in it would be lost", key)
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

// beginsWithChat reports whether the first line that is not blank holds a conversation. A broken line does not; it is
// reported when the documents are read.
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
		raw = bom.Drop(raw)
		if len(bytes.TrimLeft(raw, " \t\r\n")) == 0 {
			continue
		}
		var p lineParser
		_, chat, err := p.parse(raw)
		return err == nil && chat != nil, nil
	}
}

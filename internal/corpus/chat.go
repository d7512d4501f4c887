package corpus

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"gimbal/internal/chat"
)

// What a conversation is made of is package chat's. It is read here, where lines of JSONL are.
type Message = chat.Message

const (
	User      = chat.User
	Assistant = chat.Assistant
)

var Roles = chat.Roles

// messages reads an array of messages that begins here and appends them to dst.
func (s *scanner) messages(name string, dst []Message, learn bool) []Message {
	if s.peek() != '[' {
		s.fail(fmt.Sprintf("%q is not an array of messages", name))
	}
	s.i++
	for {
		if s.space(); s.peek() == ']' { // also behind a comma, which the first pass has refused
			break
		}
		dst = append(dst, s.message(learn))
		if s.space(); s.peek() != ',' {
			break
		}
		s.i++
	}
	s.expect(']')
	return dst
}

// message reads {"role": …, "content": …}.
func (s *scanner) message(learn bool) (m Message) {
	start := s.i
	if s.peek() != '{' {
		s.fail("a message is not an object")
	}
	var role, content bool
	s.object(2, func(key []byte, at int) {
		switch string(key) {
		case "role":
			if role {
				s.i = at
				s.fail("a second \"role\"")
			}
			role = true
			m.Role = s.role()
		case "content":
			if content {
				s.i = at
				s.fail("a second \"content\"")
			}
			if content = true; s.peek() != '"' {
				s.fail("\"content\" is not a string")
			}
			m.Text = s.string()
		case "tool_calls", "function_call":
			begin := s.i
			s.value(3)
			if v := string(s.b[begin:s.i]); v != "null" && v != "[]" && v != "{}" {
				s.i = begin
				s.fail(fmt.Sprintf("%q are not read: they are words of the assistant that would be lost", key))
			}
		default:
			s.value(3)
		}
	})
	if !role || !content {
		s.i = start
		s.fail("a message without \"role\" or \"content\"")
	}
	m.Learn = learn && m.Role == Assistant
	return m
}

func (s *scanner) role() string {
	begin := s.i
	if s.peek() == '"' {
		if k := slices.Index(Roles, string(s.string())); k >= 0 {
			return Roles[k]
		}
	}
	s.i = begin
	s.fail("\"role\" is none of " + strings.Join(Roles, ", "))
	return ""
}

// turn reads a string that is one message of role, or an array of messages.
func (s *scanner) turn(name, role string, dst []Message, learn bool) []Message {
	if s.peek() == '[' {
		return s.messages(name, dst, learn)
	}
	if s.peek() != '"' {
		s.fail(fmt.Sprintf("%q is neither a string nor an array of messages", name))
	}
	return append(dst, Message{Role: role, Text: s.string(), Learn: learn && role == Assistant})
}

// beginsWithChat reports whether the first line with something in it holds a conversation. A line that is broken does not:
// whoever reads the documents will say so.
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

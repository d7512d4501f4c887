package record

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"gimbal/internal/chat"
	"gimbal/internal/strictjson"
)

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

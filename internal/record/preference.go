package record

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"gimbal/internal/chat"
	"gimbal/internal/strictjson"
)

// preference reads two answers to the same prompt, of which one is preferred: the preferred conversation into p.chat,
// the other into p.Rejected. What both begin with is the prompt, and only the assistant's words behind it count.
//
// An answer is a string, or messages of the assistant behind the prompt, or a whole conversation, in which the prompt
// is written again.
func (p *Parser) preference(shape Fields, start int64) error {
	if err := p.begin(shape); err != nil {
		return err
	}
	system := len(p.chat)
	keys := []string{shape.Prompt}
	if shape == pairShape {
		keys = promptKeys
	}
	for _, key := range keys {
		if v := p.get(key); v.json != nil && !isEmpty(v.json) {
			if err := p.messages(key, spelled(v), chat.User, false); err != nil {
				return err
			}
			break
		}
	}
	unescapeAll(p.chat)
	head := slices.Clone(p.chat)
	chosen, err := p.answer(shape.Chosen, head, system, start)
	if err != nil {
		return err
	}
	if p.Rejected, err = p.answer(shape.Rejected, head, system, start); err != nil {
		return err
	}
	p.chat, p.Shared = chosen, 0
	for p.Shared < min(len(chosen), len(p.Rejected)) && same(chosen[p.Shared], p.Rejected[p.Shared]) {
		p.Shared++
	}
	if p.Shared == len(chosen) && p.Shared == len(p.Rejected) {
		return ErrSame
	}
	for i, side := range [][]chat.Message{chosen, p.Rejected} {
		key := []string{shape.Chosen, shape.Rejected}[i]
		switch {
		case p.Shared == 0:
			return &Error{Byte: start, What: "chosen and rejected have no prompt in common"}
		case p.Shared == len(side):
			return &Error{Byte: p.get(key).at, What: fmt.Sprintf("%q has no answer of its own", key)}
		case side[p.Shared].Role != chat.Assistant:
			return &Error{Byte: p.get(key).at, What: "chosen and rejected do not answer the same prompt"}
		}
		for k := range side {
			side[k].Learn = k >= p.Shared && side[k].Role == chat.Assistant
		}
	}
	return nil
}

// answer reads one side of a preference, behind the messages of head, of which the first are the system's.
func (p *Parser) answer(key string, head []chat.Message, system int, start int64) ([]chat.Message, error) {
	p.chat = nil
	v := spelled(p.get(key))
	if err := p.messages(key, v, chat.Assistant, true); err != nil {
		return nil, err
	}
	unescapeAll(p.chat)
	own := p.chat
	whole := len(own) > 0 && own[0].Role != chat.Assistant
	switch {
	case len(own) == 0:
		return nil, &Error{Byte: v.at, What: fmt.Sprintf("%q has no message", key)}
	case !whole && len(head) == system:
		e := &Error{Byte: v.at, What: "a preference without a prompt"}
		if bytes.HasPrefix(bytes.TrimSpace(own[0].Text), []byte("Human:")) {
			e.Advice = `write the turns "Human:" and "Assistant:" as messages with role and content`
		}
		return nil, e
	case whole:
		for _, m := range head[system:] {
			if !slices.ContainsFunc(own, func(o chat.Message) bool {
				return strings.TrimSpace(string(o.Text)) == strings.TrimSpace(string(m.Text))
			}) {
				return nil, &Error{Byte: v.at, What: fmt.Sprintf("%q is a conversation that does not have the prompt",
					key)}
			}
		}
		head = head[:system]
	}
	side := append(slices.Clone(head), own...)
	return side, oneSystem(side, system, start)
}

// spelled returns the messages that a string spells, as tables have them, or the value as it is: what people write may
// begin with a bracket, too.
func spelled(v part) part {
	in, messages := inner(v), false
	r := strictjson.New(in.json, strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
	r.Array(func(int) {
		if r.Kind() != '{' {
			r.Value()
			return
		}
		r.Object(func(key []byte) {
			messages = messages || string(key) == "role" || string(key) == "from"
			r.Value()
		})
	})
	if r.End() != nil || !messages {
		return v
	}
	return in
}

// same reports whether two messages say the same.
func same(a, b chat.Message) bool {
	return a.Role == b.Role && bytes.Equal(a.Text, b.Text) && bytes.Equal(a.More, b.More)
}

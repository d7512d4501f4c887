package chat

import (
	"fmt"
	"slices"
	"strings"

	"gimbal/internal/jinja"
)

// spans writes a conversation and says which bytes of it count.
func (t *Template) spans(c *Conversation, v *view) (text string, spans [][2]int, err error) {
	out, err := t.run(v, len(v.messages), false)
	if err != nil {
		return "", nil, err
	}
	text, c.Left, c.Lost = out.Text, 0, t.lost(c, v, out.Text, false)
	if out.Generated != nil {
		spans, err = t.generated(c, out)
		return text, spans, err
	}
	last := -1
	for i, m := range c.Messages {
		if m.Learn {
			last = i
		}
	}
	for i, m := range c.Messages {
		if !m.Learn {
			continue
		}
		if span, ok := t.answer(v, text, i, i == last); ok {
			spans = append(spans, span)
		} else {
			c.Left++
		}
	}
	return text, spans, nil
}

// generated are the blocks of the answers that are to be learned. A special token that ends an answer counts with it.
func (t *Template) generated(c *Conversation, out jinja.Output) (spans [][2]int, err error) {
	var learn []bool
	for _, m := range c.Messages {
		if m.Role == Assistant {
			learn = append(learn, m.Learn)
		}
	}
	all := !slices.Contains(learn, false)
	if !all && len(learn) != len(out.Generated) {
		return nil, fmt.Errorf("the template has %d generation blocks for %d answers, so that those that shall "+
			"not count cannot be told", len(out.Generated), len(learn))
	}
	for i, span := range out.Generated {
		if !all && !learn[i] {
			continue
		}
		if begin, end, s := t.specials.find(out.Text, span[1]); s != nil && begin == span[1] &&
			slices.Contains(t.ends, s.ID) {
			span[1] = end
		}
		spans = append(spans, span)
	}
	return spans, nil
}

// answer finds message i in a text: it begins where the text that asks for it ends, and it ends with the special token
// that is written behind it when it is the last one. ok is false if it is not written there as it was written then.
func (t *Template) answer(v *view, text string, i int, last bool) (span [2]int, ok bool) {
	from := 0
	if ask, err := t.run(v, i, true); err == nil && strings.HasPrefix(text, ask.Text) {
		from = len(ask.Text)
	} else if from = t.begins(v, text, i); !last || from == 0 {
		return span, false
	}
	whole := text
	if i+1 < len(v.messages) {
		out, err := t.run(v, i+1, false)
		if err != nil || len(out.Text) < from {
			return span, false
		}
		whole = out.Text
	}
	whole = whole[:max(from, len(strings.TrimSuffix(whole, t.extra)))]
	to := len(whole)
	for _, end, s := t.specials.find(whole, from); s != nil; _, end, s = t.specials.find(whole, end) {
		if slices.Contains(t.ends, s.ID) || strings.TrimSpace(whole[end:]) == "" {
			to = end
		}
	}
	if to > len(text) || text[from:to] != whole[from:to] || from == to {
		return span, false
	}
	return [2]int{from, to}, true
}

// begins returns where message i begins in a text: where another message would make a difference. 0: nowhere.
func (t *Template) begins(v *view, text string, i int) int {
	out, err := t.marked(v, i, Message{Role: Assistant}, false)
	if err != nil {
		return 0
	}
	n := 0
	for n < min(len(text), len(out.Text)) && text[n] == out.Text[n] {
		n++
	}
	return n
}

// fewBytes is the length of words that may well be elsewhere in a conversation, too.
const fewBytes = 8

// lost returns the roles of the messages whose words make no difference to the text that was rendered. Where the words
// are found in it, no other text is rendered.
func (t *Template) lost(c *Conversation, v *view, text string, ask bool) (roles []string) {
	for i, m := range c.Messages {
		words := strings.TrimSpace(v.guard.clean(string(m.Text)))
		if m.Learn || words == "" || len(words) > fewBytes && strings.Contains(text, words) {
			continue
		}
		if out, err := t.marked(v, i, m, ask); err == nil && out.Text == text {
			roles = append(roles, m.Role)
		}
	}
	return roles
}

// marked renders the messages with the mark as the words of message i, which becomes like another.
func (t *Template) marked(v *view, i int, like Message, ask bool) (jinja.Output, error) {
	like.Text = []byte(v.guard.mark)
	other := new(*v)
	other.messages = slices.Clone(v.messages)
	d := decoder{clean: func(s string) string { return s }}
	other.messages[i] = d.message(like)
	return t.run(other, len(v.messages), ask)
}

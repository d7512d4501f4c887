package chat

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"gimbal/internal/jinja"
)

// Special is a special token as a tokenizer finds it in a text.
type Special struct {
	Name        string
	ID          int32
	Left, Right bool // it takes the white space before it, behind it
}

// Source is what a model says of its conversations.
type Source struct {
	Template string            // the default one
	ToolUse  string            // for conversations with tools; "": the default one
	Names    map[string]string // bos_token, eos_token and others, by these names
	Specials []Special
	Now      time.Time `json:"-"` // what a template that asks for the date is told; zero: templateDate
}

// templateDate is the day on which all conversations are written for training: what is trained does not depend on the
// day.
var templateDate = time.Date(2024, 7, 26, 0, 0, 0, 0, time.UTC)

// ErrLimit says that a template has no end, or needs more memory than it may have.
var ErrLimit = jinja.ErrLimit

// templateVersion changes with what is written for the same source.
const templateVersion = "1"

// Template is the format that a model's own template writes. Text of a conversation never becomes a special token, and
// what counts is found out from what is written: inside of {% generation %} where the template has it; else what
// stands behind the text that asks for the answer, up to the first special token that ends it. An answer that is
// written in another way once the conversation goes on does not count: only the last one does then.
type Template struct {
	source        Source
	first, tools  *jinja.Template // tools is first where there is no other
	specials      finder
	ends          []int32 // special tokens that are a part of an answer and end it
	stops         []int32 // ends, or what begins the next turn
	stop          string  // what follows an answer, where no special token does
	tagged, dated bool
	hash          string
}

// NewTemplate reads a template and tries it. Its errors say why it cannot be used.
func NewTemplate(src Source) (t *Template, err error) {
	t = &Template{source: src, specials: newFinder(src.Specials), dated: strings.Contains(src.Template, "strftime_now")}
	if t.first, err = jinja.Parse(src.Template); err != nil {
		return nil, err
	}
	if t.tools = t.first; src.ToolUse != "" {
		if t.tools, err = jinja.Parse(src.ToolUse); err != nil {
			return nil, fmt.Errorf("tool_use: %w", err)
		}
	}
	raw, err := json.Marshal(src) // sorts names
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append(raw, templateVersion...))
	t.hash = hex.EncodeToString(sum[:])
	return t, t.probe()
}

// Parts of a conversation that tries a template; none is a part of another, or of anything that a template writes.
const askedProbe, answeredProbe = "qzq1 qzq", "qzq2 qzq"

// probe finds out what follows an answer.
func (t *Template) probe() error {
	ask, answer := Message{Role: User, Text: []byte(askedProbe)}, Message{Role: Assistant, Text: []byte(answeredProbe)}
	var first error
	for _, messages := range [][]Message{{ask, answer, ask, answer}, {ask, answer}} {
		out, err := t.run(&view{messages: t.plain(messages)}, len(messages), false)
		if err != nil {
			first = cmp.Or(first, err)
			continue
		}
		t.tagged = len(out.Generated) > 0
		before, _, _ := strings.Cut(out.Text, askedProbe)
		_, rest, found := strings.Cut(out.Text, answeredProbe)
		if !found {
			return errors.New("it does not write what the assistant says")
		}
		stop, _, _ := strings.Cut(rest, askedProbe)
		if begin, _, special := t.specials.find(rest, 0); special != nil && strings.TrimSpace(rest[:begin]) == "" {
			t.stops = []int32{special.ID}
			if t.specials.last(before) != special.ID { // else it is what begins the user's turn
				t.ends = t.stops
			}
		} else {
			t.stop = strings.TrimSpace(stop)
		}
		return nil
	}
	return first
}

func (t *Template) Name() string { return "template" }

func (t *Template) Note() string {
	note := "conversations are written by the model's own chat template"
	if t.tagged {
		note += "; its generation blocks say what counts"
	}
	if t.dated {
		note += "; it asks for the date, and is told " + templateDate.Format(time.DateOnly)
	}
	return note
}

func (t *Template) Special() (names []string) {
	for _, s := range t.source.Specials {
		names = append(names, s.Name)
	}
	return names
}

// Template returns the model's own, whatever a text begins with.
func (t *Template) Template(string) string { return t.source.Template }

func (t *Template) TurnEnds() []int32 { return slices.Clone(t.stops) }

// Stop returns the text that follows an answer where no special token does; "" if there is none.
func (t *Template) Stop() string { return t.stop }

// Hash says what decides what is written.
func (t *Template) Hash() string { return t.hash }

// Render writes a conversation, see Format. It sets c.Left.
func (t *Template) Render(c *Conversation) iter.Seq2[Piece, error] { return t.yield(c, t.spans) }

// Prompt writes a conversation and what asks for an answer, see Format.
func (t *Template) Prompt(c *Conversation) iter.Seq2[Piece, error] {
	return t.yield(c, func(_ *Conversation, v *view) (string, [][2]int, error) {
		out, err := t.run(v, len(v.messages), true)
		return out.Text, nil, err
	})
}

// yield yields the pieces of what write gives.
func (t *Template) yield(c *Conversation,
	write func(*Conversation, *view) (text string, counted [][2]int, err error)) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		v, err := t.view(c)
		if err != nil {
			yield(Piece{}, err)
			return
		}
		text, spans, err := write(c, v)
		if err != nil {
			yield(Piece{}, err)
			return
		}
		for _, p := range t.pieces(text, spans, v.guard) {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// run renders the first n messages, and what asks for an answer if ask is set.
func (t *Template) run(v *view, n int, ask bool) (jinja.Output, error) {
	vars := map[string]any{"messages": v.messages[:n:n], "tools": v.tools, "documents": v.documents,
		"add_generation_prompt": ask}
	for name, token := range t.source.Names {
		vars[name] = token
	}
	for name, value := range v.more {
		vars[name] = value
	}
	template := t.first
	if v.tools != nil {
		template = t.tools
	}
	now := t.source.Now
	if now.IsZero() {
		now = templateDate
	}
	return template.Render(context.Background(), vars,
		jinja.Limits{Steps: 1<<18 + 64*v.size, Bytes: 32<<20 + 64*v.size, Now: now})
}

// spans writes a conversation and says which bytes of it count.
func (t *Template) spans(c *Conversation, v *view) (text string, spans [][2]int, err error) {
	out, err := t.run(v, len(v.messages), false)
	if err != nil {
		return "", nil, err
	}
	text, c.Left = out.Text, 0
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
		return nil, fmt.Errorf("the template has %d generation blocks for %d answers, so that those that shall not count "+
			"cannot be told", len(out.Generated), len(learn))
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

// answer finds message i in a text: it begins where the text that asks for it ends, and it ends with the first token
// that ends a turn. ok is false if it is not written there as it was written when it was the last one.
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
	to := len(whole)
	for _, end, s := t.specials.find(whole, from); s != nil; _, end, s = t.specials.find(whole, end) {
		if slices.Contains(t.ends, s.ID) {
			to = end
			break
		} else if t.ends != nil && strings.TrimSpace(whole[end:]) == "" { // a turn that ends otherwise, as with a call
			to = end
		}
	}
	if to > len(text) || text[from:to] != whole[from:to] || from == to {
		return span, false
	}
	return [2]int{from, to}, true
}

// Shows reports whether the template has a place for a key of a record or a message. All names of thoughts are one.
func (t *Template) Shows(key string) bool {
	thoughts := []string{"reasoning_content", "thinking", "reasoning"}
	has := func(key string) bool {
		return strings.Contains(t.source.Template, key) || strings.Contains(t.source.ToolUse, key)
	}
	return has(key) || slices.Contains(thoughts, key) && (has(thoughts[0]) || has(thoughts[1]))
}

// begins returns where message i begins in a text: where another message would make a difference. 0: nowhere.
func (t *Template) begins(v *view, text string, i int) int {
	other := &view{messages: slices.Clone(v.messages), tools: v.tools, documents: v.documents, more: v.more, size: v.size}
	other.messages[i] = t.plain([]Message{{Role: Assistant, Text: []byte(v.guard.mark)}})[0]
	out, err := t.run(other, len(v.messages), false)
	if err != nil {
		return 0
	}
	n := 0
	for n < min(len(text), len(out.Text)) && text[n] == out.Text[n] {
		n++
	}
	return n
}

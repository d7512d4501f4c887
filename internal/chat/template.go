package chat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"regexp"
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
const templateVersion = "2"

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
	extra         string  // what follows the last answer and belongs to none
	tagged, dated bool
	letters       []string // what it writes that looks like a special token, and is none
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

// probe finds out what follows an answer. What follows in the same way whether the conversation goes on or not ends the
// answer; what follows only at the end of a conversation does not belong to it.
func (t *Template) probe() error {
	ask, answer := Message{Role: User, Text: []byte(askedProbe)}, Message{Role: Assistant, Text: []byte(answeredProbe)}
	behind := func(messages ...Message) (after string, err error) {
		out, err := t.run(&view{messages: t.plain(messages)}, len(messages), false)
		if err != nil {
			return "", err
		}
		t.tagged, t.letters = len(out.Generated) > 0, t.noTokens(out.Text)
		_, after, found := strings.Cut(out.Text, answeredProbe)
		if !found {
			err = errors.New("it does not write what the assistant says")
		}
		return after, err
	}
	last, err := behind(ask, answer)
	next, again := behind(ask, answer, ask, answer)
	switch {
	case err != nil:
		return err
	case again != nil: // it knows one question only
		next = last
	default:
		next, _, _ = strings.Cut(next, askedProbe)
	}
	n := 0
	for n < min(len(last), len(next)) && last[n] == next[n] {
		n++
	}
	same := t.specials.upTo(last, n)
	if end := t.specials.last(last[:same]); end >= 0 {
		t.ends, t.extra = []int32{end}, last[same:]
	} else if end := t.specials.last(last); end >= 0 {
		t.ends = []int32{end}
	}
	t.stops = t.ends
	if begin, _, s := t.specials.find(next, 0); s == nil {
		t.stop = strings.TrimSpace(next)
	} else if t.ends == nil && strings.TrimSpace(next[:begin]) == "" { // what begins the user's turn
		t.stops = []int32{s.ID}
	}
	return nil
}

// markLike is the spelling of tokens that begin and end turns.
var markLike = regexp.MustCompile(`<\|[^|<>\s]+\|>|</?s>|<(start|end)_of_turn>`)

// noTokens returns what is spelled in a text as special tokens are, and is none.
func (t *Template) noTokens(text string) (names []string) {
	for _, name := range markLike.FindAllString(text, -1) {
		known := slices.ContainsFunc(t.source.Specials, func(s Special) bool { return s.Name == name })
		if !known && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (t *Template) Name() string { return "template" }

func (t *Template) Note() string {
	note := "conversations are written by the model's own chat template"
	if t.tagged {
		note += "; its generation blocks say what counts"
	}
	if t.letters != nil {
		note += "; the tokenizer does not have " + strings.Join(t.letters, ", ") + ", which become letters"
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

// Render writes a conversation, see Format. It sets c.Left and c.Lost.
func (t *Template) Render(c *Conversation) iter.Seq2[Piece, error] { return t.yield(c, t.spans) }

// Prompt writes a conversation and what asks for an answer, see Format. It sets c.Lost.
func (t *Template) Prompt(c *Conversation) iter.Seq2[Piece, error] {
	return t.yield(c, func(c *Conversation, v *view) (string, [][2]int, error) {
		out, err := t.run(v, len(v.messages), true)
		c.Lost = t.lost(c, v, out.Text, true)
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
		t.readArguments(v)
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

// mostSteps and mostBytes are what a render may take beside the size of its variables.
var mostSteps, mostBytes = 1 << 18, 32 << 20

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
		jinja.Limits{Steps: mostSteps + 64*v.size, Bytes: mostBytes + 64*v.size, Now: now})
}

// Shows reports whether the template has a place for a key of a record or a message. All names of thoughts are one.
func (t *Template) Shows(key string) bool {
	thoughts := []string{"reasoning_content", "thinking", "reasoning"}
	has := func(key string) bool {
		return strings.Contains(t.source.Template, key) || strings.Contains(t.source.ToolUse, key)
	}
	return has(key) || slices.Contains(thoughts, key) && (has(thoughts[0]) || has(thoughts[1]))
}

package chat

import (
	"fmt"
	"iter"
	"strings"
)

// marks is a format in which a message is: open role middle head words close, with gap between two messages. No gap
// follows the last message, so that a text that ends with the assistant's turn ends as the model should: close, EOS.
type marks struct {
	name                string
	open, middle, close string           // special tokens, or plain text; "": there is none
	head, gap           string           // plain text
	plain               bool             // the tokenizer has no such special tokens: they are written as plain text
	tokens              map[string]int32 // the special tokens
}

var (
	chatML = marks{name: "chatml", open: "<|im_start|>", head: "\n", close: "<|im_end|>", gap: "\n"} // Qwen's
	llama3 = marks{
		name: "llama3", open: "<|start_header_id|>", middle: "<|end_header_id|>", head: "\n\n", close: "<|eot_id|>",
	}
)

// RoleTokens are the special tokens of a tokenizer made here for conversations: they open and close a turn.
var RoleTokens = chatML.Special()

// bind looks the special tokens up. It reports whether all are there.
func (f *marks) bind(v Vocabulary) bool {
	f.tokens = map[string]int32{}
	for _, name := range f.Special() {
		id, ok := v.Added(name)
		if !ok {
			return false
		}
		f.tokens[name] = id
	}
	return true
}

func (f marks) Name() string { return f.name }

func (f marks) Note() string {
	if f.plain {
		const note = "the tokenizer has no tokens for roles: %s and %s are written as plain text"
		return fmt.Sprintf(note, f.open, f.close)
	}
	return fmt.Sprintf("roles are marked by the special tokens %s and %s", f.open, f.close)
}

func (f marks) Special() []string {
	switch {
	case f.plain:
		return nil
	case f.middle == "":
		return []string{f.open, f.close}
	}
	return []string{f.open, f.middle, f.close}
}

func (f marks) TurnEnds() []int32 {
	if f.plain {
		return nil
	}
	return []int32{f.tokens[f.close]}
}

// Render separates text that counts from text that does not, because there a model has to begin to write.
func (f marks) Render(c *Conversation) iter.Seq2[Piece, error] { return f.write(c, false) }

func (f marks) Prompt(c *Conversation) iter.Seq2[Piece, error] { return f.write(c, true) }

// write yields messages, and the beginning of an answer if ask is set.
func (f marks) write(c *Conversation, ask bool) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		w := writer{yield: yield}
		mark := func(name string, counted bool) {
			if id, special := f.tokens[name]; special {
				w.token(name, id, counted)
			} else {
				w.text([]byte(name), counted)
			}
		}
		begin := func(i int, role string) {
			if i > 0 {
				w.text([]byte(f.gap), false)
			}
			mark(f.open, false)
			w.text([]byte(role), false)
			mark(f.middle, false)
			w.text([]byte(f.head), false)
		}
		for i, m := range c.Messages {
			learn := m.Learn && !ask
			begin(i, m.Role)
			w.text(m.Text, learn)
			mark(f.close, learn)
			if w.done {
				return
			}
		}
		if ask {
			begin(len(c.Messages), Assistant)
		}
		w.flush()
	}
}

func (f marks) Template(start string) string {
	begin, between := "", ""
	if start != "" {
		begin = fmt.Sprintf("{{- %s }}\n", quote(start))
	}
	if f.gap != "" {
		between = fmt.Sprintf("{%%- if not loop.first %%}{{- %s }}{%%- endif %%}\n    ", quote(f.gap))
	}
	ask := fmt.Sprintf("{{- %s }}", quote(f.gap+f.open+Assistant+f.middle+f.head))
	return begin + fmt.Sprintf(`{%%- for message in messages %%}
    %s{{- %s + message['role'] + %s + message['content'] + %s }}
{%%- endfor %%}
{%%- if add_generation_prompt %%}
    %s
{%%- endif %%}
`, between, quote(f.open), quote(f.middle+f.head), quote(f.close), ask)
}

// quote returns s as a Jinja string.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`).Replace(s) + "'"
}

// writer joins neighbouring texts that count alike and yields them as one piece.
type writer struct {
	yield   func(Piece, error) bool
	pending []byte // text that is not yielded yet
	counted bool   // what is pending counts
	done    bool   // no more pieces are wanted
}

func (w *writer) text(text []byte, counted bool) {
	if w.counted != counted {
		w.flush()
	}
	w.pending, w.counted = append(w.pending, text...), counted
}

func (w *writer) token(name string, id int32, counted bool) {
	if w.flush(); !w.done {
		w.done = !w.yield(Piece{Text: []byte(name), Token: id, Counted: counted}, nil)
	}
}

func (w *writer) flush() {
	if len(w.pending) > 0 && !w.done {
		w.done = !w.yield(Piece{Text: w.pending, Token: -1, Counted: w.counted}, nil)
	}
	w.pending = w.pending[:0]
}

package data

import (
	"fmt"
	"iter"
	"strings"

	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

// RoleTokens are the special tokens that a tokenizer made here for conversations has: they open and close a turn.
var RoleTokens = []string{"<|im_start|>", "<|im_end|>"}

// chatFormat is how a conversation is written: open role middle head words close, with gap between two messages. A document
// is the start token, the messages, and the EOS. There is no gap behind the last message, so that a text that ends with the
// assistant's turn ends as the model should: close, EOS.
type chatFormat struct {
	open, middle, close marker
	head, gap           string // plain text
}

// marker is a special token, or, for a tokenizer that has none, the same letters as plain text.
type marker struct {
	text string
	id   int32 // -1: plain text; a marker that is not there has no text either
}

// chatFormats are those whose special tokens a tokenizer may have; the first one also serves, as plain text, for a tokenizer
// that has none of them.
var chatFormats = []chatFormat{
	{open: marker{text: "<|im_start|>"}, head: "\n", close: marker{text: "<|im_end|>"}, gap: "\n"},                                          // ChatML, Qwen's
	{open: marker{text: "<|start_header_id|>"}, middle: marker{text: "<|end_header_id|>"}, head: "\n\n", close: marker{text: "<|eot_id|>"}}, // Llama 3's
}

// chatFormatOf returns the format whose markers are all special tokens of tok, else the first one as plain text.
func chatFormatOf(tok *tokenizer.Tokenizer) *chatFormat {
	for _, f := range chatFormats {
		known := true
		for _, m := range []*marker{&f.open, &f.middle, &f.close} {
			if m.id = -1; m.text != "" {
				id, ok := tok.Added(m.text)
				known = known && ok
				m.id = id
			}
		}
		if known {
			return &f
		}
	}
	f := chatFormats[0]
	f.open.id, f.middle.id, f.close.id = -1, -1, -1
	return &f
}

// textRun is a special token, or text that is encoded on its own.
type textRun struct {
	text  []byte
	token int32 // -1: text
	learn bool
}

// runs yields a conversation as tokens and texts. Of a message that is to be learned the words and the close count, and
// nothing else does: not its role, which whoever asks will write, nor the gap behind it. Text that counts is cut off from text
// that does not, as it will be when the model has to begin there.
func (f *chatFormat) runs(messages []corpus.Message) iter.Seq[textRun] {
	return func(yield func(textRun) bool) {
		open := textRun{token: -1} // text that has not been yielded
		ok := true
		flush := func() {
			if len(open.text) > 0 && ok {
				ok = yield(open)
			}
			open.text = open.text[:0]
		}
		text := func(s string, learn bool) {
			if open.learn != learn {
				flush()
			}
			open.text, open.learn = append(open.text, s...), learn
		}
		mark := func(m marker, learn bool) {
			if m.id < 0 {
				text(m.text, learn)
				return
			}
			if flush(); ok {
				ok = yield(textRun{[]byte(m.text), m.id, learn})
			}
		}
		for i, m := range messages {
			if i > 0 {
				text(f.gap, false)
			}
			mark(f.open, false)
			text(m.Role, false)
			mark(f.middle, false)
			text(f.head, false)
			text("", m.Learn)
			open.text = append(open.text, m.Text...)
			mark(f.close, m.Learn)
			if !ok {
				return
			}
		}
		flush()
	}
}

// template writes the format as a Jinja template of Hugging Face's. It begins with the start token, as documents do.
func (f *chatFormat) template(start string) string {
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`).Replace(s) + "'"
	}
	between := ""
	if f.gap != "" {
		between = fmt.Sprintf("{%%- if not loop.first %%}{{- %s }}{%%- endif %%}\n    ", quote(f.gap))
	}
	begin := ""
	if start != "" {
		begin = fmt.Sprintf("{{- %s }}\n", quote(start))
	}
	ask := fmt.Sprintf("{{- %s }}", quote(f.gap+f.open.text+corpus.Assistant+f.middle.text+f.head))
	return begin + fmt.Sprintf(`{%%- for message in messages %%}
    %s{{- %s + message['role'] + %s + message['content'] + %s }}
{%%- endfor %%}
{%%- if add_generation_prompt %%}
    %s
{%%- endif %%}
`, between, quote(f.open.text), quote(f.middle.text+f.head), quote(f.close.text), ask)
}

// ChatTemplate returns the Jinja template with which conversations of the set were written, "" if it has none.
func (s *Set) ChatTemplate() string {
	if s.census.Conversations == 0 {
		return ""
	}
	start := ""
	if s.hasStart {
		start = s.tok.Name(s.start)
	}
	return chatFormatOf(s.tok).template(start)
}

// ChatNote says in a sentence how the roles of conversations are marked, "" if there are none.
func (s *Set) ChatNote() string {
	f := chatFormatOf(s.tok)
	switch {
	case s.census.Conversations == 0:
		return ""
	case f.open.id < 0:
		return fmt.Sprintf("the tokenizer has no tokens for roles: %s and %s are written as plain text", f.open.text, f.close.text)
	}
	return fmt.Sprintf("roles are marked by the special tokens %s and %s", f.open.text, f.close.text)
}

// TurnEnds returns the special tokens, beside the EOS, that end what the assistant says: none for a set without conversations.
func (s *Set) TurnEnds() []int32 {
	if f := chatFormatOf(s.tok); s.census.Conversations > 0 && f.close.id >= 0 && f.close.id != s.tok.EOS() {
		return []int32{f.close.id}
	}
	return nil
}

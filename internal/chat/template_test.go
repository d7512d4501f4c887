package chat

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/tokenizer"
)

var writeDir = flag.String("write", "", "write the templates and tokenizers for testdata/chat.py into this folder")

type turn struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// recorded is what jinja2 and transformers made of a template and a tokenizer.
type recorded struct {
	Template string `json:"template"`
	Chats    []struct {
		Text   string  `json:"text"`
		Prompt string  `json:"prompt"` // with the generation prompt behind it
		IDs    []int32 `json:"ids"`
	} `json:"chats"`
}

// TestTemplate compares how conversations are written with what jinja2 and transformers make of the template and the
// tokenizer; testdata/chat.py recorded it. Contents begin with a letter: one that begins with white space may be
// joined by a tokenizer to the line break before it when a whole text is encoded, which is not how a model meets it
// (see Piece).
func TestTemplate(t *testing.T) {
	chats := [][]turn{
		{{"user", "What is 2 + 2?"}, {"assistant", "4."}},
		{
			{"system", "Be 'brief' and \"exact\"\\."}, {"user", "größer 中文 😀?\n\nSay {{ it }} {% twice %}"},
			{"assistant", "Yes.\n  Yes."}, {"user", "<b>thanks</b>"},
		},
		{{"user", "q"}, {"tool", "{\"a\": 1}"}, {"assistant", "done "}, {"user", "more"}, {"assistant", "no"}},
	}
	var text strings.Builder
	for range 20 {
		for _, chat := range chats {
			for _, m := range chat {
				text.WriteString(m.Role + "\n" + m.Content + "\n")
			}
		}
	}
	docs := func(yield func([]byte, error) bool) { yield([]byte(text.String()), nil) }
	bpe, _, err := tokenizer.TrainBPE(t.Context(), docs, tokenizer.TrainOptions{VocabSize: 400})
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]json.RawMessage // and the versions
	raw, err := os.ReadFile(filepath.Join("testdata", "chat.json"))
	if err == nil {
		err = json.Unmarshal(raw, &golden)
	}
	if err != nil && *writeDir == "" {
		t.Fatal(err)
	}
	for name, tok := range map[string]*tokenizer.Tokenizer{
		"chatml": bpe.WithSpecial(chatMLTokens...),
		"llama3": bpe.WithSpecial(llama3Tokens...),
		"plain":  bpe,
	} {
		f := For(tok)
		template := f.Template(tokenizer.EndOfText)
		if *writeDir != "" {
			writeModel(t, filepath.Join(*writeDir, name), tok, template, chats)
			continue
		}
		var want recorded
		if err := json.Unmarshal(golden[name], &want); err != nil || len(want.Chats) != len(chats) {
			t.Fatalf("%s: %d conversations recorded, %v", name, len(want.Chats), err)
		}
		if template != want.Template {
			t.Errorf("%s: the template is\n%s, recorded was\n%s", name, template, want.Template)
		}
		for i, want := range want.Chats {
			var messages []Message
			for _, m := range chats[i] {
				messages = append(messages, Message{Role: m.Role, Text: []byte(m.Content), Learn: m.Role == Assistant})
			}
			written, ids := write(t, f, tok, messages)
			if written != want.Text {
				t.Errorf("%s: conversation %d is written\n%q, the template gives\n%q", name, i, written, want.Text)
			}
			// Plain marks are letters like others: the line break behind an answer is encoded apart from them here,
			// since the answer counts and it does not, and together with them there.
			more := slices.ContainsFunc(chats[i][:len(chats[i])-1], func(m turn) bool { return m.Role == Assistant })
			if !slices.Equal(ids, want.IDs) && !(name == "plain" && more) {
				t.Errorf("%s: conversation %d has the ids\n%v, transformers gives\n%v", name, i, ids, want.IDs)
			}
			// What the model is given when it is asked is what stands before its words in training.
			asked, _ := write(t, f, tok, append(slices.Clone(messages), Message{Role: Assistant, Text: []byte("!")}))
			if ask, _, _ := strings.Cut(asked[len(written):], "!"); written+ask != want.Prompt {
				t.Errorf("%s: asked for an answer with\n%q, trained with\n%q", name, want.Prompt, written+ask)
			}
		}
	}
}

// write returns a conversation behind the start token, as text and as tokens.
func write(t *testing.T, f Format, tok *tokenizer.Tokenizer, messages []Message) (text string, ids []int32) {
	t.Helper()
	text, ids = tokenizer.EndOfText, []int32{tok.EOS()}
	for _, p := range render(t, f, messages) {
		if text += string(p.Text); p.Token >= 0 {
			ids = append(ids, p.Token)
			continue
		}
		var err error
		if ids, err = tok.Append(ids, p.Text); err != nil {
			t.Fatal(err)
		}
	}
	return text, ids
}

// writeModel writes what testdata/chat.py reads.
func writeModel(t *testing.T, dir string, tok *tokenizer.Tokenizer, template string, chats [][]turn) {
	t.Helper()
	file, err := tok.JSON()
	if err != nil {
		t.Fatal(err)
	}
	config, err := tok.ConfigJSON(256, false, template)
	if err != nil {
		t.Fatal(err)
	}
	asked, err := json.Marshal(chats)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		TemplateFile: []byte(template), "tokenizer.json": file, "tokenizer_config.json": config, "chats.json": asked,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

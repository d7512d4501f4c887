package data

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

// TestChatBehindTokens: with a tokenizer that puts a space before a text, as that of Mistral does, a conversation has
// the tokens of its whole text: no space comes behind its special tokens.
func TestChatBehindTokens(t *testing.T) {
	raw, err := os.ReadFile("../tokenizer/testdata/kinds.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Models map[string]map[string]any
		Kinds  []struct {
			Name, Model string
			Set, File   map[string]any
		}
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, one := range all.Kinds {
		file, model := maps.Clone(one.File), maps.Clone(all.Models[one.Model])
		maps.Copy(model, one.Set)
		file["model"] = model
		raw, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.Parse(raw)
		if err != nil {
			continue // one that is read in its own test
		}
		end := tok.Name(tok.EOS())
		format, err := chat.NewTemplate(chat.Source{Specials: []chat.Special{{Name: end, ID: tok.EOS()}},
			Template: fmt.Sprintf("{%% for m in messages %%}{{ m.content }}%s{%% endfor %%}", end)})
		if err != nil {
			t.Fatal(err)
		}
		turns := []turn{{Role: "user", Content: "two words"}, {Role: "assistant", Content: "one more"},
			{Role: "user", Content: "two words"}, {Role: "assistant", Content: "words"}}
		want, err := tok.AppendSpecial(nil, []byte("two words"+end+"one more"+end+"two words"+end+"words"+end))
		if err != nil {
			continue
		}
		c := discover(t, corpus.Options{}, chatLines(t, t.TempDir(), "a.jsonl", [][]turn{turns, turns}))
		s := prepare(t, c, tok, PrepareOptions{Workers: 2, Format: format, Start: "none"})
		for doc := range 2 {
			got := s.row(nil, doc, 1, s.index.Tokens(doc)+1)
			// The last end may be the document's.
			if !slices.Equal(got, want) && !slices.Equal(got, want[:len(want)-1]) {
				t.Errorf("%s: conversation %d is stored as\n%v, want\n%v", one.Name, doc, got, want)
			}
		}
		asked, err := chat.Encode(nil, tok, format.Prompt(&chat.Conversation{Messages: messagesOf(turns)}))
		if err != nil || !slices.Equal(asked, want) {
			t.Errorf("%s: asked with\n%v, want\n%v, %v", one.Name, asked, want, err)
		}
		tried++
	}
	if tried < 20 {
		t.Errorf("only %d kinds", tried)
	}
}

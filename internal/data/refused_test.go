package data

import (
	"strings"
	"testing"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

// TestRefusedConversations: a conversation that the template refuses is a broken document, with its place and what to
// do; one over which it does not come to an end stops everything, as the next would take as long.
func TestRefusedConversations(t *testing.T) {
	const template = `{% for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('it is bad') }}{% endif %}` +
		`{% if m.content == 'long' %}{% for i in range(1000000000) %}{% endfor %}{% endif %}` +
		`{{ m.content + ';' }}{% endfor %}`
	format, err := chat.NewTemplate(chat.Source{Template: template})
	if err != nil {
		t.Fatal(err)
	}
	good, bad, long := []turn{{"user", "q"}, {"assistant", "a"}}, []turn{{"user", "bad"}, {"assistant", "a"}},
		[]turn{{"user", "long"}, {"assistant", "a"}}
	for name, c := range map[string]struct {
		chats [][]turn
		what  string // is done with broken documents
		err   string
		docs  int64
	}{
		"stop": {[][]turn{good, bad}, "stop",
			"it refuses the conversation: it is bad; write conversations in a format " +
				"of gimbal's own: --set data.template=builtin; correct it, or set data.bad_documents", 0},
		"skip":    {[][]turn{good, bad, good, bad}, "skip", "", 2},
		"endless": {[][]turn{good, long}, "skip", "does not come to an end", 0},
	} {
		path := chatLines(t, t.TempDir(), "a.jsonl", c.chats)
		docs := discover(t, corpus.Options{BadDocuments: c.what, BadShare: 1}, path)
		s, err := Prepare(t.Context(), docs, tokenizer.NewBytes(), PrepareOptions{CacheDir: t.TempDir(),
			Format: format})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		census := s.Census()
		if census.Documents != c.docs || census.Read.Bad != int64(len(c.chats))-c.docs {
			t.Errorf("%s: %+v", name, census)
		}
	}
}

// TestLostMessagesAreTold: words that the template has no place for, such as those of the system.
func TestLostMessagesAreTold(t *testing.T) {
	const template = `{% for m in messages %}{% if m.role != 'system' %}{{ m.content + ';' }}{% endif %}{% endfor %}`
	format, err := chat.NewTemplate(chat.Source{Template: template})
	if err != nil {
		t.Fatal(err)
	}
	with, without := []turn{{"system", "be brief"}, {"user", "q"}, {"assistant", "a"}},
		[]turn{{"user", "q"}, {"assistant", "a"}}
	docs := discover(t, corpus.Options{}, chatLines(t, t.TempDir(), "a.jsonl", [][]turn{with, without, with}))
	text := Text{Docs: docs, Set: prepare(t, docs, nil, PrepareOptions{Format: format})}
	want := "the model's chat template leaves out 2 messages in 3 conversations"
	if f := text.Findings(); len(f) != 1 || !f[0].Warn || !strings.HasPrefix(f[0].Text, want) {
		t.Errorf("%+v", f)
	}
}

// TestSeamsAreTold: an answer that begins within a token that ends its prompt cannot be written so in a chat.
func TestSeamsAreTold(t *testing.T) {
	docs := func(yield func([]byte, error) bool) { yield([]byte(strings.Repeat("b a", 99)), nil) }
	tok, _, err := tokenizer.TrainBPE(t.Context(), docs, tokenizer.TrainOptions{VocabSize: 265})
	if err != nil {
		t.Fatal(err)
	}
	const template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}" +
		"{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
	format, err := chat.NewTemplate(chat.Source{Template: template})
	if err != nil {
		t.Fatal(err)
	}
	chats := [][]turn{{{"user", "q"}, {"assistant", "a"}}, {{"user", "a"}, {"assistant", "q"}}}
	c := discover(t, corpus.Options{}, chatLines(t, t.TempDir(), "a.jsonl", chats))
	text := Text{Docs: c, Set: prepare(t, c, tok, PrepareOptions{Format: format})}
	want := "1 of 2 answers begin within a token"
	if f := text.Findings(); len(f) != 1 || !f[0].Warn || !strings.HasPrefix(f[0].Text, want) {
		t.Errorf("%+v", f)
	}
}

// TestJointText: a token counts if a part of it does, whatever the tokenizer makes of the text.
func TestJointText(t *testing.T) {
	text := strings.Repeat("ab abab e\u0301 aba", 50)
	docs := func(yield func([]byte, error) bool) { yield([]byte(text), nil) }
	tok, _, err := tokenizer.TrainBPE(t.Context(), docs, tokenizer.TrainOptions{VocabSize: 265})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := tok.JSON()
	if err != nil {
		t.Fatal(err)
	}
	composes, err := tokenizer.Parse([]byte(strings.Replace(string(raw), `"normalizer": null`,
		`"normalizer": {"type": "NFC"}`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	for name, tok := range map[string]*tokenizer.Tokenizer{"as it is": tok, "composed": composes} {
		e := &encoder{enc: tok.NewEncoder(), lengths: spelledLengths(tok)}
		whole := "ab abab e\u0301e\u0301 aba"
		ids, err := tok.Append(nil, []byte(whole))
		if err != nil {
			t.Fatal(err)
		}
		for from := range len(whole) {
			for to := from + 1; to <= len(whole); to++ {
				before, behind := strings.HasSuffix(whole[:from], "e"), strings.HasSuffix(whole[:to], "e")
				if name == "composed" && (before || behind || from > 0 && whole[from]&0xC0 == 0x80 || to < len(whole) &&
					whole[to]&0xC0 == 0x80) {
					continue // inside of what is composed
				}
				var q piece
				for _, part := range []struct {
					text  string
					learn bool
				}{{whole[:from], false}, {whole[from:to], true}, {whole[to:], false}} {
					if part.text != "" {
						e.joint.add([]byte(part.text), part.learn)
					}
				}
				if err := e.endJoint(&q); err != nil {
					t.Fatal(err)
				}
				got, want, at := "", "", 0
				for _, r := range q.runs {
					got += strings.Repeat(map[bool]string{true: "1", false: "0"}[r.learn], int(r.n))
				}
				lo, hi := from, to
				if name == "composed" {
					lo, hi = len(composed(whole[:from])), len(composed(whole[:to]))
				}
				seams := int64(0)
				for _, id := range ids {
					end := at + len(tok.Bytes(id))
					if at < lo && lo < end && from > 0 {
						seams++
					}
					want += map[bool]string{true: "1", false: "0"}[at < hi && lo < end]
					at = end
				}
				if q.seams != seams {
					t.Fatalf("%s: of %q count [%d, %d): %d seams, want %d", name, whole, from, to, q.seams, seams)
				}
				if got != want || len(q.ids) != len(ids) {
					t.Fatalf("%s: of %q count [%d, %d): %s, want %s", name, whole, from, to, got, want)
				}
			}
		}
	}
}

// composed is a text in normalization form C.
func composed(text string) string { return strings.ReplaceAll(text, "e\u0301", "é") }

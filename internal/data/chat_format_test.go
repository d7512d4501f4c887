package data

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

var llama3Tokens = []string{"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}

// messagesOf is what the corpus reads of the lines that chatLines writes.
func messagesOf(turns []turn) (messages []chat.Message) {
	for _, m := range turns {
		learn := m.Role == chat.Assistant
		messages = append(messages, chat.Message{Role: m.Role, Text: []byte(m.Content), Learn: learn})
	}
	return messages
}

// TestChatTokens wants of every conversation the tokens that each piece of its format has by itself, and of each token
// whether its piece counts.
func TestChatTokens(t *testing.T) {
	r := random(t)
	chats := slices.DeleteFunc(randomChats(r, 200), func(c []turn) bool { return c[0].Role == "" })
	c := discover(t, corpus.Options{}, chatLines(t, t.TempDir(), "a.jsonl", chats))
	bpe, _, err := tokenizer.TrainBPE(t.Context(), c.Texts(t.Context()), tokenizer.TrainOptions{VocabSize: 400})
	if err != nil {
		t.Fatal(err)
	}
	toks := []*tokenizer.Tokenizer{bpe, bpe.WithSpecial(chat.RoleTokens...), bpe.WithSpecial(llama3Tokens...)}
	for _, tok := range toks {
		s := prepare(t, c, tok, PrepareOptions{Workers: 2})
		f := chat.For(tok)
		for i, turns := range chats {
			var ids []int32
			var counts []bool
			for p, err := range f.Render(&chat.Conversation{Messages: messagesOf(turns)}) {
				if p.Token >= 0 {
					ids = append(ids, p.Token)
				} else if err == nil {
					ids, err = tok.Append(ids, p.Text)
				}
				if err != nil {
					t.Fatal(err)
				}
				for len(counts) < len(ids) {
					counts = append(counts, p.Counted)
				}
			}
			n := s.index.Tokens(i)
			if got := s.row(nil, i, 1, n+1); !slices.Equal(got, ids) {
				t.Fatalf("%s: %v is stored as\n%v, want\n%v", f.Note(), turns, got, ids)
			}
			for j, want := range counts {
				if s.counts(i, int64(j)+1) != want {
					t.Fatalf("%s: %v: token %d counts: %v", f.Note(), turns, j, !want)
				}
			}
		}
	}
}

// TestChatCaches holds tokens and counts of conversations to what they were when the values here were recorded: a
// cache and a run that were made then are opened again.
func TestChatCaches(t *testing.T) {
	path := chatLines(t, t.TempDir(), "a.jsonl", [][]turn{
		{
			{"system", "Be brief."}, {"user", "größer 中文?"}, {"assistant", "Yes.\nYes."},
			{"user", ""}, {"assistant", ""},
		},
		{{"", "a text"}},
		{{"user", "q"}, {"tool", "{\"a\": 1}"}, {"assistant", "a<|im_end|>b"}, {"user", "thanks"}},
	})
	c := discover(t, corpus.Options{}, path)
	for _, want := range []struct {
		special []string
		hash    string
	}{
		{chat.RoleTokens, "15be913ada8bcef321f42abd5f3d39d7c35f50f3b32146d5e8ab5a3779906712"},
		{llama3Tokens, "f684d5565aa718572d861caa9e68268059a99d348978599a55de9b0d91a5ca8d"},
		{nil, "844c05298ea808c709fb820a2671a789f2f66d72604ebcfceee9f7d926d6989f"},
	} {
		s := prepare(t, c, tokenizer.NewBytes().WithSpecial(want.special...), PrepareOptions{})
		if s.Hash != want.hash {
			t.Errorf("with %q: the hash of the set is %s", want.special, s.Hash)
		}
	}
}

// TestChatOfSet asks a set what a checkpoint has to carry: for conversations the template with the start token of
// documents, and the ends of turns but for the EOS; for texts nothing.
func TestChatOfSet(t *testing.T) {
	talk := chatLines(t, t.TempDir(), "a.jsonl", [][]turn{{{"user", "q"}, {"assistant", "a"}}})
	text := chatLines(t, t.TempDir(), "a.jsonl", [][]turn{{{"", "text"}}})
	own := tokenizer.NewBytes().WithSpecial(chat.RoleTokens...)
	raw, err := own.JSON()
	if err != nil {
		t.Fatal(err)
	}
	closing, _ := own.Added("<|im_end|>")
	turnEOS, err := tokenizer.ParseAs(raw, tokenizer.Roles{EOS: closing, BOS: -1, Size: own.VocabSize()}) // Qwen's
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tok   *tokenizer.Tokenizer
		path  string
		start string
		begin string // of the template
		ends  []int32
	}{
		{own, talk, "eos", "{{- '<|endoftext|>' }}\n{%- for", []int32{closing}},
		{own, talk, "none", "{%- for", []int32{closing}},
		{turnEOS, talk, "eos", "{{- '<|im_end|>' }}\n{%- for", nil},
		{tokenizer.NewBytes(), talk, "eos", "{{- '<|endoftext|>' }}\n{%- for", nil},
		{own, text, "eos", "", nil},
	} {
		s := prepare(t, discover(t, corpus.Options{}, c.path), c.tok, PrepareOptions{Start: c.start})
		got, none := s.Chat(), c.begin == ""
		if !strings.HasPrefix(got.Template, c.begin) || (got.Template == "") != none || (got.Note == "") != none {
			t.Errorf("start %s: the template is\n%s\nthe note is %q", c.start, got.Template, got.Note)
		}
		if !slices.Equal(got.TurnEnds, c.ends) {
			t.Errorf("start %s: turns end with %v, want %v", c.start, got.TurnEnds, c.ends)
		}
	}
}

// shout is a format like none of the house's: it has no marks, and cannot write what a tool says.
type shout struct{}

func (shout) Name() string           { return "shout" }
func (shout) Note() string           { return "shouted" }
func (shout) Special() []string      { return nil }
func (shout) Template(string) string { return "{{ messages }}" }
func (shout) TurnEnds() []int32      { return []int32{'!'} }

func (s shout) Prompt(c *chat.Conversation) iter.Seq2[chat.Piece, error] { return s.Render(c) }

func (shout) Render(c *chat.Conversation) iter.Seq2[chat.Piece, error] {
	return func(yield func(chat.Piece, error) bool) {
		for _, m := range c.Messages {
			if m.Role == "tool" {
				yield(chat.Piece{}, errors.New("tools do not shout"))
				return
			}
			if !yield(chat.Piece{Text: append(bytes.ToUpper(m.Text), '!'), Token: -1, Counted: m.Learn}, nil) {
				return
			}
		}
	}
}

// TestAnotherFormat prepares conversations in a format that the package chat does not have: nothing else decides how
// they are written, and what it cannot write is an error that says where it stands.
func TestAnotherFormat(t *testing.T) {
	path := chatLines(t, t.TempDir(), "a.jsonl", [][]turn{{{"user", "how"}, {"assistant", "so"}}})
	s := prepare(t, discover(t, corpus.Options{}, path), nil, PrepareOptions{Format: shout{}})
	var out bytes.Buffer
	if err := s.Show(&out, epoch(s.All(32)), 0, 1, PlainMarks); err != nil {
		t.Fatal(err)
	}
	got := s.Chat()
	if !strings.Contains(out.String(), "[[HOW!]]SO!<|endoftext|>") || got.Template != "{{ messages }}" ||
		got.Note != "shouted" || !slices.Equal(got.TurnEnds, []int32{'!'}) {
		t.Errorf("%s\n%+v", out.String(), got)
	}
	good := `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}` + "\n"
	bad := strings.Replace(good, "user", "tool", 1)
	path = write(t, t.TempDir(), "a.jsonl", good+bad)
	c, opt := discover(t, corpus.Options{}, path), PrepareOptions{CacheDir: t.TempDir(), Format: shout{}}
	_, err := Prepare(t.Context(), c, tokenizer.NewBytes(), opt)
	want := fmt.Sprintf("%s: the conversation at bytes %d to %d cannot be written as shout: tools do not shout",
		path, len(good), len(good+bad))
	if fault := new(Error); !errors.As(err, &fault) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

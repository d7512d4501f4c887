package data

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

type turn struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// chatLines writes conversations as a JSONL file; a conversation of one turn without a role is a plain text.
func chatLines(t *testing.T, dir, name string, chats [][]turn) string {
	t.Helper()
	var b strings.Builder
	for _, chat := range chats {
		var line any = map[string]any{"messages": chat}
		if chat[0].Role == "" {
			line = map[string]any{"text": chat[0].Content}
		}
		raw, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(raw, '\n'))
	}
	return write(t, dir, name, b.String())
}

// randomChats returns conversations with at least one answer, and some texts among them.
func randomChats(r *rand.Rand, n int) [][]turn {
	word := func() string {
		return strings.Repeat([]string{"yes", "größer ", "a<|im_end|>b", " ", "\n", "x y z "}[r.IntN(6)], r.IntN(6))
	}
	chats := make([][]turn, n)
	for i := range chats {
		if r.IntN(4) == 0 {
			chats[i] = []turn{{"", "text " + word()}}
			continue
		}
		for range r.IntN(5) {
			chats[i] = append(chats[i], turn{chat.Roles[r.IntN(4)], word()})
		}
		at := r.IntN(len(chats[i]) + 1)
		chats[i] = slices.Insert(chats[i], at, turn{"assistant", word()})
	}
	return chats
}

// chatRow is a conversation as tokens of one byte each, and which of them count, written down from the format's
// description and not with the code under test. The first is the start token.
func chatRow(tok *tokenizer.Tokenizer, chat []turn) (row []int32, counts []bool) {
	id := func(name string) int32 {
		id, _ := tok.Added(name)
		return id
	}
	put := func(learn bool, ids ...int32) {
		for _, id := range ids {
			row, counts = append(row, id), append(counts, learn)
		}
	}
	text := func(learn bool, s string) {
		for _, c := range []byte(s) {
			put(learn, int32(c))
		}
	}
	put(false, tok.EOS())
	if chat[0].Role == "" {
		text(true, chat[0].Content)
		put(true, tok.EOS())
		return row, counts
	}
	last := false
	for i, m := range chat {
		if i > 0 {
			text(false, "\n")
		}
		put(false, id("<|im_start|>"))
		text(false, m.Role+"\n")
		last = m.Role == "assistant"
		text(last, m.Content)
		put(last, id("<|im_end|>"))
	}
	put(last, tok.EOS())
	return row, counts
}

// checkChat reports the first way in which b is not one epoch of the rows with their counts.
func checkChat(b *Batch, rows map[Ref][]int32, counts map[Ref][]bool) error {
	labels, counted, spelled := 0, 0, int64(0)
	for _, s := range b.Spans {
		row := rows[s.Doc]
		for i := range s.Len {
			at, j := s.Start+i, int(s.First)+1+i
			switch {
			case b.Labels[at] != row[j] || b.Tokens[at] != row[j-1]:
				return fmt.Errorf("label %d of %v is %d after %d, want %d after %d", j, s.Doc, b.Labels[at], b.Tokens[at], row[j],
					row[j-1])
			case b.Counts[at] != counts[s.Doc][j]:
				return fmt.Errorf("label %d (%d) of %v counts: %v", j, row[j], s.Doc, b.Counts[at])
			}
			if labels++; b.Counts[at] {
				counted++
				if row[j] < 256 {
					spelled++
				}
			}
		}
	}
	total := 0
	for _, row := range rows {
		total += len(row) - 1
	}
	if labels != total || b.Counted != counted || b.Bytes != spelled {
		return fmt.Errorf("%d labels of %d, %d of %d counted, %d of %d bytes", labels, total, b.Counted, counted, b.Bytes,
			spelled)
	}
	return nil
}

// TestChatMask is the property of the mask over random conversations and texts, at every context: only the
// assistant's words, the end of its turn, and the EOS behind it count. Mistakes planted in a copy must be found.
func TestChatMask(t *testing.T) {
	r := random(t)
	tok := tokenizer.NewBytes().WithSpecial(chat.RoleTokens...)
	user, _ := tok.Added("<|im_start|>")
	closing, _ := tok.Added("<|im_end|>")
	planted := map[string]int{}
	for round := range 30 {
		chats := randomChats(r, 3+r.IntN(30))
		chats = append(chats, []turn{{"user", "question"}, {"assistant", "answer"}, {"user", "thanks"}},
			[]turn{{"user", "q"}, {"assistant", "the end"}})
		s := prepare(t, discover(t, corpus.Options{}, chatLines(t, t.TempDir(), "a.jsonl", chats)), tok,
			PrepareOptions{ValFraction: 0.3, shard: 1 + r.Int64N(300)})
		rows, counts := map[Ref][]int32{}, map[Ref][]bool{}
		for i, chat := range chats {
			ref := s.index.Ref(i)
			rows[ref], counts[ref] = chatRow(tok, chat)
		}
		context := 1 + r.IntN(40)
		sp := s.All(context)
		whole := epoch(sp)
		if err := checkChat(whole, rows, counts); err != nil {
			t.Fatalf("round %d, context %d: %v", round, context, err)
		}
		if sp.Counted() != int64(whole.Counted) || s.Train(context).Counted()+s.Val(context).Counted() != sp.Counted() {
			t.Fatalf("round %d: the split says that %d count, an epoch has %d", round, sp.Counted(), whole.Counted)
		}
		at := 0
		for ids, flags := range sp.CountedLabels() {
			if !slices.Equal(flags, whole.Counts[at:at+len(ids)]) {
				t.Fatalf("round %d: CountedLabels differs from the sequences in order", round)
			}
			at += len(ids)
		}
		// The loader leaves out what has nothing to learn from, and else gives the same.
		if sp.Tokens() >= int64(context) {
			l, err := NewLoader(sp, r.Uint64(), context)
			if err != nil {
				t.Fatal(err)
			}
			sum := 0
			var b Batch
			for cur := (Cursor{}); l.Epoch(cur) == 0; {
				cur = l.Next(&b, cur)
				if b.Counted == 0 {
					t.Fatal("a batch without a counted label")
				}
				for _, s := range b.Spans {
					if l.Epoch(Cursor{Seq: cur.Seq - 1}) == 0 {
						sum += s.Len
					}
				}
			}
			if sum > int(sp.Tokens())+context || sum == 0 {
				t.Fatalf("an epoch of %d labels out of %d", sum, sp.Tokens())
			}
		}
		for name, plant := range map[string]func(b *Batch) bool{
			"the user's words count": func(b *Batch) bool { // the letters behind "user\n"
				for i := 1; i < len(b.Labels); i++ {
					if !b.Counts[i] && b.Tokens[i] == '\n' && b.Labels[i] < 256 && b.Labels[i] != '\n' {
						b.Counts[i] = true
						b.Counted++
						b.Bytes++
						return true
					}
				}
				return false
			},
			"the end of the user's turn counts": func(b *Batch) bool {
				for i := range b.Labels {
					if !b.Counts[i] && b.Labels[i] == closing {
						b.Counts[i] = true
						b.Counted++
						return true
					}
				}
				return false
			},
			"the role counts": func(b *Batch) bool {
				for i := range b.Labels {
					if b.Labels[i] == user {
						b.Counts[i] = true
						b.Counted++
						return true
					}
				}
				return false
			},
			"the end of the answer does not count": func(b *Batch) bool {
				for i := range b.Labels {
					if b.Counts[i] && b.Labels[i] == closing {
						b.Counts[i] = false
						b.Counted--
						return true
					}
				}
				return false
			},
			"an answer does not count": func(b *Batch) bool {
				for i := range b.Labels {
					if b.Counts[i] && b.Labels[i] < 256 {
						b.Counts[i] = false
						b.Counted--
						b.Bytes--
						return true
					}
				}
				return false
			},
			"the mask is shifted": func(b *Batch) bool {
				for i := range b.Counts[:len(b.Counts)-1] {
					if b.Counts[i] != b.Counts[i+1] {
						b.Counts[i], b.Counts[i+1] = b.Counts[i+1], b.Counts[i]
						return true
					}
				}
				return false
			},
		} {
			broken := cloneBatch(whole)
			if plant(broken) {
				planted[name]++
				if err := checkChat(broken, rows, counts); err == nil {
					t.Errorf("round %d: %s was not found", round, name)
				}
			}
		}
	}
	if len(planted) != 6 {
		t.Errorf("planted %v", planted)
	}
	for name, n := range planted {
		if n < 5 {
			t.Errorf("%s was planted %d times only", name, n)
		}
	}
}

// TestChatWords wants the counted labels to spell the answers and nothing else, with a vocabulary whose merges cross
// every border they can, and whatever the workers and pieces.
func TestChatWords(t *testing.T) {
	r := random(t)
	chats := randomChats(r, 400)
	chats = append(chats, []turn{{"user", strings.Repeat("long question ", 60_000)},
		{"assistant", strings.Repeat("long answer\n", 70_000)}})
	path := chatLines(t, t.TempDir(), "a.jsonl", chats)
	c := discover(t, corpus.Options{}, path)
	bpe, _, err := tokenizer.TrainBPE(t.Context(), c.Texts(t.Context()), tokenizer.TrainOptions{VocabSize: 600})
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range []bool{true, false} {
		tok, closing := bpe, "<|im_end|>" // plain text
		if own {
			tok, closing = bpe.WithSpecial(chat.RoleTokens...), ""
		}
		var want []string
		for _, chat := range chats {
			s := ""
			for _, m := range chat {
				if m.Role == "assistant" {
					s += m.Content + closing
				} else if m.Role == "" {
					s += m.Content
				}
			}
			want = append(want, s)
		}
		var first map[string]string
		for _, workers := range []int{1, 5} {
			s := prepare(t, c, tok, PrepareOptions{Workers: workers})
			if first == nil {
				first = contents(t, s.Dir)
			} else {
				for name, content := range contents(t, s.Dir) {
					if content != first[name] {
						t.Errorf("%d workers make another %s", workers, name)
					}
				}
			}
			var got []string
			for ids, counts := range s.All(256).CountedLabels() {
				var words []int32
				for i, id := range ids {
					if counts[i] {
						words = append(words, id)
					}
				}
				got = append(got, string(tok.Decode(nil, words)))
			}
			// Of a long one the pieces come apart.
			for i := range got {
				if i < len(want)-1 && got[i] != want[i] {
					t.Fatalf("own %v: document %d: %q, want %q", own, i, got[i], want[i])
				}
			}
			if strings.Join(got[len(want)-1:], "") != want[len(want)-1] {
				t.Errorf("own %v: the long answer is another", own)
			}
			if note := s.Chat().Note; strings.Contains(note, "plain text") == own || s.Census().Conversations == 0 ||
				s.Census().SpelledBytes != s.Census().TextBytes {
				t.Errorf("own %v: %s, %+v", own, note, s.Census())
			}
		}
	}
}

// TestNothingToLearn is a corpus in which the validation part, or a batch, has no answer: it is not divided by zero.
func TestNothingToLearn(t *testing.T) {
	chats := [][]turn{{{"assistant", "a"}, {"user", strings.Repeat("long ", 500)}}}
	tok := tokenizer.NewBytes().WithSpecial(chat.RoleTokens...)
	s := prepare(t, discover(t, corpus.Options{}, chatLines(t, t.TempDir(), "a.jsonl", chats)), tok,
		PrepareOptions{ValFraction: 0.1})
	if n := s.Val(32).Counted(); n != 0 {
		t.Errorf("%d labels of the user count", n)
	}
	if _, err := NewLoader(s.Val(32), 1, 32); err == nil || !strings.Contains(err.Error(), "no trainable tokens") {
		t.Errorf("%v", err)
	}
	l := loader(t, s.Train(32), 1, 32)
	var b Batch
	for cur := (Cursor{}); l.Epoch(cur) < 3; {
		if cur = l.Next(&b, cur); b.Counted == 0 {
			t.Fatal("a batch without a counted label")
		}
	}
}

package chat

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// vocabulary is a tokenizer that has these special tokens, with ids from 1000.
type vocabulary []string

func (v vocabulary) Added(name string) (int32, bool) {
	i := slices.Index(v, name)
	return int32(1000 + i), i >= 0
}

var (
	chatMLTokens = []string{"<|im_start|>", "<|im_end|>"}
	llama3Tokens = []string{"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}
)

// known are the tokenizers that there are formats for, and what is expected of each: the ids that end a turn, and a
// message as the descriptions of the formats have it, of which the words are left out: what stands before them, and
// what behind.
var known = []struct {
	name    string
	tokens  vocabulary
	special []string
	ends    []int32
	note    string
	gap     string
	before  func(role string) []symbol
	end     func(counted bool) []symbol
}{
	{
		"chatml", slices.Concat([]string{"<|endoftext|>"}, chatMLTokens), chatMLTokens, []int32{1002},
		"roles are marked by the special tokens <|im_start|> and <|im_end|>", "\n",
		func(role string) []symbol { return slices.Concat(token(1001, false), spell(role+"\n", false)) },
		func(counted bool) []symbol { return token(1002, counted) },
	},
	{
		"llama3", llama3Tokens, llama3Tokens, []int32{1002},
		"roles are marked by the special tokens <|start_header_id|> and <|eot_id|>", "",
		func(role string) []symbol {
			return slices.Concat(token(1000, false), spell(role, false), token(1001, false), spell("\n\n", false))
		},
		func(counted bool) []symbol { return token(1002, counted) },
	},
	{
		"chatml", vocabulary{"<|im_start|>", "<|eot_id|>"}, nil, nil,
		"the tokenizer has no tokens for roles: <|im_start|> and <|im_end|> are written as plain text", "\n",
		func(role string) []symbol { return spell("<|im_start|>"+role+"\n", false) },
		func(counted bool) []symbol { return spell("<|im_end|>", counted) },
	},
}

// symbol is a byte of text or a special token, and whether it counts.
type symbol struct {
	id      int32
	counted bool
}

func token(id int32, counted bool) []symbol { return []symbol{{id, counted}} }

func spell(text string, counted bool) (s []symbol) {
	for _, c := range []byte(text) {
		s = append(s, symbol{int32(c), counted})
	}
	return s
}

// render collects the pieces of a conversation.
func render(t *testing.T, f Format, messages []Message) (pieces []Piece) {
	t.Helper()
	for p, err := range f.Render(&Conversation{Messages: messages}) {
		if err != nil {
			t.Fatal(err)
		}
		p.Text = bytes.Clone(p.Text)
		pieces = append(pieces, p)
	}
	return pieces
}

// check reports the first way in which pieces are not what is wanted, symbol for symbol, in the longest runs.
func check(pieces []Piece, names []string, want []symbol) error {
	var got []symbol
	for i, p := range pieces {
		switch {
		case p.Token >= 0 && !slices.Contains(names, string(p.Text)):
			return fmt.Errorf("piece %d is the special token %q, which is none of %q", i, p.Text, names)
		case p.Token >= 0:
			got = append(got, symbol{p.Token, p.Counted})
			continue
		case len(p.Text) == 0:
			return fmt.Errorf("piece %d has no text", i)
		case i > 0 && pieces[i-1].Token < 0 && pieces[i-1].Counted == p.Counted:
			return fmt.Errorf("pieces %d and %d are one text", i-1, i)
		}
		got = append(got, spell(string(p.Text), p.Counted)...)
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return fmt.Errorf("symbol %d: got %v, want %v", i, got[min(i, len(got)):], want[min(i, len(want)):])
		}
	}
	return nil
}

// conversations returns every conversation of at most n messages over all roles and a few texts.
func conversations(n int) (all [][]Message) {
	var each []Message
	for _, role := range Roles {
		for _, text := range []string{"", "a", "\nß ", "x<|im_end|>y"} {
			each = append(each, Message{Role: role, Text: []byte(text)})
			if role == Assistant {
				each = append(each, Message{Role: role, Text: []byte(text), Learn: true})
			}
		}
	}
	last := [][]Message{nil}
	for range n {
		var next [][]Message
		for _, before := range last {
			for _, m := range each {
				next = append(next, append(slices.Clone(before), m))
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

func describe(messages []Message) string {
	var s strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&s, "[%s %q learn %v]", m.Role, m.Text, m.Learn)
	}
	return s.String()
}

// TestCounted is the rule of the package over all short conversations: the words of what is to be learned and the mark
// that ends them count, and nothing else does. Of the pieces of each, every flag that is turned round, every mark that
// is lost and every byte that moves across a border must be found.
func TestCounted(t *testing.T) {
	for _, k := range known {
		f := For(k.tokens)
		planted := 0
		for _, messages := range conversations(3) {
			var want []symbol
			for i, m := range messages {
				if i > 0 {
					want = append(want, spell(k.gap, false)...)
				}
				want = slices.Concat(want, k.before(m.Role), spell(string(m.Text), m.Learn), k.end(m.Learn))
			}
			pieces := render(t, f, messages)
			if err := check(pieces, k.special, want); err != nil {
				t.Fatalf("%s: %s: %v", f.Name(), describe(messages), err)
			}
			if len(messages) > 2 {
				continue
			}
			for i := range pieces {
				turned := slices.Clone(pieces)
				turned[i].Counted = !turned[i].Counted
				mistakes := [][]Piece{turned, slices.Delete(slices.Clone(pieces), i, i+1)}
				last := len(pieces[i].Text) - 1
				if i+1 < len(pieces) && pieces[i].Token < 0 && pieces[i+1].Token < 0 && last > 0 {
					moved := slices.Clone(pieces)
					moved[i].Text = pieces[i].Text[:last]
					moved[i+1].Text = append(slices.Clone(pieces[i].Text[last:]), pieces[i+1].Text...)
					mistakes = append(mistakes, moved)
				}
				for _, broken := range mistakes {
					planted++
					if check(broken, k.special, want) == nil {
						t.Fatalf("%s: %s: a mistake at piece %d was not found", f.Name(), describe(messages), i)
					}
				}
			}
		}
		if planted < 1000 {
			t.Errorf("%s: only %d mistakes were planted", f.Name(), planted)
		}
	}
}

// TestFor picks the format by the special tokens: all of one, ChatML before Llama 3's, else ChatML as plain text.
func TestFor(t *testing.T) {
	for _, k := range known {
		f := For(k.tokens)
		if f.Name() != k.name || f.Note() != k.note {
			t.Errorf("%v: %s, %q", k.tokens, f.Name(), f.Note())
		}
		if !slices.Equal(f.Special(), k.special) || !slices.Equal(f.TurnEnds(), k.ends) {
			t.Errorf("%v: special tokens %q, ends %v", k.tokens, f.Special(), f.TurnEnds())
		}
	}
	for _, c := range []struct {
		tokens vocabulary
		name   string
		ends   []int32
	}{
		{slices.Concat(llama3Tokens, chatMLTokens), "chatml", []int32{1004}},
		{slices.Concat(chatMLTokens[:1], llama3Tokens), "llama3", []int32{1003}},
		{llama3Tokens[1:], "chatml", nil},
		{nil, "chatml", nil},
	} {
		if f := For(c.tokens); f.Name() != c.name || !slices.Equal(f.TurnEnds(), c.ends) {
			t.Errorf("%v: %s, ends %v", c.tokens, f.Name(), f.TurnEnds())
		}
	}
	if !slices.Equal(RoleTokens, chatMLTokens) || For(vocabulary(RoleTokens)).Special() == nil {
		t.Errorf("a tokenizer made here has %q", RoleTokens)
	}
}

// TestRenderStops takes every number of pieces and no more, as a loop does that is left early.
func TestRenderStops(t *testing.T) {
	messages := []Message{{Role: User, Text: []byte("q")}, {Role: Assistant, Text: []byte("a"), Learn: true},
		{Role: User, Text: []byte("r")}}
	for _, k := range known {
		f := For(k.tokens)
		whole := render(t, f, messages)
		for n := 1; n <= len(whole); n++ {
			var got []Piece
			f.Render(&Conversation{Messages: messages})(func(p Piece, err error) bool {
				if len(got) == n || err != nil {
					t.Fatalf("%s: a piece behind the last of %d, %v", f.Name(), n, err)
				}
				p.Text = bytes.Clone(p.Text)
				got = append(got, p)
				return len(got) < n
			})
			if len(got) != n || !slices.EqualFunc(got, whole[:n], func(a, b Piece) bool {
				return string(a.Text) == string(b.Text) && a.Token == b.Token && a.Counted == b.Counted
			}) {
				t.Errorf("%s: %d of %d pieces", f.Name(), len(got), n)
			}
		}
	}
}

// TestQuote writes strings that Jinja must read back: it takes Python's escapes.
func TestQuote(t *testing.T) {
	for s, want := range map[string]string{"a": `'a'`, "it's\n": `'it\'s\n'`, `\n`: `'\\n'`, `"`: `'"'`} {
		if got := quote(s); got != want {
			t.Errorf("%q is written %s, want %s", s, got, want)
		}
	}
	template := For(vocabulary(llama3Tokens)).Template("<'s'>")
	if !strings.HasPrefix(template, `{{- '<\'s\'>' }}`+"\n") {
		t.Errorf("the start token is not quoted:\n%s", template)
	}
	if strings.Contains(For(vocabulary(llama3Tokens)).Template(""), "{{- '' }}") {
		t.Error("no start token is written as an empty string")
	}
}

package data

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	records "gimbal/internal/record"
	"gimbal/internal/tokenizer"
)

var writeDir = flag.String("write", "", "write the tokenizers for testdata/families.py into this folder")

// family is a template of ours that behaves as that of a family of models does.
type family struct {
	name, template string // with generation blocks
	BOS, EOS       string
	Specials       []string
	Right          []string // of these, those that take the white space behind them
	tok            *tokenizer.Tokenizer
}

// generationTag is what marks the assistant's words in a template.
var generationTag = regexp.MustCompile(`\{%-? *(end)?generation *-?%\}`)

func families(t testing.TB) (all []family) {
	t.Helper()
	raw, err := os.ReadFile("testdata/families.txt")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/conversations.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	docs := func(yield func([]byte, error) bool) { yield([]byte(strings.Repeat(string(text), 20)), nil) }
	bpe, _, err := tokenizer.TrainBPE(t.Context(), docs, tokenizer.TrainOptions{VocabSize: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range strings.Split("\n"+string(raw), "\n=== ")[1:] {
		head, template, _ := strings.Cut(section, "\n")
		name, spec, _ := strings.Cut(head, " ")
		f := family{name: name, template: template}
		if err := json.Unmarshal([]byte(spec), &f); err != nil {
			t.Fatal(err)
		}
		tok := bpe.WithSpecial(f.Specials...)
		file, err := tok.JSON()
		if err != nil {
			t.Fatal(err)
		}
		roles := tokenizer.Roles{BOS: -1, Size: tok.VocabSize()}
		roles.EOS, _ = tok.Added(f.EOS)
		if id, ok := tok.Added(f.BOS); ok && id != roles.EOS {
			roles.BOS = id
		}
		if f.tok, err = tokenizer.ParseAs(file, roles); err != nil {
			t.Fatal(err)
		}
		if *writeDir != "" {
			dir := filepath.Join(*writeDir, name)
			if err := os.MkdirAll(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), file, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, f)
	}
	return all
}

// format is the format of a family, with generation blocks or without.
func (f family) format(t testing.TB, tagged bool) *chat.Template {
	t.Helper()
	src := chat.Source{Template: f.template, Names: map[string]string{"eos_token": f.EOS}}
	if !tagged {
		src.Template = generationTag.ReplaceAllString(f.template, "")
	}
	if f.BOS != "" {
		src.Names["bos_token"] = f.BOS
	}
	for _, name := range append([]string{tokenizer.EndOfText}, f.Specials...) {
		id, _ := f.tok.Added(name)
		src.Specials = append(src.Specials, chat.Special{Name: name, ID: id, Right: slices.Contains(f.Right, name)})
	}
	format, err := chat.NewTemplate(src)
	if err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	return format
}

// writing is what transformers makes of a conversation.
type writing struct {
	IDs, Prompt       []int32
	Mask, Error, Text string
}

// goldenFamilies are the writings that testdata/families.py recorded, by family.
func goldenFamilies(t *testing.T) map[string][]writing {
	t.Helper()
	var golden struct{ Families map[string][]writing }
	raw, err := os.ReadFile("testdata/families.json")
	if err == nil {
		err = json.Unmarshal(raw, &golden)
	}
	if err != nil {
		t.Fatal(err)
	}
	return golden.Families
}

func conversationLines(t testing.TB) []string {
	t.Helper()
	raw, err := os.ReadFile("testdata/conversations.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSpace(string(raw)), "\n")
}

// TestFamilies compares the tokens of conversations and what counts with what transformers makes of them, for
// templates that behave as those of the families that people use; testdata/families.py recorded it. With generation
// blocks the mask is that of transformers. Without them it is the same but for answers that are left out, because the
// template writes them in another way once the conversation goes on.
func TestFamilies(t *testing.T) {
	all := families(t)
	if *writeDir != "" {
		return
	}
	lines, golden := conversationLines(t), goldenFamilies(t)
	known := 0
	for _, f := range all {
		for _, tagged := range []bool{true, false} {
			format := f.format(t, tagged)
			c := discover(t, corpus.Options{Shows: format.Shows, BadDocuments: "skip", BadShare: 1},
				write(t, t.TempDir(), "a.jsonl", strings.Join(lines, "")))
			s := prepare(t, c, f.tok, PrepareOptions{Start: "none", Format: format})
			left, d, at := s.Census().Read.Left, 0, int64(0)
			for i, line := range lines {
				want := golden[f.name][i]
				read := d < s.index.Len() && s.index.Ref(d).Offset == at
				if at += int64(len(line)); !read {
					lost := false // what the template has no place for
					for _, key := range []string{"tools", "tool_calls", "thinking"} {
						lost = lost || strings.Contains(line, `"`+key+`":`) && !format.Shows(key)
					}
					if want.Error == "" && !lost {
						t.Errorf("%s: conversation %d is refused: %v", f.name, i, s.Census().Read.Reasons)
					}
					continue
				}
				known++
				n := s.index.Tokens(d)
				ids := s.row(nil, d, 1, n+2)
				mask := ""
				for j := range ids {
					mask += map[bool]string{true: "1", false: "0"}[s.counts(d, int64(j)+1)]
				}
				if !strings.HasSuffix(want.Text, f.EOS) { // the document's own
					ids, mask = ids[:n], mask[:n]
				}
				d++
				got := strings.ReplaceAll(spelled(f.tok, ids), "|", "")
				out, same := leftOut(mask, want.Mask)
				left -= out
				switch {
				case want.Error != "":
					t.Errorf("%s: conversation %d is written, and transformers refuses it: %s", f.name, i, want.Error)
				case len(want.IDs) == 0: // text of a person that is a special token there
					if got != strings.ReplaceAll(want.Text, "|", "") && f.Right == nil {
						t.Errorf("%s: conversation %d is written\n%q, want\n%q", f.name, i, got, want.Text)
					}
				case !slices.Equal(ids, want.IDs):
					t.Errorf("%s: conversation %d: the tokens\n%s\nare in transformers\n%s", f.name, i, spelled(f.tok,
						ids),
						spelled(f.tok, want.IDs))
				case !same || tagged && out > 0:
					t.Errorf("%s: conversation %d, with blocks %v: of\n%s\nthis counts\n%s\nin transformers\n%s",
						f.name, i, tagged,
						spelled(f.tok, ids), mask, want.Mask)
				}
			}
			if left != 0 || d != s.index.Len() {
				t.Errorf("%s, with blocks %v: %d answers are said to be left out, %d too many", f.name, tagged,
					s.Census().Read.Left, left)
			}
		}
	}
	if known < 300 {
		t.Errorf("only %d conversations were compared", known)
	}
}

// leftOut returns how many runs of what counts a mask has not, and whether it is else the same and has the last one.
func leftOut(got, want string) (n int64, same bool) {
	if want == "" {
		return 0, true
	}
	for from := 0; from < len(want); {
		end := from + 1
		for end < len(want) && want[end] == want[from] {
			end++
		}
		if got[from:end] != want[from:end] {
			if n++; strings.Contains(got[from:end], "1") || !strings.Contains(want[end:], "1") {
				return n, false
			}
		}
		from = end
	}
	return n, len(got) == len(want)
}

// TestPrompt compares what is asked with what transformers asks: the conversation without its last message, and what
// begins the answer.
func TestPrompt(t *testing.T) {
	lines, golden := conversationLines(t), goldenFamilies(t)
	for _, f := range families(t) {
		format := f.format(t, false)
		for i, line := range lines {
			want := golden[f.name][i]
			p := records.New(records.Fields{}).Show(format.Shows)
			_, messages, err := p.Parse([]byte(line))
			if err != nil || want.Error != "" || len(want.IDs) == 0 {
				continue
			}
			c := chat.Conversation{Messages: messages[:len(messages)-1], More: p.More}
			got, err := chat.Encode(nil, f.tok, format.Prompt(&c))
			if err != nil || !slices.Equal(got, want.Prompt) {
				t.Errorf("%s: conversation %d is asked with\n%s\n%v; transformers\n%s", f.name, i, spelled(f.tok,
					got), err,
					spelled(f.tok, want.Prompt))
			}
		}
	}
}

// spelled is tokens as text.
func spelled(tok *tokenizer.Tokenizer, ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(tok.Name(id) + "|")
	}
	return b.String()
}

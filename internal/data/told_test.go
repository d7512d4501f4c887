package data

import (
	"fmt"
	"strings"
	"testing"

	"gimbal/internal/corpus"
)

// tellings prepares files, with %d in a name for 30 of them, and returns the warnings.
func tellings(t *testing.T, separator, name, content string) string {
	t.Helper()
	dir := t.TempDir()
	if !strings.Contains(name, "%d") {
		write(t, dir, name, content)
	} else {
		for i := range 30 {
			write(t, dir, fmt.Sprintf(name, i), fmt.Sprint(i, " ", content))
		}
	}
	s := prepare(t, discover(t, corpus.Options{Separator: separator}, dir), nil, PrepareOptions{ValFraction: 0.1})
	var told []string
	for _, f := range s.Findings() {
		if f.Warn {
			told = append(told, f.Text+"; "+f.Advice)
		}
	}
	return strings.Join(told, "\n")
}

// The run names marks of other programs that stay plain text, with what to do; a few of them are no matter.
func TestMarksAreTold(t *testing.T) {
	repeat := func(what string) string { return strings.Repeat("a story is told. "+what+" ", 40) }
	const cut, records = "data.separator=", "take it out of the records"
	for _, c := range []struct{ name, content, mark, advice string }{
		{"t%d.txt", repeat("<|endoftext|>"), "<|endoftext|>", cut},
		{"all.txt", repeat("<|endoftext|>"), "<|endoftext|>", cut}, // the tokenizer's own, too: told once
		{"t%d.txt", repeat("</s>"), "</s>", cut},
		{"t%d.txt", "once at the end <|eot_id|>", "<|eot_id|>", cut},
		{"all.txt", repeat("<eos>"), "<eos>", cut},
		{"all.jsonl", strings.Repeat("{\"text\": \"some text</s>\"}\n", 30), "</s>", records},
		{"all.jsonl", strings.Repeat(`{"messages":[{"role":"user","content":"q"},`+
			`{"role":"assistant","content":"a<|im_end|>"}]}`+"\n", 30), "<|im_end|>", records},
		{"t%d.txt", "nothing of the kind < | >", "", ""},
		{"all.txt", strings.Repeat("they write </s> now and then. ", 3), "", ""},
	} {
		told := tellings(t, "", c.name, c.content)
		once := strings.Count(told, "\n") == 0
		if c.mark == "" && told != "" || !once || !strings.Contains(told, c.mark) || !strings.Contains(told, c.advice) {
			t.Errorf("%s with %q: %q", c.name, c.mark, told)
		}
	}
	if told := tellings(t, "<|endoftext|>", "all.txt", repeat("<|endoftext|>")); told != "" {
		t.Errorf("a mark that is cut at is told: %s", told)
	}
}

// The run names a separator that cuts nothing, with the one that was meant where that can be seen.
func TestSeparatorIsTold(t *testing.T) {
	for _, c := range []struct{ separator, name, content, told string }{
		{"\n\n", "t%d.txt", "a\n\nb", ""},
		{"\n", "t%d.txt", "one line with its end\n", ""}, // it takes the newline away
		{"---", "t%d.txt", "a\n\nb", `data.separator --- cuts none of 30 text files`},
		{"---", "a.txt", "a\n\nb", `none of 1 text file`},
		{`\n\n`, "t%d.txt", "a\n\nb", `--set 'data.separator="\n\n"'`},
		{`\n---\n`, "a.txt", "a\n---\nb", `in the text 1 time`},
		{"\n\n", "t%d.txt", "a\r\n\r\nb", `--set 'data.separator="\r\n\r\n"'`},
		{`\n\n`, "t%d.txt", "a\r\n\r\nb", `--set 'data.separator="\r\n\r\n"'`},
		{`\n\n`, "a.txt", "a", `data.separator \n\n cuts none of 1 text file: it has a backslash`},
		{"\n\n", "a.jsonl", "{\"text\": \"a\\n\\nb\"}\n", "only records"},
		{"", "t%d.txt", "a", ""},
	} {
		told := tellings(t, c.separator, c.name, c.content)
		if c.told == "" && told != "" || !strings.Contains(told, c.told) {
			t.Errorf("separator %q in %s: told %q, want %q", c.separator, c.name, told, c.told)
		}
	}
}

// Text that other programs have mangled is reported, whatever its format; sound text in other languages is not.
func TestMangledTextIsTold(t *testing.T) {
	repeat := func(text string) string { return strings.Repeat(text, 40) }
	for _, c := range []struct{ name, content, told string }{
		{"t%d.txt", repeat("Itâ€™s a cafÃ©. "), `look encoded twice, such as â€™ for ’`},
		{"all.jsonl", repeat(`{"text":"Itâ€™s"}` + "\n"), `of 40 words beyond ASCII, 40 look encoded twice`},
		{"all.jsonl", repeat(`{"messages":[{"role":"user","content":"q"},` +
			`{"role":"assistant","content":"Itâ€™s"}]}` + "\n"), "look encoded twice"},
		{"t%d.txt", repeat("РџСЂРёРІРµС‚, РјРёСЂ! "), "for Привет"},
		{"t%d.txt", repeat("It’s a café; Привет, мир! Дії і Ці. Ã is a letter. "), ""},
		{"t%d.txt", repeat("caf\uFFFD "), "which stands for characters that were lost, comes 1,200 times in 30 of 30"},
		{"t%d.txt", repeat("锟斤拷 "), "锟斤拷, which stands for"},
		{"all.txt", repeat("a\r\nb\n"), "40 of 80 lines looked at end with CR LF"},
		{"all.txt", repeat("a\r\n"), ""}, // told, and no warning
		{"all.txt", repeat("a\n") + "b\r\n", ""},
		{"all.txt", "caf\uFFFD", ""},
	} {
		if told := tellings(t, "", c.name, c.content); c.told == "" && told != "" || !strings.Contains(told, c.told) {
			t.Errorf("%s with %q: told %q, want %q", c.name, c.content[:20], told, c.told)
		}
	}
}

// Documents that teach nothing are counted; it is a warning where they are most.
func TestEmptyDocumentsAreTold(t *testing.T) {
	s := prepareTexts(t, []string{"some text", "", "x", "", "more text", "and more"}, PrepareOptions{ValFraction: 0.1})
	f := s.Findings()
	const want = "of 6 documents, too short to teach anything: 2 empty, 1 of one token; "
	if len(f) != 1 || f[0].Warn || !strings.Contains(f[0].Text, want) ||
		!strings.Contains(f[0].Text, "docs.jsonl") {
		t.Errorf("%+v", f)
	}
	f = prepareTexts(t, []string{"some text", "", "", "x"}, PrepareOptions{ValFraction: 0.1}).Findings()
	if len(f) != 1 || !f[0].Warn {
		t.Errorf("most are empty: %+v", f)
	}
}

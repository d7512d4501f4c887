package corpus

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	aPair    = `{"instruction":"q","input":"","output":"a"}`
	spelled  = "[user: q][assistant*: a]"
	aMessage = `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`
)

// TestRecordsByContent reads records whatever a file is called, and takes text for text.
func TestRecordsByContent(t *testing.T) {
	const prose = "{braces} and \"quotes\" are text"
	pretty := "{\n  \"name\": \"x\",\n  \"files\": [{\"path\": \"a\"}]\n}\n"
	for _, c := range []struct {
		name, content string
		want          []string
		chat          bool
	}{
		{"a.json", "[" + aPair + "," + aPair + "]", []string{spelled, spelled}, true},
		{"a.json", "\xEF\xBB\xBF[\n\t" + aMessage + "\n]\n", []string{spelled}, true},
		{"a.json", aPair + "\n" + aPair + "\n", []string{spelled, spelled}, true},
		{"a.json", `{"text":"one"}`, []string{"one"}, false},
		{"a.json", "{\n\"text\":\n\"one\"}\n{\"text\":\"two\"}", []string{"one", "two"}, false},
		{"a.jsonl", "[" + aPair + "]", []string{spelled}, true},
		{"a.txt", "[" + aPair + "]", []string{spelled}, true},
		{"data", `{"text":"one"}` + "\n" + `{"text":"two"}`, []string{"one", "two"}, false},
		{"a.csv", "id,text\n1,one\n2,\"two\nlines\"\n", []string{"one", "two\nlines"}, false},
		{"a.csv", "\xEF\xBB\xBFtext\r\none\r\n", []string{"one"}, false},
		{"a.CSV", "prompt;completion\nq;a\n", []string{spelled}, true},
		{"a.tsv", "question\tid\tanswer\nq\t1\ta\n", []string{spelled}, true},
		{"a.tab", "text\tid\n", nil, false},
		{"a.txt", "instruction,input,output\nq,,a\nq,,a\n", []string{spelled, spelled}, true},
		// What is text stays text.
		{"package.json", pretty, []string{pretty}, false},
		{"tsconfig.json", "{ // comments\n}", []string{"{ // comments\n}"}, false},
		{"map.json", `{"type":"FeatureCollection","features":[{"type":"Feature"}]}`,
			[]string{`{"type":"FeatureCollection","features":[{"type":"Feature"}]}`}, false},
		{"a.txt", prose, []string{prose}, false},
		{"a.txt", "[Illustration: a cat]\n\nIt sat.", []string{"[Illustration: a cat]\n\nIt sat."}, false},
		{"a.txt", "prompt, completion\n\nThis is about them.", []string{"prompt, completion\n\nThis is about them."}, false},
		{"a.md", "id,text\n1,one\n2,two\n", []string{"id,text\n1,one\n2,two\n"}, false},
		{"a.go", "{}\n{}", []string{"{}\n{}"}, false},
		{"a.txt", `{"text":"one"}` + "\nand prose", []string{`{"text":"one"}` + "\nand prose"}, false},
	} {
		dir := t.TempDir()
		corpus := discover(t, Options{}, write(t, dir, c.name, c.content))
		got, refs, err := readAll(corpus, new(Tally))
		if err != nil || !slices.Equal(got, c.want) || corpus.HasChat() != c.chat {
			t.Errorf("%s %q: %q, chat %v, %v, want %q", c.name, c.content, got, corpus.HasChat(), err, c.want)
			continue
		}
		for i, ref := range refs { // a document can be found again
			if at := c.content[ref.Offset:]; corpus.Sources[0].kind.isRecords() &&
				!strings.ContainsAny(at[:ref.Length], "{\",;\t") && at[:ref.Length] != "one\r\n" {
				t.Errorf("%s: document %d is said to be %q", c.name, i, at[:ref.Length])
			}
		}
		// The same packed.
		packed := discover(t, Options{}, write(t, dir, c.name+".gz", string(packed(t, gz, []byte(c.content)))))
		if again, _, err := readAll(packed, new(Tally)); err != nil || !slices.Equal(again, c.want) {
			t.Errorf("%s.gz: %q, %v", c.name, again, err)
		}
	}
}

// TestNoRecords leaves out of a folder what holds data and no records that are known, tells it with its keys, and
// refuses it where it is named. data.fields may know better.
func TestNoRecords(t *testing.T) {
	for _, c := range []struct {
		name, content, want string
		fields              []string
	}{
		{"a.json", `[{"body":"x","id":1}]`, `its keys are "body", "id"`, []string{"text=body"}},
		{"a.json", "{\"body\":\"x\"}\n{\"body\":\"y\"}\n", `its keys are "body"`, []string{"text=body"}},
		{"a.json", `{"version":1,"data":[` + aPair + `]}`, "records inside an object", nil},
		{"a.json", `["a","b"]`, "no objects", nil},
		{"a.json", `[1,2,3]`, "no objects", nil},
		{"a.ipynb", `{"cells":[],"nbformat":4}`, "notebook", nil},
		{"a.csv", "name,body\na,b\n", `its columns are "name", "body"`, []string{"text=body"}},
		{"a.tsv", "1\t2\n3\t4\n", `its columns are "1", "2"`, []string{"text=2"}},
		{"a.json", `[{'text':'x'}]`, "broken JSON", nil},
	} {
		dir := t.TempDir()
		path := write(t, dir, c.name, c.content)
		_, err := Discover([]string{path}, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s: %v, want %q", c.content, err, c.want)
		}
		write(t, dir, "b.txt", "text")
		corpus := discover(t, Options{}, dir)
		told := false
		for _, f := range corpus.Findings() {
			told = told || f.Warn && strings.Contains(f.Text+f.Advice, c.want) && strings.Contains(f.Text, c.name)
		}
		if texts, _, err := readAll(corpus, nil); err != nil || !slices.Equal(texts, []string{"text"}) || !told {
			t.Errorf("%s in a folder: %q, %v, told: %+v", c.content, texts, err, corpus.Findings())
		}
		if c.fields != nil {
			corpus := discover(t, Options{Fields: c.fields}, path)
			if texts, _, err := readAll(corpus, new(Tally)); err != nil || len(texts) == 0 || len(texts[0]) != 1 {
				t.Errorf("%s with %q: %q, %v", c.content, c.fields, texts, err)
			}
		}
	}
}

// TestTakenIsTold tells what is read otherwise than its name says, and a setting that nothing uses.
func TestTakenIsTold(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.json", "["+aPair+"]")
	write(t, dir, "b.json", "{\"name\": \"x\"}")
	write(t, dir, "c.jsonl", aPair)
	write(t, dir, "d.txt", "text")
	write(t, dir, "e.log", `{"level":"info"}`+"\n"+`{"level":"warn"}`)
	f := discover(t, Options{}, dir).Findings()
	if len(f) != 2 || f[0].Warn || f[1].Warn || !strings.Contains(f[0].Text, "as records by their content: 1") ||
		!strings.Contains(f[0].Text, "a.json") || !strings.Contains(f[1].Text, "no records: 2") ||
		!strings.Contains(f[1].Text, "b.json") {
		t.Errorf("%+v", f)
	}
	f = discover(t, Options{Fields: []string{"text=x"}}, filepath.Join(dir, "d.txt")).Findings()
	if len(f) != 1 || !f[0].Warn || !strings.Contains(f[0].Text, "no file has records") {
		t.Errorf("%+v", f)
	}
	if _, err := Discover([]string{dir}, Options{Fields: []string{"body"}}); err == nil ||
		!strings.Contains(err.Error(), "data.fields") {
		t.Errorf("%v", err)
	}
}

// TestBrokenValues names the line of what is wrong, and skips what can be skipped.
func TestBrokenValues(t *testing.T) {
	good := `{"text":"good"}`
	for _, c := range []struct {
		name, content, want string
		left                int // documents when broken ones are skipped; -1: it stays an error
	}{
		{"a.json", "[" + good + ",\n\n 7,\n" + good + "]", ":3:1: not a JSON object", 2},
		{"a.json", "[" + good + ",\n{\"text\":\n  7},\n" + good + "]", ":3:3: \"text\" is not a string", 2},
		{"a.json", "[" + good + ",\n{\"text\":\"x\"", ":2:1: the file ends inside its records", 1},
		{"a.json", "[" + good + "\n" + good + "]", ":2:1: no comma", -1},
		{"a.json", "[" + good + "]\n" + good, ":2:1: more data", -1},
		{"a.csv", "text,id\ngood,1\nx\ngood,2\n", ":3:1: broken row", 2},
		{"a.csv", "text,id\ngood,1\nx\"y,1\ngood,2\n", ":3:2: broken row: bare", 2},
	} {
		path := write(t, t.TempDir(), c.name, c.content)
		_, _, err := readAll(discover(t, Options{}, path), nil)
		if err == nil || !strings.Contains(err.Error(), path+c.want) {
			t.Errorf("%q: %v, want %q", c.content, err, c.want)
		}
		var counts Tally
		texts, _, err := readAll(discover(t, Options{BadDocuments: "skip"}, path), &counts)
		if (err != nil) != (c.left < 0) || err == nil && (len(texts) != c.left || counts.Bad != 1) {
			t.Errorf("%q: skipping gave %q, %+v, %v", c.content, texts, counts, err)
		}
	}
}

// TestConversationsInTables reads conversations from columns: nested ones, pairs, and those that data.fields names.
func TestConversationsInTables(t *testing.T) {
	path := filepath.Join("..", "parquet", "testdata", "chats.parquet")
	for fields, want := range map[string][]string{
		"": {"[system: s][user: q0][assistant*: a0]",
			"[user: q1][assistant: b][user: r][assistant*: a1]"},
		"prompt=ask,completion=answer": {"[system: s][user: x0][assistant*: y0]", "[user: x1][assistant*: y1]"},
		"text=ask":                     {"x0", "x1", "x2"},
	} {
		opt := Options{}
		if fields != "" {
			opt.Fields = []string{fields}
		}
		c := discover(t, opt, path)
		var counts Tally
		texts, _, err := readAll(c, &counts)
		if err != nil || !slices.Equal(texts, want) || c.HasChat() != (fields != "text=ask") {
			t.Errorf("%q: %q, %v, want %q", fields, texts, err, want)
		}
		if fields == "" && (counts.Nulls != 1 || counts.Ignored["name"] != 1 || counts.Answers != 2) {
			t.Errorf("%+v", counts)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
}

// TestTally counts empty answers and what does not count, and warns above one in a hundred.
func TestTally(t *testing.T) {
	answer := func(text, rest string) string {
		return `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"` + text + `"` + rest + `}]}` + "\n"
	}
	for _, c := range []struct {
		empty, off int
		warn       bool
	}{{1, 1, false}, {2, 2, true}, {0, 0, false}, {100, 0, true}, {0, 100, true}} {
		content := strings.Repeat(answer(`\n `, ""), c.empty) + strings.Repeat(answer("x", `,"weight":0`), c.off) +
			strings.Repeat(answer("x", `,"name":"n"`), 150)
		var counts Tally
		texts, _, err := readAll(discover(t, Options{}, write(t, t.TempDir(), "a.jsonl", content)), &counts)
		if err != nil || len(texts) != 150+c.empty || counts.Empty != int64(c.empty) || counts.Uncounted != int64(c.off) ||
			counts.Answers != int64(150+c.empty) || counts.Ignored["name"] != 150 {
			t.Errorf("%+v: %d texts, %+v, %v", c, len(texts), counts, err)
		}
		counts.Lost = int64(c.empty) // of 150 conversations and more
		for _, f := range counts.Findings(int64(len(texts))) {
			if info := strings.Contains(f.Text, `"name" (150 times)`); f.Warn != (c.warn && !info) {
				t.Errorf("%+v: %+v", c, f)
			}
		}
	}
}

// TestEmptyAnswers: an answer that calls a tool is not empty; of a preference both answers may be.
func TestEmptyAnswers(t *testing.T) {
	call := `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"tool_calls":[{"name":"f"}]}]}`
	pair := `{"prompt":"q","chosen":"%s","rejected":"%s"}` + "\n"
	shows := func(key string) bool { return key == "tool_calls" }
	for name, c := range map[string]struct {
		text            string
		opt             Options
		empty, rejected int64
	}{
		"a call": {call, Options{Shows: shows}, 0, 0},
		"pairs": {fmt.Sprintf(pair, "a", "") + fmt.Sprintf(pair, "", "b") + fmt.Sprintf(pair, "a", " "),
			Options{Pairs: true}, 1, 2},
	} {
		var counts Tally
		_, _, err := readAll(discover(t, c.opt, write(t, t.TempDir(), "a.jsonl", c.text)), &counts)
		if err != nil || counts.Empty != c.empty || counts.NoRejected != c.rejected || counts.Answers == 0 {
			t.Errorf("%s: %+v, %v", name, counts, err)
		}
		found := counts.Findings(counts.Answers)
		if told := c.rejected > 0 && strings.HasPrefix(found[1].Text, "2 rejected answers of 3 pairs"); len(found) > 0 != told {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

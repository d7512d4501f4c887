package corpus

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestChat(t *testing.T) {
	for _, c := range [][2]string{
		{`{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi"},` +
			`{"role":"assistant","content":"ho"}]}`,
			"[system: be brief][user: hi][assistant*: ho]"},
		{`{"id":7, "messages" : [ {"content":"a\n\u00e9\"","name":"x","role":"assistant"} ], "source":{"messages":[]}}`,
			"[assistant*: a\né\"]"},
		{`{"prompt":"q","completion":"a"}`, "[user: q][assistant*: a]"},
		{`{"completion":"","prompt":""}`, "[user: ][assistant*: ]"},
		{`{"prompt":[{"role":"user","content":"q"},{"role":"assistant","content":"before"},{"role":"user","content":"r"}],` +
			`"completion":[{"role":"assistant","content":"a"}]}`,
			"[user: q][assistant: before][user: r][assistant*: a]"},
		{`{"prompt":"q","prompt_id":"1","messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`,
			"[user: q][assistant*: a]"},
		{`{"text":"plain","prompt":{"not":["a","prompt"]}}`, "plain"},
		{`{"messages":[{"role":"tool","content":"4"},{"role":"assistant","content":"four","tool_calls":null}]}`,
			"[tool: 4][assistant*: four]"},
		{`{"me\u0073sages":[{"r\u006fle":"us\u0065r","content":"x\u0079"},{"role":"assistant","content":"z"}]}`,
			"[user: xy][assistant*: z]"},
	} {
		line, want := c[0], c[1]
		got, _, err := readAll(discover(t, Options{}, write(t, t.TempDir(), "a.jsonl", line)), new(Tally))
		if err != nil || !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, %v, want %q", line, got, err, want)
		}
	}
}

func TestChatErrors(t *testing.T) {
	for _, c := range []struct {
		line string
		byte int64
		want string
	}{
		{`{"messages":[]}`, 1, "without an answer of the assistant"},
		{`{"messages":[{"role":"user","content":"a"}]}`, 1, "without an answer of the assistant"},
		{`{"messages":{}}`, 13, "not an array of messages"},
		{`{"messages":["hi"]}`, 14, "a message is not an object"},
		{`{"messages":[{"role":"asistant","content":"a"}]}`, 22, "none of system, user, assistant, tool"},
		{`{"messages":[{"role":7,"content":"a"}]}`, 22, "none of system"},
		{`{"messages":[{"role":"user"}]}`, 14, "without \"role\" or \"content\""},
		{`{"messages":[{"content":"x"}]}`, 14, "without \"role\" or \"content\""},
		{`{"messages":[{"role":"user","content":null}]}`, 39, "\"content\" is not a string"},
		{`{"messages":[{"role":"user","content":[{"type":"text"}]}]}`, 40, "a part without \"text\""},
		{`{"messages":[{"role":"user","role":"user","content":""}]}`, 29, "a second \"role\""},
		{`{"messages":[{"role":"user","content":"","content":""}]}`, 42, "a second \"content\""},
		{`{"messages":[{"role":"assistant","content":"","tool_calls":[{"id":1}]}]}`, 60, "\"tool_calls\" is not supported"},
		{`{"messages":[],"messages":[]}`, 16, "a second \"messages\""},
		{`{"prompt":"a"}`, 1, "no \"text\", \"messages\""},
		{`{"completion":"a"}`, 1, "no \"text\", \"messages\""},
		{`{"prompt":7,"completion":"a"}`, 11, "\"prompt\" is neither a string nor an array"},
		{`{"text":"a","messages":[]}`, 1, "more than one of"},
		{`{"text":"a","prompt":"","completion":""}`, 1, "more than one of"},
		{`{"messages":[{"role":"user","content":"a"},]}`, 43, "invalid character ','"},
	} {
		path := write(t, t.TempDir(), "a.jsonl", "{\"text\":\"good\"}\n"+c.line+"\n")
		_, _, err := readAll(discover(t, Options{}, path), new(Tally))
		if fault := new(Error); !errors.As(err, &fault) || fault.Line != 2 || fault.Byte != c.byte ||
			!strings.Contains(fault.What, c.want) {
			t.Errorf("%s: %v, want byte %d, %q", c.line, err, c.byte, c.want)
		}
	}
}

func TestHasChat(t *testing.T) {
	chat := `{"messages":[{"role":"assistant","content":"a"}]}` + "\n"
	for content, want := range map[string]bool{
		chat: true, "{\"messages\":null}\n" + chat: true, "\xEF\xBB\xBF\n \n" + chat: true,
		"{\"text\":\"a\"}\n" + chat: false, "": false, "broken\n": false,
		`{"messages":[{"role":"assistant","content":"` + strings.Repeat("long ", 1<<20) + `"}]}`: true,
	} {
		if got := discover(t, Options{}, write(t, t.TempDir(), "a.jsonl", content)).HasChat(); got != want {
			t.Errorf("%.60q: %v", content, got)
		}
	}
}

// TestBudget skips broken lines: within the budget they are counted by reason, beyond it they are an error with the
// reasons, and in both cases every line is accounted for.
func TestBudget(t *testing.T) {
	var content strings.Builder
	for i := range 1000 {
		switch {
		case i%100 == 1:
			content.WriteString("7\n")
		case i%500 == 2:
			content.WriteString("{\"text\":7}\n")
		default:
			content.WriteString("{\"text\":\"x\"}\n")
		}
	}
	path := write(t, t.TempDir(), "a.jsonl", content.String())
	c := discover(t, Options{BadDocuments: "skip", BadShare: 0.02}, path)
	var counts Tally
	texts, _, err := readAll(c, &counts)
	if err != nil || int64(len(texts))+counts.Bad != 1000 || counts.Bad != 12 ||
		counts.Reasons["not a JSON object"] != 10 || counts.Reasons["\"text\" is not a string"] != 2 {
		t.Fatalf("%d documents, %+v, %v", len(texts), counts, err)
	}
	if err := c.WithinBudget(&counts, int64(len(texts))); err != nil {
		t.Error(err)
	}
	c.opt.BadShare = 0.001
	err = c.WithinBudget(&counts, int64(len(texts)))
	for _, want := range []string{"12 of 1000", "0.1 %", "10 times not a JSON object, 2 times", "a.jsonl:2:1",
		"data.bad_share to 0.012"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	for i := range 100 { // reasons are bounded
		if err := c.bad(&counts, &Error{What: strings.Repeat("x", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(counts.Reasons) > maxReasons+1 || counts.Reasons["other reasons"] == 0 {
		t.Errorf("%d reasons", len(counts.Reasons))
	}
}

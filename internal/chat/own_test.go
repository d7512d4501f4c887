package chat

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// own makes a format of a template, with two special tokens of turns, an end of text, and one that takes white space.
func own(t testing.TB, template string, more ...func(*Source)) *Template {
	t.Helper()
	src := Source{Template: template, Names: map[string]string{"eos_token": "<e>"},
		Specials: []Special{{Name: "<s>", ID: 1}, {Name: "<e>", ID: 2}, {Name: "<ee>", ID: 3},
			{Name: "<r>", ID: 4, Left: true, Right: true}}}
	for _, m := range more {
		m(&src)
	}
	f, err := NewTemplate(src)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// shown is pieces as text: a special token in ‹›, what counts in {}, and | before text that is encoded anew.
func shown(t testing.TB, f Format, c *Conversation) string {
	t.Helper()
	var b strings.Builder
	for p, err := range f.Render(c) {
		if err != nil {
			return err.Error()
		}
		text := string(p.Text)
		switch {
		case p.Token >= 0:
			text = "‹" + text + "›"
		case !p.Joined:
			text = "|" + text
		}
		if p.Counted {
			text = "{" + text + "}"
		}
		b.WriteString(text)
	}
	return b.String()
}

const plainTurns = `{% for m in messages %}{{ '<s>' + m.role + ':' + m.content + '<e>\n' }}{% endfor %}` +
	`{% if add_generation_prompt %}{{ '<s>assistant:' }}{% endif %}`

// TestTemplateCounts: what counts follows from generation blocks, or from what asks for an answer.
func TestTemplateCounts(t *testing.T) {
	user, answer := Message{Role: User, Text: []byte("q")}, Message{Role: Assistant, Text: []byte("a"), Learn: true}
	silent := Message{Role: Assistant, Text: []byte("z")}
	two := []Message{user, silent, user, answer}
	tagged := strings.ReplaceAll(plainTurns, `m.content + '<e>\n' }}`,
		`'' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}`+
			`{% endif %}{{ '<e>\n' }}`)
	thinks := strings.Replace(plainTurns, "m.content",
		"('T' if loop.last and m.role == 'assistant' else '') + m.content", 1)
	drops := strings.Replace(plainTurns, "'<s>assistant:'", "'<s>assistant:<r>'", 1)
	for name, c := range map[string]struct {
		template string
		messages []Message
		want     string
		left     int
	}{
		"prefixes": {plainTurns, two,
			"‹<s>›|user:q‹<e>›|\n‹<s>›|assistant:z‹<e>›|\n‹<s>›|user:q‹<e>›|\n‹<s>›|assistant:{a}{‹<e>›}|\n", 0},
		"blocks": {tagged, two,
			"‹<s>›|user:q‹<e>›|\n‹<s>›|assistant:z‹<e>›|\n‹<s>›|user:q‹<e>›|\n‹<s>›|assistant:{a}{‹<e>›}|\n", 0},
		"thoughts that go": {thinks, []Message{user, answer, user, answer},
			"‹<s>›|user:q‹<e>›|\n‹<s>›|assistant:a‹<e>›|\n‹<s>›|user:q‹<e>›|\n‹<s>›|assistant:{Ta}{‹<e>›}|\n", 1},
		"the last does not count": {thinks, []Message{user, answer, user, silent},
			"‹<s>›|user:q‹<e>›|\n‹<s>›|assistant:a‹<e>›|\n‹<s>›|user:q‹<e>›|\n‹<s>›|assistant:Tz‹<e>›|\n", 1},
		"a prompt that begins the answer": {drops, []Message{user, answer},
			"‹<s>›|user:q‹<e>›|\n‹<s>›|assistant:{a}{‹<e>›}|\n", 0},
		"an answer in parts": {strings.Replace(plainTurns, "m.content + '<e>",
			"m.content + '<ee>' + m.role + '<ee><e>", 1),
			[]Message{user, answer, user},
			"‹<s>›|user:q‹<ee>›|user‹<ee>›‹<e>›|\n‹<s>›|assistant:{a}{‹<ee>›}{|assistant}{‹<ee>›}{‹<e>›}|\n" +
				"‹<s>›|user:q‹<ee>›|user‹<ee>›‹<e>›|\n", 0},
		"another end where it ends": {strings.Replace(plainTurns, "+ '<e>\\n'", "+ ('<ee>' if loop.last else '<e>')",
			1),
			[]Message{user, answer, user, answer},
			"‹<s>›|user:q‹<e>›‹<s>›|assistant:a‹<e>›‹<s>›|user:q‹<e>›‹<s>›|assistant:{a}{‹<ee>›}", 1},
		"an end behind all": {strings.Replace(plainTurns, "{% if add", "{% if not add_generation_prompt %}{{ '<ee>' }}"+
			"{% endif %}{% if add", 1), []Message{user, answer, user, answer},
			"‹<s>›|user:q‹<e>›|\n‹<s>›|assistant:{a}{‹<e>›}|\n‹<s>›|user:q‹<e>›|\n‹<s>›|assistant:{a}{‹<e>›}|\n‹<ee>›", 0},
		"white space of a token": {strings.Replace(plainTurns, "m.role + ':'", "m.role + ' <r> '", 1), []Message{user},
			"‹<s>›|user‹<r>›|q‹<e>›|\n", 0},
		"the longest token": {strings.Replace(plainTurns, "m.role + ':'", "'<ee><ee'", 1), []Message{user},
			"‹<s>›‹<ee>›|<eeq‹<e>›|\n", 0},
	} {
		conversation := Conversation{Messages: c.messages}
		if got := shown(t, own(t, c.template), &conversation); got != c.want || conversation.Left != c.left {
			t.Errorf("%s: %q, %d left out, want %q, %d", name, got, conversation.Left, c.want, c.left)
		}
	}
	uneven := own(t, "{% generation %}{% endgeneration %}"+tagged)
	if got := shown(t, uneven, &Conversation{Messages: two}); !strings.Contains(got, "3 generation blocks for 2") {
		t.Errorf("blocks that are no answers: %q", got)
	}
}

// TestLostMessages: words that a template does not write are counted, and others are not, however they are written.
func TestLostMessages(t *testing.T) {
	say := func(role, text string) Message {
		return Message{Role: role, Text: []byte(text), Learn: role == Assistant}
	}
	turns := []Message{say("system", " be brief\n"), say(User, "q"), say(Assistant, "a"), say(User, "q \"2\""),
		say(Assistant, "b")}
	for name, c := range map[string]struct {
		content string
		want    []string // where all is written, and where what asks for an answer is
	}{
		"as they are":        {"m.content", nil},
		"trimmed":            {"m.content | trim", nil},
		"in JSON":            {"m.content | tojson", nil},
		"changed":            {"(m.content if m.role == 'assistant' else m.content | replace('e', '') | upper)", nil},
		"without the system": {"(m.content if m.role != 'system' else '')", []string{"system"}},
		"the last two":       {"(m.content if loop.revindex <= 2 else '')", []string{"system", User}},
		"by a default":       {"(m.content if m.role != 'system' else 'brief')", []string{"system"}},
	} {
		f := own(t, strings.Replace(plainTurns, "m.content", c.content, 1))
		conversation := Conversation{Messages: turns}
		for range f.Render(&conversation) {
		}
		if !slices.Equal(conversation.Lost, c.want) {
			t.Errorf("%s: %q are left out, want %q", name, conversation.Lost, c.want)
		}
	}
	f := own(t, strings.Replace(plainTurns, "m.content", "(m.content if m.role != 'system' else '')", 1))
	asked := Conversation{Messages: turns[:2]}
	for range f.Prompt(&asked) {
	}
	if !slices.Equal(asked.Lost, []string{"system"}) {
		t.Errorf("before an answer %q are left out", asked.Lost)
	}
}

// TestMarksThatAreLetters: marks of turns that the tokenizer does not have are told.
func TestMarksThatAreLetters(t *testing.T) {
	chatML := strings.NewReplacer("<s>", "<|im_start|>", "<e>", "<|im_end|>").Replace(plainTurns)
	const want = "does not have <|im_start|>, <|im_end|>, which become letters"
	if note := own(t, chatML).Note(); !strings.HasSuffix(note, want) {
		t.Error(note)
	}
	known := own(t, chatML, func(s *Source) {
		s.Specials = []Special{{Name: "<|im_start|>", ID: 1}, {Name: "<|im_end|>", ID: 2}}
	})
	for _, f := range []*Template{known, own(t, plainTurns)} {
		if note := f.Note(); strings.Contains(note, "letters") {
			t.Error(note)
		}
	}
}

// TestArguments: arguments of a call are written once, whether a record has an object or a string of JSON, as a template
// wants them.
func TestArguments(t *testing.T) {
	const head = `{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}<s>{% set a = c.function.arguments %}`
	const tail = `<e>{% endfor %}{% endfor %}`
	for name, c := range map[string]struct{ write, arguments, want string }{
		"as JSON":                {`{{ a | tojson }}`, `"{\"x\": \"é\\n\"}"`, `{"x": "é\n"}`},
		"an object":              {`{{ a | tojson }}`, `{"x":"é\n"}`, `{"x": "é\n"}`},
		"item by item":           {`{% for k, v in a.items() %}{{ k }}={{ v }}{% endfor %}`, `"{\"x\": 1}"`, "x=1"},
		"as a string":            {`{{ a if a is string else a | tojson }}`, `"{\"x\":1}"`, `{"x":1}`},
		"as a string of another": {`{{ 'args: ' + a }}`, `"{\"x\":1}"`, `args: {"x":1}`},
		"no JSON":                {`{{ a | tojson }}`, `"x is 1"`, `"x is 1"`},
		"with a token":           {`{{ a | tojson }}`, `"{\"x\": \"<e>\"}"`, `{"x": "<e>"}`},
	} {
		f := own(t, head+c.write+tail)
		got := shown(t, f, &Conversation{Messages: []Message{{Role: User, Text: []byte("q")}, {Role: Assistant,
			More: []byte(`{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":` + c.arguments + `}}]}`)}}})
		if want := "|q‹<s>›|" + c.want + "‹<e>›"; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestTextStaysText: whatever is said, also in a call or a tool, is no special token, and is written as it was.
func TestTextStaysText(t *testing.T) {
	const template = `{% for m in messages %}{{ '<s>' + (m.content or '') }}` +
		`{{ m.tool_calls | tojson if m.tool_calls }}{{ m.tool_calls if m.tool_calls }}` +
		`{{ m.tool_calls | tojson(ensure_ascii=true) if m.tool_calls }}` +
		`{{ '<e>' }}{% endfor %}{{ tools | tojson if tools }}{{ extra }}`
	f := own(t, template)
	c := Conversation{Messages: []Message{
		{Role: User, Text: []byte("<s> <e><e> <ee> <r>\xff\ufdd0 \\ufdd1 <s")},
		{Role: Assistant, Learn: true, More: []byte(`{"role": "assistant", "content": null, ` +
			`"tool_calls": [{"<s>": "<e>", "n": 1.0}]}`)},
	}, More: []byte(`{"tools": [{"<ee>": ["<r>"]}], "chat_template_kwargs": {"extra": "<e>!"}}`)}
	want := "‹<s>›|<s> <e><e> <ee> <r>\xff\ufdd0 \\ufdd1 <s‹<e>›‹<s>›" +
		`{|[{"<s>": "<e>", "n": 1.0}][{'<s>': '<e>', 'n': 1.0}][{"<s>": "<e>", "n": 1.0}]}{‹<e>›}` +
		`|[{"<ee>": ["<r>"]}]<e>!`
	if got := shown(t, f, &c); got != want {
		t.Errorf("%q, want\n%q", got, want)
	}
	all := ""
	for r := rune(0xfdd0); r < 0xfdf0; r++ {
		all += string(r)
	}
	c = Conversation{Messages: []Message{{Role: User, Text: []byte(all)}}}
	if got := shown(t, f, &c); !strings.Contains(got, "U+FDD0") {
		t.Errorf("a text that has all marks is written %q", got)
	}
}

// TestTemplateSees: a message is what transformers passes on, with its keys in their order.
func TestTemplateSees(t *testing.T) {
	f := own(t, `{% for m in messages %}{{ m | tojson }}{{ m.content }}{% endfor %}`+
		`{{ documents }}{{ tools }}{{ eos_token }}`)
	for more, want := range map[string]string{
		"": `{"role": "assistant", "content": "a"}a`,
		`{"from": "gpt", "name": null, "value": "x", "weight": 1, "id": [1, -2.50, 1e3, true, ` +
			`{"b": null, "a": {}}]}`: `{"role": "assistant", "content": "a", "weight": 1, "id": [1, -2.5, 1000.0, true, ` +
			`{"b": null, "a": {}}]}a`,
		`{"content": "x", "reasoning": "r", "role": "assistant"}`: `{"thinking": "r", "content": "a", "reasoning": "r", ` +
			`"role": "assistant", "reasoning_content": "r"}a`,
		`{"role": "assistant", "thinking": "t", "content": null, "reasoning_content": null}`: `{"role": "assistant", ` +
			`"thinking": "t", "reasoning_content": "t"}`,
		`{"role": "assistant", "n": 123456789012345678901234567890}`: "too large",
	} {
		m := Message{Role: Assistant, Text: []byte("a")}
		if more != "" {
			m.More = []byte(more)
		}
		got := strings.Trim(shown(t, f, &Conversation{Messages: []Message{m}}), "|")
		if got = strings.TrimSuffix(got, "NoneNone‹<e>›"); !strings.Contains(got, want) || want[0] == '{' &&
			got != want {
			t.Errorf("%s: %s, want %s", more, got, want)
		}
	}
	with := own(t, plainTurns, func(s *Source) { s.ToolUse = "{{ messages[0].content }}{{ tools[0] }}" })
	c := Conversation{Messages: []Message{{Role: User, Text: []byte("q")}}, More: []byte(`{"tools": ["t"]}`)}
	if got := shown(t, with, &c); got != "|qt" {
		t.Errorf("with tools: %q", got)
	}
	if !with.Shows("tools") || with.Shows("documents") || !own(t, plainTurns+"{# thinking #}").Shows("reasoning") {
		t.Error("what a template has a place for is another")
	}
}

// TestTemplateEnds: what ends an answer is a special token that follows it, or else the text that does.
func TestTemplateEnds(t *testing.T) {
	dated := own(t, plainTurns+"{{ strftime_now('%d %b %Y') }}")
	if note := dated.Note(); !strings.Contains(note, "2024-07-26") {
		t.Errorf("the date is not told: %s", note)
	}
	now := own(t, plainTurns+"{{ strftime_now('%d %b %Y') }}", func(s *Source) {
		s.Now = time.Date(2025, 1, 2, 0, 0, 0, 0, time.UTC)
	})
	c := Conversation{Messages: []Message{{Role: User, Text: []byte("q")}}}
	if got := shown(t, now, &c); !strings.HasSuffix(got, "02 Jan 2025") {
		t.Errorf("now: %q", got)
	}
	for template, want := range map[string]string{
		plainTurns: "[2] [2] \"\"",
		strings.Replace(plainTurns, "+ '<e>\\n'", "+ ('<ee>' if loop.last else '<e>')",
			1): `[3] [3] ""`,
		`{% for m in messages %}{{ ('## ' if m.role == 'user' else '>> ') + m.content + '\n' }}{% endfor %}`: `[] [] "##"`,
		`{% for m in messages %}{{ ('<s>' if m.role == 'user' else '<e>') + m.content + '\n' }}{% endfor %}`: `[1] [] ""`,
	} {
		f := own(t, template)
		if got := fmt.Sprintf("%v %v %q", f.TurnEnds(), f.ends, f.Stop()); got != want {
			t.Errorf("%s: %s, want %s", template, got, want)
		}
	}
	first, again := own(t, plainTurns), own(t, plainTurns)
	if first.Hash() == dated.Hash() || first.Hash() != again.Hash() {
		t.Error("the hash does not say which template it is")
	}
	_, err := NewTemplate(Source{Template: "{% for i in range(1000000000) %}{% endfor %}"})
	if !errors.Is(err, ErrLimit) {
		t.Errorf("a template without an end: %v", err)
	}
}

// TestPromptOfTheHouse: what asks for an answer is what stands before it in training.
func TestPromptOfTheHouse(t *testing.T) {
	for _, k := range known {
		f := For(k.tokens)
		for _, messages := range conversations(2) {
			asked := append(messages[:len(messages):len(messages)], Message{Role: Assistant, Text: []byte("\x00")})
			before, _, _ := strings.Cut(shown(t, f, &Conversation{Messages: asked}), "\x00")
			var got strings.Builder
			for p, err := range f.Prompt(&Conversation{Messages: messages}) {
				if err != nil || p.Counted {
					t.Fatalf("%v, %q counts: %v", err, p.Text, p.Counted)
				}
				got.Write(p.Text)
			}
			if want := strings.NewReplacer("|", "", "‹", "", "›", "", "{", "", "}",
				"").Replace(before); strings.ReplaceAll(
				got.String(), "|", "") != want {
				t.Fatalf("%s: %s is asked with %q, want %q", f.Name(), describe(messages), got.String(), want)
			}
		}
	}
}

// FuzzTemplate: whatever is said, the pieces of a conversation spell what was said, and no special token comes of it.
func FuzzTemplate(f *testing.F) {
	format := own(f, plainTurns)
	f.Add([]byte("q"), []byte("a"), []byte(`{"role": "user", "name": "<e>"}`), []byte(`{"tools": [1]}`))
	f.Add([]byte("<s>"), []byte("a<e>"), []byte(nil), []byte(nil))
	f.Add([]byte("<s><e>"), []byte("\xff<e\ufdd0>"), []byte(`[`), []byte(`{"tools": {"a": "\ud800"}}`))
	f.Fuzz(func(t *testing.T, question, answer, more, whole []byte) {
		if len(more) == 0 {
			more = nil
		}
		if len(whole) == 0 {
			whole = nil
		}
		c := Conversation{Messages: []Message{{Role: User, Text: question, More: more},
			{Role: Assistant, Text: answer, Learn: true}}, More: whole}
		text, counted, tokens := "", "", 0
		for p, err := range format.Render(&c) {
			if err != nil {
				return
			}
			if text += string(p.Text); p.Counted {
				counted += string(p.Text)
			}
			if p.Token >= 0 {
				tokens++
			}
		}
		want := "<s>user:" + string(question) + "<e>\n<s>assistant:" + string(answer) + "<e>\n"
		if strings.Contains(string(more), "content") || strings.Contains(string(more), "role") ||
			strings.Contains(string(more), "value") || strings.Contains(string(more), `\`) {
			return // which the template sees
		}
		if more == nil && text != want || tokens != 4 || counted != string(answer)+"<e>" {
			t.Fatalf("%q, counted %q, %d tokens", text, counted, tokens)
		}
	})
}

package record

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/chat"
)

// spell writes a conversation for comparison: "role: words", with a star where they are to be learned.
func spell(turns []chat.Message) string {
	var s strings.Builder
	for _, m := range turns {
		star := ""
		if m.Learn {
			star = "*"
		}
		s.WriteString("[" + m.Role + star + ": " + string(m.Text) + "]")
	}
	return s.String()
}

// read returns what a record holds, spelled.
func read(p *Parser, record string) (string, error) {
	text, turns, err := p.Parse([]byte(record))
	if turns != nil {
		return spell(turns), err
	}
	return string(text), err
}

// q is a question of which the answer is still to be written.
const q = `{"messages":[{"role":"user","content":"q"},`

func TestShapes(t *testing.T) {
	const pair = "[user: q][assistant*: a]"
	for _, c := range [][2]string{
		{`{"text":"plain","id":7,"label":0,"weight":0.5,"tools":[1]}`, "plain"},
		{`{"text":"plain","messages":null,"prompt":null,"completion":null}`, "plain"},
		{`{"prompt":"q","completion":"a"}`, pair},
		{`{"prompt":"q","response":"a"}`, pair},
		{`{"question":"q","answer":"a"}`, pair},
		{`{"question":"q","context":"c","answer":"a"}`, "[user: q\nc][assistant*: a]"},
		{`{"instruction":"q","output":"a"}`, pair},
		{`{"instruction":"q","input":"","output":"a"}`, pair},
		{`{"instruction":"q","input":null,"output":"a"}`, pair},
		{`{"output":"a\"\u00e9","input":"i\\n\n","instruction":"q\u0021"}`, "[user: q!\ni\\n\n][assistant*: a\"é]"},
		{`{"instruction":"q","context":"c","response":"a","category":"x"}`, "[user: q\nc][assistant*: a]"},
		{`{"instruction":"q","input":"","output":"a","system":"s","history":[],"tools":""}`, "[system: s]" + pair},
		{`{"conversations":[{"from":"system","value":"s"},{"from":"human","value":"q"},{"from":"gpt","value":"a"}]}`,
			"[system: s]" + pair},
		{`{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"b"},{"from":"tool","value":"4"},` +
			`{"from":"gpt","value":"a"}],"system":null,"system_prompt":"s"}`,
			"[system: s][user: q][assistant*: b][tool: 4][assistant*: a]"},
		{`{"conversations":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, pair},
		{q + `{"role":"assistant","content":[{"type":"text","text":"a"},{"text":"\"b","type":"text"}]}]}`,
			"[user: q][assistant*: a\"b]"},
		{`{"messages":" [{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"\\u0061\"}]"}`, pair},
		{q + `{"role":"assistant","content":[]}]}`, "[user: q][assistant*: ]"},
		{q + `{"role":"assistant","content":"a","tool_calls":null,"thinking":"","reasoning_content":null}]}`, pair},
		{q + `{"role":"assistant","content":"a"}],"tools":[],"weight":1,"label":"positive"}`, pair},
	} {
		if got, err := read(New(Fields{}), c[0]); err != nil || got != c[1] {
			t.Errorf("%s: %q, %v, want %q", c[0], got, err, c[1])
		}
	}
}

// TestCounts marks answers, and whole records, as not to be learned, in every spelling.
func TestCounts(t *testing.T) {
	two := func(first string) string {
		return q + `{"role":"assistant","content":"b"` + first + `},{"role":"user","content":"r"},` +
			`{"role":"assistant","content":"a"}]}`
	}
	for key, counts := range map[string]bool{
		`"weight":0`: false, `"weight":0.0`: false, `"train":false`: false, `"training":false`: false, `"label":false`: false,
		`"loss":false`: false, `"weight":false`: false, `"train":0`: false, `"weight":0e1`: false,
		`"weight":1,"train":false`: false, `"weight":1`: true, `"weight":1.0`: true, `"train":true`: true,
		`"label":true`: true, `"weight":null`: true, `"label":"x"`: true, `"name":"weight"`: true,
	} {
		star := ""
		if counts {
			star = "*"
		}
		want := "[user: q][assistant" + star + ": b][user: r][assistant*: a]"
		if got, err := read(New(Fields{}), two(","+key)); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", key, got, err, want)
		}
		// Of a whole record it is the same.
		_, err := read(New(Fields{}), `{"prompt":"q",`+key+`,"completion":"a"}`)
		if (err == nil) != counts || err != nil && err != ErrUncounted {
			t.Errorf("%s of a record: %v", key, err)
		}
	}
	if _, err := read(New(Fields{}), q+`{"role":"assistant","content":"a","weight":0}]}`); err != ErrUncounted {
		t.Errorf("nothing counts: %v", err)
	}
}

func TestRefused(t *testing.T) {
	answer := func(rest string) string { return q + `{"role":"assistant","content":"a",` + rest + `}]}` }
	system := `{"role":"system","content":"t"},{"role":"assistant","content":"a"}`
	pair := func(rest string) string { return `{"prompt":"q","completion":"a",` + rest + `}` }
	parts := func(parts string) string { return q + `{"role":"assistant","content":[` + parts + `]}]}` }
	for _, c := range [][2]string{
		{answer(`"weight":0.5`), `"weight" is 0.5: only 0 and 1`},
		{answer(`"weight":-1`), `"weight" is -1`},
		{answer(`"weight":"0"`), `"weight" is "0"`},
		{answer(`"train":"no"`), `"train" is "no"`},
		{answer(`"loss":[]`), `"loss" is []`},
		{answer(`"reasoning_content":"think"`), `"reasoning_content" is not supported`},
		{answer(`"thinking":"hm"`), `"thinking" is not supported`},
		{answer(`"function_call":{"name":"f"}`), `"function_call" is not supported`},
		{answer(`"value":"b"`), `a second "value"`},
		{answer(`"from":"gpt"`), `a second "from"`},
		{`{"messages":"[{\"role\":\"user\"}]"}`, `a message without "role"`},
		{`{"messages":"[{'role':'user'}]"}`, "broken JSON"},
		{`{"messages":"hello"}`, "not an array of messages"},
		{`{"messages":[{"speaker":"a","text":"b"}]}`, `a message without "role" or "content"`},
		{q + `{"from":"bot","value":"a"}]}`, `"from" is none of system, user, assistant, tool: it is "bot"`},
		{q + `{"role":7,"content":"a"}]}`, `"role" is none of system, user, assistant, tool`},
		{parts(`{}`), `a part without "text"`},
		{parts(`"a"`), "a part of a message is not an object"},
		{parts(`{"type":"image_url","image_url":{}}`), `a part of type "image_url"`},
		{parts(`{"type":"text","text":["a"]}`), "not one string"},
		{parts(`{"type":"text","text":"a","text":"b"}`), "not one string"},
		{pair(`"tools":[{}]`), `"tools" is not supported`},
		{pair(`"thinking":"hm"`), `"thinking" is not supported`},
		{pair(`"weight":0.5`), `"weight" is 0.5`},
		{pair(`"system":["s"]`), `"system" is not a string`},
		{pair(`"system":"s","system_prompt":"t"`), "more than one message of the system"},
		{`{"system":"s","messages":[` + system + `]}`, "more than one message of the system"},
		{`{"instruction":"q","output":"a","history":[["a","b"]]}`, `"history" is not supported`},
		{`{"instruction":"q","input":["i"],"output":"a"}`, `"input" is not a string`},
		{`{"text":"t","instruction":"q","output":"a"}`, `more than one of "text", and "instruction" with "output"`},
		{`{"messages":[],"conversations":[]}`, "more than one of"},
		{pair(`"response":"b"`), "more than one of"},
		{`{"body":"x"}`, `no "text", "messages"`},
		{`{}`, `no "text", "messages"`},
	} {
		record, want := c[0], c[1]
		_, err := read(New(Fields{}), record)
		if fault := new(Error); !errors.As(err, &fault) || !strings.Contains(fault.What, want) ||
			fault.Byte < 0 || fault.Byte >= int64(len(record)) {
			t.Errorf("%s: %v, want %q", record, err, want)
		}
	}
	for _, record := range []string{`{"text":null}`, `{"messages":null,"id":1}`, `{"prompt":"q","completion":null}`} {
		if _, err := read(New(Fields{}), record); err != ErrNull {
			t.Errorf("%s: %v", record, err)
		}
	}
	if _, err := read(New(Fields{}), `{"messages":[{"speaker":"a","text":"b"}]}`); err == nil ||
		err.(*Error).Advice != `its keys are "speaker", "text"` {
		t.Errorf("%v", err)
	}
	// The keys that are there are named, and how to name them.
	_, err := read(New(Fields{}), `{"body":"x","meta\u001b":{}}`)
	if e := err.(*Error); !strings.Contains(e.Advice, `its keys are "body", "meta\x1b": name what to read, such as `+
		`data.fields = "text=NAME"`) {
		t.Error(e.Advice)
	}
}

func TestIgnored(t *testing.T) {
	p := New(Fields{})
	_, err := read(p, `{"id":1,"messages":[{"role":"user","content":[{"type":"text","text":"q","cache":1}],"name":"ann",`+
		`"id":null,"weight":1},{"role":"assistant","content":"a","label":2}]}`)
	want := []string{"cache of a part", "name", "weight of user", "label"}
	if err != nil || !slices.Equal(p.Ignored, want) {
		t.Errorf("%q, %v, want %q", p.Ignored, err, want)
	}
}

func TestFields(t *testing.T) {
	for _, c := range []struct {
		items  []string
		record string
		want   string
	}{
		{[]string{"text=content"}, `{"content":"x","text":7}`, "x"},
		{[]string{"text=text"}, `{"text":"x","prompt":"q","completion":"a"}`, "x"},
		{[]string{"prompt=q , completion = a"}, `{"q":"x","a":"y","text":"z"}`, "[user: x][assistant*: y]"},
		{[]string{"prompt=q", "completion=a", "input=i", "system=s"}, `{"q":"x","a":"y","i":"z","s":"w","system":"v"}`,
			"[system: w][user: x\nz][assistant*: y]"},
		{[]string{"prompt=history,completion=thinking"}, `{"history":"x","thinking":"y"}`, "[user: x][assistant*: y]"},
		{[]string{"messages=dialog=1"}, `{"dialog=1":[{"from":"human","value":"x"},{"from":"gpt","value":"y"}]}`,
			"[user: x][assistant*: y]"},
	} {
		f, err := ParseFields(c.items, false)
		if err != nil {
			t.Errorf("%q: %v", c.items, err)
			continue
		}
		if got, err := read(New(f), c.record); err != nil || got != c.want {
			t.Errorf("%q: %s gives %q, %v, want %q", c.items, c.record, got, err, c.want)
		}
	}
	f, _ := ParseFields([]string{"text=content"}, false)
	if _, err := read(New(f), `{"text":"x"}`); err == nil ||
		!strings.Contains(err.Error(), `no "content", which data.fields names`) {
		t.Errorf("%v", err)
	}
	for items, want := range map[string]string{
		"text": "is not PART=KEY", "text=": "is not PART=KEY", "body=x": "is none of text", "text=a,text=b": "comes twice",
		"prompt=a": "needs prompt and completion", "completion=a": "needs prompt", "input=a,text=b": "needs prompt",
		"text=a,messages=b": "no other part", "messages=a,prompt=b,completion=c": "a record is", "system=s": "a record is",
		"": "is not PART=KEY",
	} {
		if f, err := ParseFields([]string{items}, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", items, f, err, want)
		}
	}
	if f, err := ParseFields(nil, false); err != nil || f != (Fields{}) {
		t.Errorf("%+v, %v", f, err)
	}
}

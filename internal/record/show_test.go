package record

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/strictjson"
)

// TestShow: what the template has a place for is kept as JSON, in its order; the rest is ignored or refused as without
// a template.
func TestShow(t *testing.T) {
	shows := func(keys ...string) func(string) bool {
		return func(key string) bool { return slices.Contains(keys, key) }
	}
	all := shows("tools", "documents", "tool_calls", "name", "reasoning_content")
	for _, c := range []struct {
		record, want, more string
		messages           []string // the JSON that is kept of each
		ignored            string
	}{
		{q + `{"role":"assistant","content":"a"}],"tools":[],"documents":null}`, "[user: q][assistant*: a]", "",
			[]string{"", ""}, ""},
		{`{"tools": [{"b":1.0, "a":"\u00e9"}] ,"x":1,"documents":"[{}]",` + q[1:] +
			`{"role":"assistant","content":"a"}],"chat_template_kwargs":{"enable_thinking":false}}`, "[user: q][assistant*: a]",
			`{"tools":[{"b":1.0, "a":"\u00e9"}],"documents":[{}],"chat_template_kwargs":{"enable_thinking":false}}`,
			[]string{"", ""}, ""},
		{q + `{"tool_calls":[{"z":1,"a":"\n"}] , "role":"assistant","content":null }, ` +
			`{"name":"f","role":"tool","content":"\u0034","id":7},` +
			`{"role":"assistant","content":[{"type":"text","text":"a"}],"reasoning_content":"r\t"} ]}`,
			"[user: q][assistant*: ][tool: 4][assistant*: a]", "", []string{"",
				`{"tool_calls":[{"z":1,"a":"\n"}] , "role":"assistant","content":null }`,
				`{"name":"f","role":"tool","content":"\u0034","id":7}`,
				`{"role":"assistant","content":[{"type":"text","text":"a"}],"reasoning_content":"r\t"}`}, "id"},
		{`{"conversations":[{"from":"human","value":"q","name":"n"},{"from":"gpt","value":"a"}],"system":"s"}`,
			"[system: s][user: q][assistant*: a]", "", []string{"", `{"from":"human","value":"q","name":"n"}`, ""}, ""},
	} {
		p := New(Fields{}).Show(all)
		record := []byte(c.record)
		_, turns, err := p.Parse(record)
		if err != nil || spell(turns) != c.want || string(p.More) != c.more || strings.Join(p.Ignored,
			" ") != c.ignored {
			t.Errorf("%s: %s, %v, more %s, ignored %v", c.record, spell(turns), err, p.More, p.Ignored)
			continue
		}
		clear(record) // what is kept does not lie in it
		for i, m := range turns {
			if string(m.More) != c.messages[i] || m.More != nil && !json.Valid(m.More) {
				t.Errorf("%s: message %d is kept as %s, want %s", c.record, i, m.More, c.messages[i])
			}
		}
	}
	for _, c := range []struct {
		shows        func(string) bool
		record, want string
	}{
		{nil, q + `{"role":"assistant","content":"a","tool_calls":[1]}]}`, "the assistant's words in it would be lost"},
		{shows("tools"), q + `{"role":"assistant","content":"a","tool_calls":[1]}]}`, "words in it would be lost"},
		{shows("tool_calls"), q + `{"role":"assistant","content":"a"}],"tools":[1]}`, `"tools" is not supported`},
		{all, q + `{"role":"assistant","content":"a"}],"history":[1]}`, `"history" is not supported`},
		{all, q + `{"role":"assistant","content":null}]}`, "a message says nothing: its content is null"},
		{nil, q + `{"role":"assistant","content":null,"name":"a"}]}`, `"content" is not a string`},
	} {
		if got, err := read(New(Fields{}).Show(c.shows), c.record); err == nil || !strings.Contains(err.Error(),
			c.want) {
			t.Errorf("%s: %q, %v, want %q", c.record, got, err, c.want)
		}
	}
}

// FuzzShow: what is kept is JSON, and the same text comes of a record with and without it.
func FuzzShow(f *testing.F) {
	for _, s := range []string{
		q +
			`{"tool_calls":[{"z":1,"a":"\n"}] , "role":"assistant","content":null },{"role":"assistant","content":"a"}]}`,
		`{"tools": "[1]x", ` + q[1:] + `{"role":"assistant","content":"a"}]}`,
		`{"tools": "[1]", "documents": {"a": 2},` + q[1:] + `{"role":"assistant","content":"a","x":1 }] }`,
		`{"prompt":[{"role":"user","content":"a","name":"b"}],"completion":"c","chat_template_kwargs":{}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		same := slices.Clone(line)
		_, turns, err := New(Fields{}).Parse(slices.Clone(line))
		want := spell(turns)
		p := New(Fields{}).Show(func(string) bool { return true })
		_, shown, again := p.Parse(line)
		if err == nil && again == nil && spell(shown) != want {
			t.Fatalf("%q: %s, without what is kept %s", same, spell(shown), want)
		}
		if again != nil {
			return
		}
		kept := [][]byte{p.More}
		for _, m := range shown {
			kept = append(kept, m.More)
		}
		for _, raw := range kept {
			r := strictjson.New(raw, strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
			if r.Value(); raw != nil && r.End() != nil {
				t.Fatalf("%q: %q is kept: %v", same, raw, r.End())
			}
		}
	})
}

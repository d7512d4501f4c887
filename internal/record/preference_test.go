package record

import (
	"strings"
	"testing"
)

// The layouts of preferences: strings with a prompt, answers as messages, and whole conversations that begin alike.
func TestPreferences(t *testing.T) {
	const good, bad = "[user: q][assistant*: a]", "[user: q][assistant*: b]"
	user, say := `{"role":"user","content":"q"}`, func(text string) string {
		return `{"role":"assistant","content":"` + text + `"}`
	}
	for _, c := range [][3]string{
		{`{"prompt":"q","chosen":"a","rejected":"b","messages":[],"score_chosen":8.5}`, good, bad},
		{`{"question":"q\u0021","chosen":"\u0061","rejected":"b","system":"s"}`, "[system: s][user: q!][assistant*: a]",
			"[system: s][user: q!][assistant*: b]"},
		{`{"prompt":[` + user + `],"chosen":[` + say("a") + `],"rejected":[` + say("b") + `]}`, good, bad},
		{`{"chosen":[` + user + "," + say("a") + `],"rejected":[` + user + "," + say("b") + `]}`, good, bad},
		{`{"prompt":"q","chosen":[` + user + "," + say("a") + `],"rejected":[` + user + "," + say("b") + `]}`, good,
			bad},
		{`{"prompt":"q","chosen":"[` + strings.ReplaceAll(say("a"), `"`, `\"`) + `]","rejected":"b"}`, good, bad}, // table
		{`{"chosen":[` + user + "," + say("x") + "," + user + "," + say("a") +
			`],"rejected":[` + user + "," + say("x") + "," + user + "," + say("b") + `]}`,
			"[user: q][assistant: x]" + good, "[user: q][assistant: x]" + bad},
		{`{"prompt":"[INST] q","chosen":"[{\"a\":1}]","rejected":"[1] b"}`, `[user: [INST] q][assistant*: [{"a":1}]]`,
			"[user: [INST] q][assistant*: [1] b]"},
	} {
		f, err := ParseFields(nil, true)
		if err != nil {
			t.Fatal(err)
		}
		p := New(f)
		if got, err := read(p, c[0]); err != nil || got != c[1] || spell(p.Rejected) != c[2] {
			t.Errorf("%s gives %q and %q, %v", c[0], got, spell(p.Rejected), err)
		}
	}
	f, err := ParseFields([]string{"prompt=ask,chosen=good,rejected=bad"}, true)
	if err != nil {
		t.Fatal(err)
	}
	p := New(f)
	if got, err := read(p, `{"ask":"q","good":"a","bad":"b","chosen":7}`); got != good || spell(p.Rejected) != bad {
		t.Errorf("%q, %v", got, err)
	}
	for _, c := range [][2]string{
		{`{"prompt":"q","chosen":"a","rejected":"a"}`, ErrSame.Error()},
		{`{"chosen":"a","rejected":"b"}`, "without a prompt"},
		{`{"prompt":"q","completion":"a"}`, `no "chosen" with "rejected"`},
		{`{"prompt":"q","chosen":null,"rejected":"a"}`, ErrNull.Error()},
		{`{"prompt":"z","chosen":[` + user + "," + say("a") + `],"rejected":[` + user + "," + say("b") + `]}`,
			"does not have the prompt"},
		{`{"chosen":[` + user + "," + say("a") + `],"rejected":[{"role":"user","content":"z"},` + say("b") + `]}`,
			"no prompt in common"},
		{`{"chosen":[` + user + "," + say("a") + `],"rejected":[` + user + `]}`, `"rejected" has no answer of its own`},
		{`{"chosen":[` + user + "," + user + `],"rejected":[` + user + "," + say("b") + `]}`,
			"do not answer the same prompt"},
		{`{"prompt":"q","chosen":[],"rejected":"b"}`, `"chosen" has no message`},
	} {
		if got, err := read(New(Fields{pairs: true}), c[0]); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %q, %v, want %q", c[0], got, err, c[1])
		}
	}
	for items, want := range map[string]string{"text=a": "may have prompt", "chosen=a": "has chosen and rejected"} {
		if _, err := ParseFields([]string{items}, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", items, err)
		}
	}
	if _, err := ParseFields([]string{"chosen=a,rejected=b"}, false); err == nil ||
		!strings.Contains(err.Error(), "train.objective=dpo") {
		t.Errorf("a preference without the objective: %v", err)
	}
	_, err = read(New(Fields{}), `{"prompt":"q","chosen":"a","rejected":"b"}`)
	if e, ok := err.(*Error); !ok || !strings.Contains(e.What, "is a preference") ||
		!strings.Contains(e.Advice, "dpo") {
		t.Errorf("a preference without the objective: %v", err)
	}
}

// FuzzPreference reads anything, and finds prompts that both sides share.
func FuzzPreference(f *testing.F) {
	f.Add([]byte(`{"prompt":"q","chosen":"a","rejected":"b"}`))
	f.Add([]byte(`{"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected":[` +
		`{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}`))
	f.Add([]byte(`{"prompt":[],"chosen":"[]","rejected":[{}],"system":"s"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		p := New(Fields{pairs: true})
		_, chosen, err := p.Parse(line)
		if err != nil {
			return
		}
		if p.Shared == 0 || p.Shared >= min(len(chosen), len(p.Rejected)) {
			t.Fatalf("%d messages are shared of %s and %s", p.Shared, spell(chosen), spell(p.Rejected))
		}
		for i, m := range chosen {
			if m.Learn != (i >= p.Shared && m.Role == "assistant") {
				t.Fatal(spell(chosen))
			}
		}
	})
}

package record

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"gimbal/internal/chat"
)

// FuzzJSONText compares with encoding/json, which replaces what is invalid, matches keys in any case and keeps the last
// of two.
func FuzzJSONText(f *testing.F) {
	for _, s := range []string{`{"text":"a"}`, `{"a":[1,2,{"b":null}],"text":"\ud83d\ude00\n"}`, `{"text":1}`,
		`{"text":"a"`, `{"text":"a"}x`,
		`{"a":-1.5e-7,"text":""}`, "{\"text\":\"\xff\"}", `{"text":"\ud800"}`, `[]`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		before := bytes.Clone(line)
		p := New(Fields{})
		got, chat, err := p.Parse(line)
		var fields map[string]json.RawMessage
		jerr := json.Unmarshal(before, &fields)
		if err != nil {
			fault := err.(*Error)
			if fault.Byte < 0 || fault.Byte > int64(len(before)) {
				t.Fatalf("fault at byte %d of %d", fault.Byte, len(before))
			}
			var want *string
			if jerr == nil && fields["text"] != nil && json.Unmarshal(fields["text"], &want) == nil && want != nil &&
				!strings.Contains(fault.What, "a second") && !strings.Contains(fault.What, "nested deeper") &&
				!strings.Contains(fault.What, "more than one of") {
				t.Fatalf("refused (%v) what encoding/json takes", err)
			}
			return
		}
		if jerr != nil {
			t.Fatalf("took what encoding/json refuses: %v", jerr)
		}
		if chat != nil {
			return // FuzzChat looks at these
		}
		var want string
		if err := json.Unmarshal(fields["text"], &want); err != nil {
			t.Fatal(err)
		}
		if utf8.Valid(before) && utf8.Valid(got) && want != string(got) {
			t.Fatalf("got %q, encoding/json %q", got, want)
		}
		if len(got) > len(before) {
			t.Fatalf("%d bytes out of %d", len(got), len(before))
		}
	})
}

// FuzzChat compares conversations with what encoding/json reads. It replaces invalid UTF-8, matches keys in any case
// and keeps the last of two, so that only lines without these are compared.
func FuzzChat(f *testing.F) {
	for _, s := range []string{
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b\n\u00e9"}]}`,
		`{"prompt":"a","completion":"b"}`,
		`{"prompt":[{"role":"user","content":"a"}],"completion":[{"role":"assistant","content":""}]}`,
		`{"messages":[{"role":"x","content":"a"}]}`,
		`{"messages":[{"content":"a","role":"assistant","tool_calls":[]}],"x":[{}]}`,
		`{"messages":[`, `{"messages":[{}]}`, `{"completion":[],"prompt":1}`,
	} {
		f.Add([]byte(s))
	}
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		before := bytes.Clone(line)
		p := New(Fields{})
		text, turns, err := p.Parse(line)
		if err != nil {
			if fault := err.(*Error); fault.Byte < 0 || fault.Byte > int64(len(before)) {
				t.Fatalf("fault at byte %d of %d", fault.Byte, len(before))
			}
			return
		}
		if !json.Valid(before) {
			t.Fatalf("took what is no JSON: %q", before)
		}
		if text != nil || turns == nil {
			return // FuzzJSONText looks at these
		}
		learn, size := false, 0
		for _, m := range turns {
			learn = learn || m.Learn
			size += len(m.Text)
			if !slices.Contains(chat.Roles, m.Role) || m.Learn && m.Role != chat.Assistant {
				t.Fatalf("%q: %s", before, spell(turns))
			}
		}
		if !learn || size > len(before) {
			t.Fatalf("%q: %s", before, spell(turns))
		}
		var fields struct {
			Messages []message `json:"messages"`
		}
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(before, &keys); err != nil || keys["messages"] == nil ||
			json.Unmarshal(before, &fields) != nil {
			return
		}
		lower := bytes.ToLower(before)
		if !json.Valid(bytes.ToValidUTF8(before, nil)) || bytes.ContainsAny(before, "\\\xED\xFF") ||
			bytes.Count(lower, []byte("role")) != len(fields.Messages) ||
			bytes.Count(lower, []byte("content")) != len(fields.Messages) || bytes.Count(lower, []byte("messages")) != 1 ||
			!bytes.Equal(lower, before) {
			return
		}
		if len(fields.Messages) != len(turns) {
			t.Fatalf("%q: %d messages, encoding/json %d", before, len(turns), len(fields.Messages))
		}
		for i, m := range fields.Messages {
			if turns[i].Role != m.Role || !bytes.Equal(bytes.ToValidUTF8(turns[i].Text, []byte("\uFFFD")),
				[]byte(m.Content)) && bytes.Equal(before, bytes.ToValidUTF8(before, nil)) {
				t.Fatalf("%q: message %d is %+v, encoding/json %+v", before, i, turns[i], m)
			}
		}
	})
}

package hub

import (
	"errors"
	"strings"
	"testing"

	"gimbal/internal/chat"
	"gimbal/internal/tokenizer"
)

// TestFormat: a model's conversations are written by its own template, with the names of its tokens from all files that
// have them; a template of gimbal's own stands for its format.
func TestFormat(t *testing.T) {
	tok := tokenizer.NewBytes().WithSpecial("<|im_start|>", "<|im_end|>", "<s>")
	raw, err := tok.JSON()
	if err != nil {
		t.Fatal(err)
	}
	house := chat.For(tok)
	strips := strings.Replace(string(raw), `"content": "<s>", "single_word": false, "lstrip": false, "rstrip": false`,
		`"content": "<s>", "single_word": false, "lstrip": true, "rstrip": true`, 1)
	single := strings.Replace(string(raw), `"content": "<s>", "single_word": false`,
		`"content": "<s>", "single_word": true`, 1)
	if strips == string(raw) || single == string(raw) {
		t.Fatal("the file has another form")
	}
	const conf = `{"bos_token": "<s>", "chat_template": [{"name": "default", "template": ` +
		`"{% for m in messages %}{{ bos_token + ' ' + m.content }}{% endfor %}{{ sep_token }}"}, ` +
		`{"name": "tool_use", "template": "{{ tools[0] }}"}, {"name": "rag", "template": "{% x %}"}]}`
	for name, c := range map[string]struct {
		files memory
		more  string
		want  string // pieces, a special token in ‹›; or the error
	}{
		"its own": {memory{tokConfigFile: []byte(conf),
			specialFile: []byte(`{"sep_token": {"content": "S"}, "bos_token": "x"}`)}, "", "‹<s>› qS"},
		"with tools":  {memory{tokConfigFile: []byte(conf)}, `{"tools": ["t"]}`, "t"},
		"white space": {memory{tokConfigFile: []byte(conf), tokenizerFile: []byte(strips)}, "", "‹<s>›q"},
		"a file of its own": {memory{tokConfigFile: []byte(conf), templateFile: []byte("{{ messages[0].content }}!" +
			"{{ messages[1].content if messages[1] }}")}, `{"tools": ["t"]}`, "q!"},
		"broken": {memory{templateFile: []byte("{{ x | y }}")}, "",
			`memory: chat_template.jinja: chat_template: the filter "y" is not known here`},
		"broken in a list": {memory{tokConfigFile: []byte(`{"chat_template": "{% x %}"}`)}, "",
			`memory: tokenizer_config.json: chat_template: "x" is not known here`},
		"words":                {memory{tokConfigFile: []byte(conf), tokenizerFile: []byte(single)}, "", "single_word"},
		"ours":                 {memory{templateFile: []byte(house.Template(tokenizer.EndOfText))}, "", "house"},
		"ours without a start": {memory{templateFile: []byte(house.Template(""))}, "", "house"},
	} {
		if c.files[tokenizerFile] == nil {
			c.files[tokenizerFile] = raw
		}
		said, err := readNames(c.files)
		if err != nil {
			t.Fatal(err)
		}
		f, err := said.format(c.files, tok)
		got := "house"
		switch bad := (*Error)(nil); {
		case err != nil && !errors.As(err, &bad):
			t.Errorf("%s: %T", name, err)
		case err != nil:
			got = err.Error()
		case f != nil:
			got = ""
			more := []byte(c.more)
			if c.more == "" {
				more = nil
			}
			for p, err := range f.Render(&chat.Conversation{Messages: []chat.Message{{Role: chat.User,
				Text: []byte("q")}},
				More: more}) {
				if err != nil {
					t.Fatal(err)
				}
				if p.Token >= 0 {
					got += "‹" + string(p.Text) + "›"
				} else {
					got += string(p.Text)
				}
			}
		}
		if got != c.want && !(err != nil && strings.Contains(got, c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

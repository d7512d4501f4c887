package plan

import (
	"strings"
	"testing"

	"gimbal/internal/tokenizer"
)

// TestTakeMarks: documents of a new run begin as the tokenizer file says, a setting wins and is told, and a run that
// goes on stays as it was.
func TestTakeMarks(t *testing.T) {
	own, err := tokenizer.NewBytes().WithSpecial("<|begin_of_text|>").JSON()
	if err != nil {
		t.Fatal(err)
	}
	const post = `{"type": "TemplateProcessing", "single": [` +
		`{"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}}, ` +
		`{"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}}`
	begins, err := tokenizer.Parse([]byte(strings.Replace(string(own), `"post_processor": null`, `"post_processor": `+post,
		1)))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := tokenizer.Parse(own)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		tok     *tokenizer.Tokenizer
		hash    string
		set     string
		start   string
		told    string
		changed bool // the file that is saved
	}{
		{"new", begins, "", "", "bos", `documents begin with "<|begin_of_text|>" and end with "<|endoftext|>"`, false},
		{"new, nothing first", plain, "", "", "eos", `documents begin with "<|endoftext|>"`, false},
		{"set", begins, "", "data.start=eos", "eos", "warning: documents begin with", true},
		{"set to none", begins, "", "data.start=none", "none", "warning: documents begin with no token", true},
		{"set to the same", begins, "", "data.start=bos", "bos", "", false},
		{"goes on", begins, "1234", "", "eos", "", false},
	} {
		settings := []string{"tokenizer.path=t.json"}
		if c.set != "" {
			settings = append(settings, c.set)
		}
		d := &Draft{Config: asked(t, settings...)}
		tok, err := d.takeMarks(c.tok, TextOptions{Hash: c.hash})
		if err != nil {
			t.Fatal(err)
		}
		told := strings.Join(d.Notes, "\n")
		if d.Config.Data.Start != c.start || !strings.HasPrefix(told, c.told) || (told == "") != (c.told == "") {
			t.Errorf("%s: data.start is %s, told %q", c.name, d.Config.Data.Start, told)
		}
		if changed := tok.Hash() != c.tok.Hash(); changed != c.changed {
			t.Errorf("%s: another tokenizer.json is saved: %v", c.name, changed)
		}
		if _, puts := tok.First(); puts && c.changed {
			t.Errorf("%s: tokenizer.json still puts a token first", c.name)
		}
	}
}

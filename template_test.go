package gimbal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal"
	"gimbal/internal/chat"
	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/hub"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
)

const (
	chatMLTemplate = `{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}` +
		`{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`
	systemTemplate = `{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}` +
		`{% endif %}` + chatMLTemplate
	macroTemplate = "{% import 'x' %}"
)

// TestTemplateIsKept: a model's own chat template writes conversations and stays byte for byte, in the file that had
// it. With data.template=builtin it is replaced where it writes something else, which is told.
func TestTemplateIsKept(t *testing.T) {
	plain := documents(t, `{"text": "a%"}`)
	chat := documents(t, `{"messages": [{"role": "user", "content": "q%"}, {"role": "assistant", "content": "a%"}]}`)
	const own, builtin = "the model's own chat template", "data.template=builtin"
	for name, c := range map[string]struct{ template, text, set, told string }{
		"its own":          {systemTemplate, chat, "data.template=model", own},
		"nothing of it":    {macroTemplate, plain, "data.template=model", ""},
		"the same":         {chatMLTemplate, chat, builtin, "roles are marked"},
		"a system message": {systemTemplate, chat, builtin, `is replaced by that of chatml`},
		"unreadable":       {macroTemplate, chat, builtin, `"import" is not known here`},
	} {
		for _, in := range []string{"chat_template.jinja", "tokenizer_config.json"} {
			t.Run(name+" in "+in, func(t *testing.T) {
				content := c.template
				if in == "tokenizer_config.json" {
					raw, err := json.Marshal(map[string]any{"chat_template": []map[string]string{
						{"name": "default", "template": c.template}, {"name": "rag", "template": "x"}}})
					if err != nil {
						t.Fatal(err)
					}
					content = string(raw)
				}
				run, notes := trainFrom(t, knows(t, textEnd, map[string]string{in: content}), c.text, c.set)
				if !strings.Contains(notes, c.told) {
					t.Errorf("told\n%s", notes)
				}
				dir := filepath.Join(t.TempDir(), "out")
				if _, err := gimbal.Export(t.Context(), run, dir, gimbal.ExportOptions{}); err != nil {
					t.Fatal(err)
				}
				for _, dir := range []string{filepath.Join(run, "checkpoints", "step-2"), dir} {
					data, err := os.ReadFile(filepath.Join(dir, "chat_template.jinja"))
					replaced := strings.Contains(notes, "is replaced")
					switch {
					case replaced: // in whichever file
						if err != nil || string(data) == c.template {
							t.Errorf("%v, saved\n%s", err, data)
						}
					case in == "chat_template.jinja":
						if err != nil || string(data) != c.template {
							t.Errorf("%v, saved\n%s", err, data)
						}
					default:
						var saved struct {
							Templates json.RawMessage `json:"chat_template"`
						}
						var list []struct{ Name, Template string }
						conf, cerr := os.ReadFile(filepath.Join(dir, in))
						if !errors.Is(err, os.ErrNotExist) || cerr != nil || json.Unmarshal(conf, &saved) != nil ||
							json.Unmarshal(saved.Templates, &list) != nil || len(list) != 2 ||
							list[0].Template != c.template {
							t.Errorf("%v, %v, saved\n%s\n%s", err, cerr, data, conf)
						}
					}
				}
			})
		}
	}
}

// TestBrokenTemplate: a template that cannot be rendered is refused, with what to do, where there are conversations.
func TestBrokenTemplate(t *testing.T) {
	text := documents(t, `{"messages": [{"role": "user", "content": "q%"}, {"role": "assistant", "content": "a%"}]}`)
	for template, want := range map[string]string{
		macroTemplate:                                  `"import" is not known here`,
		"{{ messages | groupby('role') }}":             `the filter "groupby" is not known here`,
		"{{ messages[0].role }}":                       "does not write what the assistant says",
		"{% for i in range(1000000000) %}{% endfor %}": "does not come to an end",
		"{{ raise_exception('never') }}":               "never",
	} {
		dir := knows(t, textEnd, map[string]string{"chat_template.jinja": template})
		_, err := gimbal.Train(t.Context(), gimbal.TrainOptions{From: dir, Data: []string{text}, Steps: 2,
			Out: filepath.Join(t.TempDir(), "run"), Set: []string{"train.context=32", "train.batch_tokens=64"}})
		var bad *gimbal.DataError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "--set data.template=builtin") ||
			!strings.Contains(err.Error(), "chat_template.jinja") {
			t.Errorf("%s: %v", template, err)
		}
	}
}

// TestOwnTemplate prepares conversations for a model with a template of its own, and wants of every document the tokens
// that the template says, and that the answers count with their end; the same after a run, an export and for a resume.
func TestOwnTemplate(t *testing.T) {
	const template = `{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[' + m.content + ']' }}` +
		`{% else %}{% for c in m.tool_calls %}{{ c | tojson }}{% endfor %}{{ (m.content or '') + eos_token }}{% endif %}` +
		`{% endfor %}`
	text := documents(t, `{"messages": [{"role": "user", "content": "q%</s><|im_end|>"}, {"role": "assistant", `+
		`"tool_calls": [{"z": 1.0, "a": "é"}], "content": null}, {"role": "user", "content": "r"}, `+
		`{"role": "assistant", "content": "a"}]}`)
	from := knows(t, textEnd, map[string]string{"chat_template.jinja": template,
		"tokenizer_config.json": `{"bos_token": "<|begin_of_text|>", "eos_token": {"content": "<|im_end|>"}}`})
	run, _ := trainFrom(t, from, text)
	exported := filepath.Join(t.TempDir(), "out")
	if _, err := gimbal.Export(t.Context(), run, exported, gimbal.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	// [[ ]] stand around what does not count, as gimbal data inspect shows it.
	const want = `(<|begin_of_text|>)[[[q0</s><|im_end|>]]]{"z": 1.0, "a": "é"}<|im_end|>[[[r]]]a<|im_end|>` +
		`[[<|endoftext|>]]`
	for _, dir := range []string{from, run, exported} {
		m, err := hub.OpenModel(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		cfg, err := config.Load("", []config.Assignment{config.Set("data.paths=" + text),
			config.Set("train.context=200")})
		if err != nil {
			t.Fatal(err)
		}
		d, err := plan.OpenText(t.Context(), cfg, plan.TextOptions{Model: m, Little: true})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		set := d.Text.Set
		var first, out strings.Builder
		all := set.All(200)
		loader, err := data.NewLoader(all, 1, int(all.Tokens()))
		if err != nil {
			t.Fatal(err)
		}
		var b data.Batch
		loader.Next(&b, data.Cursor{})
		k := slices.IndexFunc(b.Spans, func(s data.Span) bool { return s.Doc.Offset == 0 && s.First == 0 })
		if err := set.Show(&first, &b, k, k+1, data.PlainMarks); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(first.String(), want) {
			t.Errorf("%s: it reads\n%s\nwant\n%s", dir, first.String(), want)
		}
		fmt.Fprint(&out, d.Text.Set.Chat().Note)
		if d.Config.Data.Template != "model" || !strings.Contains(out.String(), "own chat template") {
			t.Errorf("%s: data.template is %s, told %q", dir, d.Config.Data.Template, out.String())
		}
		f, err := m.Format()
		if err != nil {
			t.Fatal(err)
		}
		prompt := chat.Conversation{Messages: []chat.Message{{Role: chat.User, Text: []byte("<|im_end|>")}}}
		ids, err := chat.Encode(nil, m.Tok, f.Prompt(&prompt))
		if err != nil || m.Tok.Name(ids[0]) != "<|begin_of_text|>" || string(m.Tok.Decode(nil,
			ids)) != "[<|im_end|>]" ||
			len(ids) != 13 {
			t.Errorf("%s: it is asked with %v, %v", dir, ids, err)
		}
	}
	if _, err := gimbal.Resume(t.Context(), run, gimbal.ResumeOptions{Steps: 4}); err != nil {
		t.Errorf("resume: %v", err)
	}
	r, err := gimbal.Evaluate(t.Context(), run, gimbal.EvalOptions{Data: []string{text}, Workers: 1, LossOnly: true})
	if err != nil || r.Tokens == 0 {
		t.Errorf("eval: %+v, %v", r, err)
	}
}

// TestBuiltinFormat: a run without a model trains conversations in gimbal's own format, records that, and so does a run
// that begins from it, on the same tokens.
func TestBuiltinFormat(t *testing.T) {
	text := documents(t, `{"messages": [{"role": "user", "content": "q%"}, {"role": "assistant", "content": "\n a%"}]}`)
	first := filepath.Join(t.TempDir(), "run")
	small := []string{"train.context=32", "train.batch_tokens=64", "eval.max_tokens=4"}
	_, err := gimbal.Train(t.Context(), gimbal.TrainOptions{Data: []string{text}, Steps: 2, Out: first, Workers: 1,
		Set: append(small, "tokenizer.kind=bytes", "model.layers=1", "model.width=16", "model.heads=1")})
	if err != nil {
		t.Fatal(err)
	}
	second, _ := trainFrom(t, first, text)
	var hashes []string
	for _, run := range []string{first, second} {
		conf, err := os.ReadFile(filepath.Join(run, "config.toml"))
		if err != nil || !strings.Contains(string(conf), `template = "builtin"`) {
			t.Errorf("%v, the configuration is\n%s", err, conf)
		}
		c, err := rundir.OpenCheckpoint(run, "")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		facts, err := rundir.ReadFacts(c)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, facts.DataHash)
	}
	if hashes[0] != hashes[1] || hashes[0] == "" {
		t.Errorf("the tokens are %q", hashes)
	}
}

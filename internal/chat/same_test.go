package chat

import (
	"runtime"
	"strings"
	"testing"
)

// theirs are templates as others write them, by name, and what Differs says of them: "" for the same.
var theirs = []struct{ name, template, want string }{
	{"chatml", `{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + ` +
		`'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`, ""},
	{"chatml by fields", "{%- for m in messages -%}\n  {{- '<|im_start|>' ~ m.role ~ '\\n' ~ (m.content | trim) " +
		"~ '<|im_end|>\\n' -}}\n{%- endfor -%}\n{%- if add_generation_prompt -%}\n  {{- '<|im_start|>assistant\\n' -}}\n" +
		"{%- endif -%}\n", ""},
	{"chatml as text", "{% for m in messages %}\n<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n" +
		"{% endfor %}\n{% if add_generation_prompt %}\n<|im_start|>assistant\n{% endif %}", ""},
	{"chatml by roles", `{#- by roles #}{%- set ns = namespace(n=0) %}{%- for m in messages %}` +
		`{%- set ns.n = ns.n + 1 %}{%- if m.role == 'user' or (m.role == "system" and loop.first) %}` +
		`{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}` +
		`{%- elif m['role'] == 'assistant' and not m.tool_calls %}{{- '<|im_start|>assistant\n' + ` +
		`m.content.strip() + '<|im_end|>\n' }}{%- else %}{{- raise_exception('no') }}{%- endif %}{%- endfor %}` +
		`{%- if add_generation_prompt and ns.n > 0 and tools is none %}{{- '<|im_start|>assistant\n' }}{%- endif %}`, ""},
	{"system by default", `{%- if messages[0]['role'] != 'system' %}{{- '<|im_start|>system\nBe brief.<|im_end|>\n' }}` +
		`{%- endif %}{%- for m in messages %}{{- '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}` +
		`{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}`,
		`it adds the system message "Be brief." where`},
	{"thinks", `{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endfor %}` +
		`{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n<think>\n' }}{%- endif %}`, `it writes "<think>`},
	{"content only", "{{ messages[0].content }}", `it writes "What is it?"`},
	{"user only", `{%- for m in messages %}{%- if m.role == 'system' %}{{- raise_exception('no system') }}{%- endif %}` +
		`{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endfor %}{%- if add_generation_prompt %}` +
		`{{- '<|im_start|>assistant\n' }}{%- endif %}`, "it refuses the conversation: no system"},
	{"unknown filter", "{{ messages | groupby('role') }}", `the filter "groupby" is not known`},
	{"unknown tag", "{% import x %}", `"import" is not known here`},
	{"no end", "{% for m in messages %}", "a for without its endfor"},
	{"half a tag", "{{ 'a", "a tag without its end }}"},
	{"endless", strings.Repeat("{% for m in [1, 2, 3, 4] %}", 40) + strings.Repeat("{% endfor %}", 40), "limits"},
	{"huge", "{% set x = 'aaaaaaaa' %}" + strings.Repeat("{% set x = x + x %}", 40),
		"limits"},
	{"deep", "{{ " + strings.Repeat("(", 200) + "1 }}", "nested deeper"},
	{"deep blocks", strings.Repeat("{% if 1 %}", 200), "nested deeper"},
}

func TestDiffers(t *testing.T) {
	f := For(vocabulary(chatMLTokens))
	for _, c := range theirs {
		got := Differs(f, c.template, Tokens{Start: "<|endoftext|>", EOS: "<|im_end|>"})
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	llama := For(vocabulary(llama3Tokens))
	template := `{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = ` +
		`'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}` +
		`{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}` +
		`{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}`
	bos := Tokens{Start: "<|begin_of_text|>", BOS: "<|begin_of_text|>", EOS: "<|end_of_text|>"}
	if how := Differs(llama, template, bos); how != "" {
		t.Error(how)
	}
	if Differs(f, template, bos) == "" {
		t.Error("a template of another format is the same")
	}
	if Differs(llama, template, Tokens{Start: "<|end_of_text|>", BOS: "<|begin_of_text|>"}) == "" {
		t.Error("a template that writes another start is the same")
	}
	for _, k := range known { // its own
		f := For(k.tokens)
		for _, start := range []string{"", "<|endoftext|>"} {
			if how := Differs(f, f.Template(start), Tokens{Start: start}); how != "" {
				t.Errorf("%s: %s", f.Name(), how)
			}
		}
	}
}

// FuzzDiffers: whatever a template is, it is compared in bounded time and memory, or refused.
func FuzzDiffers(f *testing.F) {
	for _, c := range theirs {
		f.Add(c.template)
	}
	format := For(vocabulary(chatMLTokens))
	f.Add(format.Template("<|endoftext|>"))
	// A template that comes to no end took seconds of instrumented code, so that ten were tried in twenty.
	steps, bytes := mostSteps, mostBytes
	mostSteps, mostBytes = 1<<12, 1<<20
	f.Cleanup(func() { mostSteps, mostBytes = steps, bytes })
	f.Fuzz(func(t *testing.T, template string) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		Differs(format, template, Tokens{Start: "a", BOS: "b", EOS: "c"})
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(2000*len(template)+128<<20); got > most {
			t.Fatalf("%d bytes allocated for %d", got, len(template))
		}
	})
}

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
		`{{- '<|im_start|>assistant\n' }}{%- endif %}`, "it refuses a conversation: no system"},
	{"unknown filter", "{{ messages | selectattr('role') }}", `the filter "selectattr" is not known`},
	{"unknown tag", "{% macro x() %}{% endmacro %}", `"macro" is not known here`},
	{"no end", "{% for m in messages %}", "a for without its endfor"},
	{"half a tag", "{{ 'a", "a tag without its end }}"},
	{"endless", strings.Repeat("{% for m in [1, 2, 3, 4] %}", 40) + strings.Repeat("{% endfor %}", 40), "steps"},
	{"huge", "{% set x = 'aaaaaaaa' %}" + strings.Repeat("{% set x = x + x %}", 20),
		"too long"},
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

// TestJinja compares values with what jinja2 3.1.6 makes of them, set as transformers sets it.
func TestJinja(t *testing.T) {
	for _, c := range [][2]string{
		{"{{ 7 - 2 + -1 }} {{ 2 > 1 }} {{ 3 <= 2 }} {{ (1 + 2) == 3 }}", "4 True False True"},
		{"{{ 'a' if messages|length > 2 else 'b' }}{{ 'x' if false }}", "b"},
		{"{{ messages[-1].role }} {{ messages[1:][0].content }} {{ messages[::-1][0]['role'] }}", "assistant a assistant"},
		{"{{ ' x '.strip() }}{{ '\\n\\ny\\n'.lstrip('\\n') }}", "xy\n"},
		{"{{ not tools }} {{ tools is none }} {{ other is defined }}", "True True False"},
		{"{{ 'user' in 'my user' }} {{ 'x' not in ['x', 'y'] }} {{ 'role' in messages[0] }}", "True False True"},
		{"{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ loop.last }}{% endfor %}", "1True"},
		{"{{ 1 if 2 not in [2] or not 3 is none and 1 == 1 else 0 }}", "1"},
		{"{{ 'a' ~ 1 + 'b' }}", "a1b"},
		{"a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc"},
		{"a \n {%- if true -%} \n b {%- endif +%} \n c", "ab \n c"},
		{"{# a comment {{ x }} #}\nz{{ '}}' }}{{ \"it's\" }}", "z}}it's"},
		{"{% set x = 1 %}{% for m in messages %}{% set x = 2 %}{% endfor %}{{ x }}", "1"},
		{"{{ 'q\"' | tojson }}{{ y | default('d') }}", "\"q\\\"\"d"},
		{"{{ 1 + 2 ~ 'a' }}", ""}, {"{{ 'a' > 1 }}", ""}, {"{{ x.y.z }}", ""}, // errors
	} {
		template, want := c[0], c[1]
		got, err := rendered(template, Tokens{}, []Message{{Role: User, Text: []byte("q")}, {Role: Assistant,
			Text: []byte("a")}}, false)
		if want == "" {
			if err == nil {
				t.Errorf("%s: %q", template, got)
			}
		} else if err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", template, got, err, want)
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

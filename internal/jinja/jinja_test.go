package jinja

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// value reads JSON with the keys of objects in their order.
func value(t testing.TB, d *json.Decoder) any {
	token, err := d.Token()
	if err != nil {
		t.Fatal(err)
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '[' {
			all := []any{}
			for d.More() {
				all = append(all, value(t, d))
			}
			d.Token()
			return all
		}
		o := NewDict()
		for d.More() {
			key, _ := d.Token()
			o.Set(key.(string), value(t, d))
		}
		d.Token()
		return o
	case json.Number:
		if n, err := v.Int64(); err == nil && !strings.ContainsAny(string(v), ".eE") {
			return int(n)
		}
		f, _ := v.Float64()
		return f
	}
	return token
}

type recorded struct {
	Variables json.RawMessage
	Cases     []struct {
		Template string
		Output   *string // nil: it is refused
		Error    string
	}
}

func variables(t testing.TB, raw []byte) map[string]any {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return value(t, d).(*Dict).vals
}

var enough = Limits{Steps: 1 << 20, Bytes: 8 << 20, Now: time.Date(2024, 7, 26, 0, 0, 0, 0, time.UTC)}

// TestJinja compares what templates write with what jinja2 makes of them, as transformers sets it up; testdata/jinja.py
// recorded it. What jinja2 refuses is refused. What jinja2 writes and is not known here is refused too:
// testdata/refused.txt lists it.
func TestJinja(t *testing.T) {
	raw, err := os.ReadFile("testdata/jinja.json")
	if err != nil {
		t.Fatal(err)
	}
	var r recorded
	if err := json.Unmarshal(raw, &r); err != nil || len(r.Cases) < 150 {
		t.Fatal(err, len(r.Cases))
	}
	raw, err = os.ReadFile("testdata/refused.txt")
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]bool{} // whether it was, of those that the list has
	for line := range strings.Lines(string(raw)) {
		refused[strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "⏎", "\n")] = false
	}
	for _, c := range r.Cases {
		var out Output
		tmpl, err := Parse(c.Template)
		if err == nil {
			out, err = tmpl.Render(context.Background(), variables(t, r.Variables), enough)
		}
		switch {
		case c.Output == nil && err == nil:
			t.Errorf("%q writes %q, and jinja2 refuses it: %s", c.Template, out.Text, c.Error)
		case c.Output != nil && err != nil:
			if _, known := refused[c.Template]; !known {
				t.Errorf("%q is refused: %v; jinja2 writes %q", c.Template, err, *c.Output)
			}
			refused[c.Template] = true
		case c.Output != nil && out.Text != *c.Output:
			t.Errorf("%q writes %q; jinja2 %q", c.Template, out.Text, *c.Output)
		}
	}
	for template, was := range refused {
		if !was {
			t.Errorf("%q is not refused, or not recorded", template)
		}
	}
}

// TestLimits: whatever a template does, it ends, and says why.
func TestLimits(t *testing.T) {
	loops := strings.Repeat("{% for i in range(1000) %}", 4) + strings.Repeat("{% endfor %}", 4)
	many := "{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
	ns := "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}"
	for name, c := range map[string]struct{ template, want string }{
		"loops":          {loops, ErrLimit.Error()},
		"range":          {"{% for i in range(1000000000) %}{% endfor %}", ErrLimit.Error()},
		"doubling":       {ns + "{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}", ErrLimit.Error()},
		"repeat":         {"{{ 'a' * 1000000000 }}", ErrLimit.Error()},
		"repeat lists":   {"{{ ([1] * 100000000) | length }}", ErrLimit.Error()},
		"replace":        {"{% set a = 'a' * 10000 %}{{ a | replace('a', a) }}", ErrLimit.Error()},
		"join":           {"{% set a = 'a' * 100000 %}{{ ([a] * 10000) | join }}", ErrLimit.Error()},
		"join text":      {"{% set a = 'a' * 100000 %}{{ a.join(['b'] * 10000) }}", ErrLimit.Error()},
		"indent":         {"{{ ('a\n' * 10000) | indent(100000) }}", ErrLimit.Error()},
		"wide indent":    {"{{ 'a' | indent(1000000000) }}", ErrLimit.Error()},
		"wide json":      {"{{ [1] | tojson(indent=1000000000) }}", ErrLimit.Error()},
		"many values":    {ns + strings.ReplaceAll(many, "100", "40") + "{{ ns.x }}", ErrLimit.Error()},
		"many in json":   {ns + strings.ReplaceAll(many, "100", "40") + "{{ ns.x | tojson }}", ErrLimit.Error()},
		"many are equal": {ns + strings.ReplaceAll(many, "100", "40") + "{{ ns.x == ns.x }}", ErrLimit.Error()},
		"deep values":    {ns + strings.ReplaceAll(many, "100", "1000") + "{{ ns.x }}", "nested deeper"},
		"format":         {"{% set a = 'a' * 1000 %}{{ ('%s' * 10000) % ([a] * 10000) }}", ErrLimit.Error()},
		"recursion":      {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested deeper"},
		"parentheses":    {"{{ " + strings.Repeat("(", 1000) + "1 }}", "nested deeper"},
		"brackets":       {"{{ " + strings.Repeat("[", 1000) + "1 }}", "nested deeper"},
		"objects":        {"{% set a = " + strings.Repeat("{1:", 1000) + "1 %}", "nested deeper"},
		"signs":          {"{{ " + strings.Repeat("-", 1000) + "1 }}", "nested deeper"},
		"nots":           {"{{ " + strings.Repeat("not ", 1000) + "1 }}", "nested deeper"},
		"blocks":         {strings.Repeat("{% if 1 %}", 1000), "nested deeper"},
		"sums":           {"{{ " + strings.Repeat("1+", 100000) + "1 }}", "words"},
		"fields":         {"{{ a" + strings.Repeat(".a", 100000) + " }}", "words"},
		"tests":          {"{{ 1 is " + strings.Repeat("eq ", 10000) + "1 }}", ""},
		"long":           {strings.Repeat(" ", maxTemplate+1), "bytes"},
		"raised":         {"{{ raise_exception('roles must alternate') }}", "it refuses the conversation: roles must"},
		"not UTF-8":      {"\xff", "UTF-8"},
	} {
		start := time.Now()
		tmpl, err := Parse(c.template)
		if err == nil {
			_, err = tmpl.Render(context.Background(), nil, Limits{Steps: 1 << 18, Bytes: 1 << 20})
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		t.Log(name, time.Since(start), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	tmpl, err := Parse(loops)
	if err == nil {
		_, err = tmpl.Render(ctx, nil, enough)
	}
	if err != context.Canceled {
		t.Errorf("a render that is cancelled: %v", err)
	}
}

// FuzzRender: whatever a template is, it is rendered in bounded memory, or refused; the same each time.
func FuzzRender(f *testing.F) {
	raw, err := os.ReadFile("testdata/jinja.json")
	var r recorded
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range r.Cases {
		f.Add(c.Template)
	}
	limits := Limits{Steps: 1 << 14, Bytes: 1 << 20}
	f.Fuzz(func(t *testing.T, template string) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		tmpl, err := Parse(template)
		if err == nil {
			out, err := tmpl.Render(context.Background(), variables(t, r.Variables), limits)
			if err == nil && len(out.Text) > limits.Bytes {
				t.Fatalf("%d bytes are written", len(out.Text))
			}
		}
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(4000*len(template)+128<<20); got > most {
			t.Fatalf("%d bytes allocated for %d", got, len(template))
		}
	})
}

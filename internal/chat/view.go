package chat

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gimbal/internal/jinja"
	"gimbal/internal/strictjson"
)

// view is a conversation as a template sees it.
type view struct {
	messages         []any
	tools, documents any // nil: none
	more             map[string]any
	size             int // bytes
	guard            guard
	calls            []call
}

// call is a call of a tool whose arguments are a string that spells an object, as OpenAI writes them.
type call struct {
	of        *jinja.Dict
	spelled   string
	arguments any
}

// calls finds such calls in what a message has as tool_calls, or as function_call.
func calls(v any) (all []call) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			all = append(all, calls(one)...)
		}
	case *jinja.Dict:
		if function, ok := v.Get("function"); ok {
			return calls(function)
		}
		is, _ := v.Get("arguments")
		text, ok := is.(string)
		r := strictjson.New([]byte(text), strictjson.AllowDuplicates)
		if !ok || r.Kind() != '{' {
			return nil
		}
		d := decoder{clean: func(s string) string { return s }} // it is clean
		arguments := d.value(r)
		if d.end(r); d.err == nil {
			all = append(all, call{v, text, arguments})
		}
	}
	return all
}

// readArguments makes objects of arguments that are strings, where the template would write a string of JSON as one
// more string, or does not take a string. Others want the string.
func (t *Template) readArguments(v *view) {
	if len(v.calls) == 0 {
		return
	}
	out, err := t.run(v, len(v.messages), false)
	twice := func(c call) bool { return strings.Contains(out.Text, string(strictjson.AppendQuote(nil, c.spelled))) }
	if err == nil && !slices.ContainsFunc(v.calls, twice) {
		return
	}
	for _, c := range v.calls {
		c.of.Set("arguments", c.arguments)
	}
}

// plain returns messages without anything but their text.
func (t *Template) plain(messages []Message) (all []any) {
	for _, m := range messages {
		d := jinja.NewDict()
		d.Set("role", m.Role)
		d.Set("content", string(m.Text))
		all = append(all, d)
	}
	return all
}

// view reads what a record says besides texts, with the keys of objects in their order.
func (t *Template) view(c *Conversation) (v *view, err error) {
	v = &view{guard: guard{finder: &t.specials}}
	if v.guard.mark, v.size, err = t.mark(c); err != nil {
		return nil, err
	}
	d := decoder{clean: v.guard.clean}
	for _, m := range c.Messages {
		v.messages = append(v.messages, d.message(m))
	}
	v.calls = d.calls
	if c.More != nil {
		r := strictjson.New(c.More, strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
		r.Object(func(key []byte) {
			switch name := string(key); name {
			case "tools":
				v.tools = d.value(r)
			case "documents":
				v.documents = d.value(r)
			default: // chat_template_kwargs
				v.more = map[string]any{}
				if r.Kind() != '{' {
					r.Failf(r.At(), "%q is not an object", name)
					return
				}
				r.Object(func(key []byte) { v.more[string(key)] = d.value(r) })
			}
		})
		d.end(r)
	}
	return v, d.err
}

// mark returns a character that a conversation does not have, and the bytes of the conversation.
func (t *Template) mark(c *Conversation) (mark string, size int, err error) {
	size = len(c.More)
	for _, m := range c.Messages {
		size += len(m.Text) + len(m.More)
	}
	for r := rune(0xfdd0); r < 0xfdf0; r++ { // these stand for nothing in Unicode
		mark := string(r)
		code := escaped(mark)[2:]
		has := func(text []byte) bool {
			return bytes.Contains(text, []byte(mark)) || bytes.Contains(text, []byte(code)) ||
				bytes.Contains(text, []byte(strings.ToUpper(code)))
		}
		used := has(c.More)
		for _, m := range c.Messages {
			used = used || has(m.Text) || has(m.More)
		}
		if !used {
			return mark, size, nil
		}
	}
	return "", 0, errors.New("a text has all characters that Unicode keeps for programs (U+FDD0 to U+FDEF)")
}

// escaped is how JSON and python write the character in ASCII.
func escaped(mark string) string {
	return strings.Trim(strconv.QuoteToASCII(mark), `"`)
}

// decoder turns JSON into values of templates.
type decoder struct {
	clean func(string) string
	calls []call
	err   error
}

func (d *decoder) end(r *strictjson.Reader) {
	if err := r.End(); err != nil && d.err == nil {
		d.err = err
	}
}

// message is a message with what its record says besides, as transformers passes it on: without what is null, and
// with thoughts by all of their names.
func (d *decoder) message(m Message) *jinja.Dict {
	o := jinja.NewDict()
	content := d.clean(string(m.Text))
	if m.More == nil {
		o.Set("role", m.Role)
		o.Set("content", content)
		return o
	}
	r := strictjson.New(m.More, strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
	thoughts := map[string]any{}
	r.Object(func(key []byte) {
		name, empty := string(key), r.Kind() == 'n'
		v := d.value(r)
		switch {
		case empty:
		case name == "tool_calls", name == "function_call":
			d.calls = append(d.calls, calls(v)...)
			o.Set(name, v)
		case name == "role", name == "from":
			o.Set("role", m.Role)
		case name == "content", name == "value":
			o.Set("content", content)
		default:
			o.Set(d.clean(name), v)
			thoughts[name] = v
		}
	})
	d.end(r)
	for _, name := range []string{"reasoning_content", "thinking", "reasoning"} {
		if v, ok := thoughts[name]; ok {
			if _, ok := thoughts["thinking"]; !ok {
				o = o.Before("thinking", v)
			}
			o.Set("reasoning_content", v)
			break
		}
	}
	return o
}

// value reads a value.
func (d *decoder) value(r *strictjson.Reader) any {
	switch r.Kind() {
	case '{':
		o := jinja.NewDict()
		r.Object(func(key []byte) { // the key is valid until its value is read
			name := d.clean(string(key))
			o.Set(name, d.value(r))
		})
		return o
	case '[':
		all := []any{}
		r.Array(func(int) { all = append(all, d.value(r)) })
		return all
	case '"':
		return d.clean(r.Text())
	case 't', 'f':
		return string(r.Value()) == "true"
	case '0':
		text := string(r.Value())
		if n, err := strconv.Atoi(text); err == nil && text != "-0" {
			return n
		}
		f, err := strconv.ParseFloat(text, 64)
		if (err != nil || !strings.ContainsAny(text, ".eE")) && d.err == nil {
			d.err = fmt.Errorf("the number %.40s is too large", text)
		}
		return f
	}
	r.Value()
	return nil
}

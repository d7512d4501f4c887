package tokenizer

import (
	"maps"
	"slices"
)

// What is read of a tokenizer.json besides its vocabulary and merges is small: it is read as a tree and compared with
// what this package implements.

// object is a JSON object. The others are []any, string, bool, jsonNumber and nil.
type object = map[string]any

// jsonNumber is a number as it is written.
type jsonNumber string

// fields reads an object that starts here and calls field at each value.
func (p *parser) fields(where string, field func(key string)) {
	if p.Kind() != '{' {
		p.Fail(broken("%s is not an object", where))
	}
	p.Object(func(key []byte) { field(string(key)) })
}

// items reads an array that starts here and calls item at each element.
func (p *parser) items(where string, item func(i int)) {
	if p.Kind() != '[' {
		p.Fail(broken("%s is not an array", where))
	}
	p.Array(item)
}

// value reads a value of any kind.
func (p *parser) value() any {
	switch p.Kind() {
	case '{':
		o := object{}
		p.Object(func(key []byte) { o[string(key)] = p.value() })
		return o
	case '[':
		a := []any{}
		p.Array(func(int) { a = append(a, p.value()) })
		return a
	case '"':
		return p.Text()
	}
	switch v := string(p.Value()); v {
	case "true", "false":
		return v == "true"
	case "null", "": // the latter after an error
		return nil
	default:
		return jsonNumber(v)
	}
}

// component reads an object that has its kind under "type", or null.
func (p *parser) component(where string) object {
	if kind := p.Kind(); kind != '{' && kind != 'n' {
		p.Fail(broken("%s is neither an object nor null", where))
	}
	return p.typed(where, p.value())
}

// typed returns a component that was read; nil for null.
func (p *parser) typed(where string, got any) object {
	fields, _ := got.(object)
	if typ, _ := fields["type"].(string); got != nil && typ == "" {
		p.Fail(broken("%s has no type", where))
	}
	return fields
}

// The wanted values of expect that stand for several.
type (
	oneOf    []any
	wildcard bool
)

const (
	anyScalar wildcard = false
	anything  wildcard = true
)

// expect refuses what differs from want. The fields of a wanted object may be absent, and no others may be there. A
// pointer wants a value of its type and gets it.
func (p *parser) expect(where string, got, want any) {
	_, isObject := got.(object)
	_, isArray := got.([]any)
	ok := !isObject && !isArray
	switch want := want.(type) {
	case object:
		if !isObject {
			p.Fail(broken("%s is not an object", where))
		}
		fields, _ := got.(object)
		for _, key := range append([]string{"type"}, slices.Sorted(maps.Keys(fields))...) { // the type tells most
			value, there := fields[key]
			if w, known := want[key]; there && known {
				p.expect(where+"."+key, value, w)
			} else if there {
				p.Fail(unsupported(where+"."+key, value))
			}
		}
		return
	case *[]any:
		*want, ok = got.([]any)
	case *string:
		*want, ok = got.(string)
	case *bool:
		*want, ok = got.(bool)
	case *any:
		*want = got
	case oneOf:
		ok = ok && slices.Contains(want, got)
	case wildcard:
		ok = ok || want == anything
	default:
		ok = ok && got == want
	}
	if !ok {
		p.Fail(unsupported(where, got))
	}
}

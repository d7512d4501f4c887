// Package jinja renders templates of conversations as transformers does: the Jinja of jinja2 3.1 in its immutable
// sandbox, with trim_blocks, lstrip_blocks, loop controls and {% generation %}. What it does not know it refuses by
// name: no value, filter, test or method is taken for something else.
//
//	t, err := jinja.Parse(source)
//	out, err := t.Render(ctx, map[string]any{"messages": messages}, jinja.Limits{Steps: 1 << 20, Bytes: 32 << 20})
//
// A template is the program of a stranger. It reaches nothing but its variables. Steps, bytes and nesting are counted
// in every operation, so that a render ends at the same place on every machine, and a context ends it earlier.
//
// Values are nil (none), bool, int, float64, string, []any and *Dict. Strings may hold bytes that are not UTF-8; they
// are kept. A value is never changed.
package jinja

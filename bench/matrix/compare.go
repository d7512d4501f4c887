package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// compare returns the first difference of two outcomes of a scenario that is not excused, or "".
func compare(scenario string, a, b outcome) string {
	c := comparison{scenario}
	if where := "exits"; excused(scenario, where) < 0 && !slices.Equal(a.Exits, b.Exits) {
		return fmt.Sprintf("exit codes: %s, now %s", strings.Join(a.Exits, ", "), strings.Join(b.Exits, ", "))
	}
	if d := c.records(a.Records, b.Records); d != "" {
		return d
	}
	for _, name := range union(a.Hashes, b.Hashes) {
		if x, y := a.Hashes[name], b.Hashes[name]; x != y && excused(scenario, "hashes/"+name) < 0 {
			return fmt.Sprintf("%s: sha256 %s, now %s", name, short(x), short(y))
		}
	}
	for _, name := range union(a.Documents, b.Documents) {
		if d := c.texts(name, a.Documents[name], b.Documents[name]); d != "" {
			return d
		}
	}
	return ""
}

type comparison struct{ scenario string }

// records compares kind by kind, each in its order, and names the difference of the earliest step.
func (c comparison) records(a, b []record) string {
	byKind := func(list []record) map[string][]record {
		kinds := map[string][]record{}
		for _, r := range list {
			if excused(c.scenario, r.Where) < 0 {
				kind, _, _ := strings.Cut(r.Where, "/")
				kinds[kind] = append(kinds[kind], r)
			}
		}
		return kinds
	}
	ka, kb := byKind(a), byKind(b)
	step, first := int64(math.MaxInt64), ""
	for _, kind := range union(ka, kb) {
		if at, d := c.list(ka[kind], kb[kind]); d != "" && at < step {
			step, first = at, d
		}
	}
	return first
}

// list compares the records of a kind, and returns the step of the first difference.
func (c comparison) list(a, b []record) (step int64, difference string) {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(b):
			return a[i].Step, fmt.Sprintf("%s of step %d is there no more", a[i].Where, a[i].Step)
		case i >= len(a):
			return b[i].Step, fmt.Sprintf("%s of step %d is new", b[i].Where, b[i].Step)
		case a[i].Where != b[i].Where || a[i].Step != b[i].Step:
			return min(a[i].Step, b[i].Step),
				fmt.Sprintf("%s of step %d, now %s of step %d", a[i].Where, a[i].Step, b[i].Where, b[i].Step)
		}
		if d := c.texts(a[i].Where, a[i].Fields, b[i].Fields); d != "" {
			return a[i].Step, fmt.Sprintf("step %d: %s", a[i].Step, d)
		}
	}
	return 0, ""
}

// texts compares two JSON texts.
func (c comparison) texts(where string, a, b json.RawMessage) string {
	if bytes.Equal(a, b) {
		return ""
	}
	var values [2]any
	for i, raw := range []json.RawMessage{a, b} {
		if raw == nil {
			continue
		}
		var err error
		if values[i], err = decode(raw); err != nil {
			return fmt.Sprintf("%s: %v", where, err)
		}
	}
	return c.values(where, where, values[0], values[1])
}

// values compares two values: at is the place with indices, where the one without, by which excuses name it.
func (c comparison) values(where, at string, a, b any) string {
	if excused(c.scenario, where) >= 0 {
		return ""
	}
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			break
		}
		for _, key := range union(x, y) {
			if d := c.values(where+"/"+key, at+"/"+key, x[key], y[key]); d != "" {
				return d
			}
		}
		return ""
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			break
		}
		for i := range x {
			if d := c.values(where, fmt.Sprintf("%s[%d]", at, i), x[i], y[i]); d != "" {
				return d
			}
		}
		return ""
	default:
		if a == b {
			return ""
		}
	}
	return fmt.Sprintf("%s: %s, now %s", at, brief(a), brief(b))
}

// union is the keys of both, sorted.
func union[V any](a, b map[string]V) []string {
	both := maps.Clone(b)
	if both == nil {
		both = map[string]V{}
	}
	maps.Copy(both, a)
	return slices.Sorted(maps.Keys(both))
}

func short(hash string) string {
	if hash == "" {
		return "nothing"
	}
	return hash[:12]
}

func brief(v any) string {
	if v == nil {
		return "nothing"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(raw) > 120 {
		return string(raw[:120]) + "…"
	}
	return string(raw)
}

package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// literal is a value as it was written, before it meets a key.
type literal struct {
	kind string // string, whole number, number, boolean, list, or the name of a TOML kind that no key takes
	s    string // string
	i    int64  // whole number
	f    float64
	b    bool
	list []literal
}

func stringLiteral(s string) literal   { return literal{kind: "string", s: s} }
func intLiteral(i int64) literal       { return literal{kind: "whole number", i: i, f: float64(i)} }
func floatLiteral(f float64) literal   { return literal{kind: "number", f: f} }
func boolLiteral(b bool) literal       { return literal{kind: "boolean", b: b} }
func listLiteral(l ...literal) literal { return literal{kind: "list", list: l} }

// literalOf converts a Go value given by the program itself.
func literalOf(value any) literal {
	switch v := value.(type) {
	case string:
		return stringLiteral(v)
	case []string:
		list := listLiteral()
		for _, s := range v {
			list.list = append(list.list, stringLiteral(s))
		}
		return list
	case []float64:
		list := listLiteral()
		for _, f := range v {
			list.list = append(list.list, floatLiteral(f))
		}
		return list
	case int:
		return intLiteral(int64(v))
	case int64:
		return intLiteral(v)
	case uint64:
		if v > math.MaxInt64 {
			return floatLiteral(float64(v)) // refused by every key of whole numbers
		}
		return intLiteral(int64(v))
	case float64:
		return floatLiteral(v)
	case bool:
		return boolLiteral(v)
	case Rule:
		if v.Name != "" {
			return stringLiteral(v.Name)
		}
		return floatLiteral(v.Value)
	}
	return literal{kind: fmt.Sprintf("%T", value)}
}

// parse reads the text of --set or a flag as the key's own kind of value, so that strings need no quotes.
func (k *key) parse(text string) (literal, error) {
	quoted := strings.HasPrefix(text, `"`) || strings.HasPrefix(text, `'`)
	switch k.at(new(Config)).(type) {
	case *string:
		if quoted {
			return parseTOMLValue(text)
		}
		return stringLiteral(text), nil
	case *[]string:
		if quoted || strings.HasPrefix(text, "[") {
			return parseTOMLValue(text)
		}
		return stringLiteral(text), nil
	case *[]float64:
		if !strings.HasPrefix(text, "[") {
			text = "[" + text + "]"
		}
		return parseTOMLValue(text)
	case *bool:
		if b, err := strconv.ParseBool(text); err == nil {
			return boolLiteral(b), nil
		}
		return stringLiteral(text), nil
	}
	plain := strings.ReplaceAll(text, "_", "")
	if i, err := strconv.ParseInt(plain, 10, 64); err == nil {
		return intLiteral(i), nil
	}
	if f, err := strconv.ParseFloat(plain, 64); err == nil || math.IsInf(f, 0) {
		return floatLiteral(f), nil
	}
	if quoted {
		return parseTOMLValue(text)
	}
	return stringLiteral(text), nil
}

// assign gives the key its value in c. It returns what is wrong with the value, or "" and then has set it.
func (k *key) assign(c *Config, v literal) string {
	if k.auto && v.kind == "string" && v.s == "auto" {
		k.reset(c)
		return ""
	}
	switch p := k.at(c).(type) {
	case *string:
		if v.kind != "string" {
			return k.wants(v)
		}
		if fault := k.text(v.s); fault != "" {
			return fault
		}
		*p = v.s
	case *[]string:
		if v.kind == "string" {
			v = listLiteral(v)
		}
		if v.kind != "list" {
			return k.wants(v)
		}
		var list []string
		for _, e := range v.list {
			if e.kind != "string" {
				return "wants strings in the list, not a " + e.kind
			}
			if e.s == "" {
				return "has an empty path in the list"
			}
			if fault := k.text(e.s); fault != "" {
				return fault
			}
			list = append(list, e.s)
		}
		*p = list
	case *[]float64:
		if v.kind != "list" {
			return k.wants(v)
		}
		var list []float64
		for _, e := range v.list {
			if e.kind != "number" && e.kind != "whole number" {
				return "wants numbers in the list, not a " + e.kind
			}
			if fault := k.number(e.f); fault != "" {
				return fault
			}
			list = append(list, e.f)
		}
		*p = list
	case *bool:
		if v.kind != "boolean" {
			return k.wants(v)
		}
		*p = v.b
	case *Rule:
		switch v.kind {
		case "string":
			if fault := k.text(v.s); fault != "" {
				return fault + ", or a number"
			}
			*p = Rule{Name: v.s}
		case "number", "whole number":
			if fault := k.number(v.f); fault != "" {
				return fault
			}
			if k.name == "schedule.warmup" && v.f != math.Trunc(v.f) {
				return "wants a whole number of steps, not " + formatFloat(v.f)
			}
			*p = Rule{Value: v.f + 0} // no negative zero
		default:
			return k.wants(v)
		}
	case *float64:
		if v.kind != "number" && v.kind != "whole number" {
			return k.wants(v)
		}
		if fault := k.number(v.f); fault != "" {
			return fault
		}
		*p = v.f + 0
	case *int, *int64, *uint64:
		if v.kind != "whole number" {
			return k.wants(v)
		}
		if fault := k.number(v.f); fault != "" {
			return fault
		}
		switch p := p.(type) {
		case *int:
			*p = int(v.i)
		case *int64:
			*p = v.i
		case *uint64:
			*p = uint64(v.i)
		}
	}
	return ""
}

// wants is the fault of a value of the wrong kind.
func (k *key) wants(v literal) string {
	var want string
	switch k.at(new(Config)).(type) {
	case *string:
		want = "a string"
	case *[]string:
		want = "a string or a list of strings"
	case *[]float64:
		want = "a list of numbers"
	case *bool:
		want = "true or false"
	case *Rule:
		want = strings.Join(k.choices, ", ") + " or a number"
	case *float64:
		want = "a number"
	default:
		want = "a whole number"
	}
	if k.auto {
		want += ` or "auto"`
	}
	switch v.kind {
	case "string":
		return fmt.Sprintf("wants %s, not %q", want, v.s)
	case "number":
		return fmt.Sprintf("wants %s, not the decimal number %s", want, formatFloat(v.f))
	}
	return fmt.Sprintf("wants %s, not a %s", want, v.kind)
}

// text checks a string.
func (k *key) text(s string) string {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return fmt.Sprintf("%q is not text", s)
	}
	if k.choices == nil {
		return ""
	}
	best, near := 3, ""
	for _, c := range k.choices {
		if c == s {
			return ""
		}
		if d := distance(s, c); d < best {
			best, near = d, c
		}
	}
	fault := fmt.Sprintf("%q is not one of %s", s, strings.Join(k.choices, ", "))
	if near != "" {
		fault += "; did you mean " + near + "?"
	}
	return fault
}

// number checks a number against the limits; written so that NaN fails.
func (k *key) number(f float64) string {
	low := f > k.lo || f == k.lo && !k.above
	high := f < k.hi || f == k.hi && !k.below
	if low && high {
		return ""
	}
	open, closing := "from ", " to "
	if k.above {
		open = "above "
	}
	if k.below {
		closing = " to below "
	}
	return fmt.Sprintf("%s is outside the range %s%s%s%s",
		formatFloat(f), open, formatFloat(k.lo), closing, formatFloat(k.hi))
}

// reset makes the key automatic.
func (k *key) reset(c *Config) { reflect.ValueOf(k.at(c)).Elem().SetZero() }

// isAuto reports whether the key is automatic and undecided.
func (k *key) isAuto(c *Config) bool { return k.auto && reflect.ValueOf(k.at(c)).Elem().IsZero() }

// copy gives the key in c the value that it has in from.
func (k *key) copy(c, from *Config) {
	reflect.ValueOf(k.at(c)).Elem().Set(reflect.ValueOf(k.at(from)).Elem())
}

// format writes the key's value; with quote as TOML, without as people read it.
func (k *key) format(c *Config, quote bool) string {
	str := func(s string) string {
		if quote {
			return quoteTOML(s)
		}
		return s
	}
	if k.isAuto(c) {
		return str("auto")
	}
	switch p := k.at(c).(type) {
	case *string:
		return str(*p)
	case *[]string:
		list := make([]string, len(*p))
		for i, s := range *p {
			list[i] = str(s)
		}
		if !quote {
			return strings.Join(list, " ")
		}
		return "[" + strings.Join(list, ", ") + "]"
	case *[]float64:
		list := make([]string, len(*p))
		for i, f := range *p {
			list[i] = formatFloat(f)
		}
		return "[" + strings.Join(list, ", ") + "]"
	case *bool:
		return strconv.FormatBool(*p)
	case *Rule:
		if p.Name != "" {
			return str(p.Name)
		}
		return formatFloat(p.Value)
	case *float64:
		return formatFloat(*p)
	case *int:
		return strconv.Itoa(*p)
	case *int64:
		return strconv.FormatInt(*p, 10)
	case *uint64:
		return strconv.FormatUint(*p, 10)
	}
	panic("config: key of an unknown type")
}

// formatFloat writes f as short as it reads back exactly; plain digits for whole numbers people write so.
func formatFloat(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e12 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// quoteTOML writes s as a basic string.
func quoteTOML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// A value on its way to a key is a string, an int64, a float64, a bool, a []any of these, or a kind of TOML that no key
// takes.
type otherKind string

// kindOf names the kind of a value for a message.
func kindOf(v any) string {
	switch v := v.(type) {
	case int64:
		return "whole number"
	case float64:
		return "number"
	case bool:
		return "boolean"
	case []any:
		return "list"
	case otherKind:
		return string(v)
	}
	return fmt.Sprintf("%T", v)
}

// asFloat returns an int64 or a float64 as a float64.
func asFloat(v any) (f float64, ok bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// valueOf converts a Go value given by the program itself.
func valueOf(value any) any {
	switch v := value.(type) {
	case []string:
		return toList(v)
	case []float64:
		return toList(v)
	case int:
		return int64(v)
	case uint64:
		if v > math.MaxInt64 {
			return float64(v) // refused by every key of whole numbers
		}
		return int64(v)
	case Rule:
		if v.Name != "" {
			return v.Name
		}
		return v.Value
	}
	return value
}

func toList[T any](from []T) []any {
	to := make([]any, len(from))
	for i, v := range from {
		to[i] = v
	}
	return to
}

// parse reads the text of --set or a flag as the key's own kind of value, so that strings need no quotes. White space
// around it is dropped unless it can be meant.
func (k *key) parse(text string) (any, error) {
	if _, free := k.at(new(Config)).(*string); !free || k.choices != nil {
		text = strings.TrimSpace(text)
	}
	inTOML := strings.HasPrefix(text, `"`) || strings.HasPrefix(text, `'`)
	switch k.at(new(Config)).(type) {
	case *string:
	case *[]string:
		inTOML = inTOML || strings.HasPrefix(text, "[")
	case *[]float64:
		if inTOML = true; !strings.HasPrefix(text, "[") {
			text = "[" + text + "]"
		}
	case *bool:
		if b, err := strconv.ParseBool(text); err == nil {
			return b, nil
		}
	default:
		plain := strings.ReplaceAll(text, "_", "")
		if i, err := strconv.ParseInt(plain, 10, 64); err == nil {
			return i, nil
		}
		if f, err := strconv.ParseFloat(plain, 64); err == nil || math.IsInf(f, 0) {
			return f, nil
		}
	}
	if inTOML {
		return parseTOMLValue(text)
	}
	return text, nil
}

// assign gives the key its value in c. It returns what is wrong with the value, or "" if it has set it.
func (k *key) assign(c *Config, v any) (fault string) {
	field := reflect.ValueOf(k.at(c)).Elem()
	if k.auto && v == "auto" {
		field.SetZero()
		return ""
	}
	value, fault := k.convert(v)
	if fault == "" {
		field.Set(reflect.ValueOf(value).Convert(field.Type()))
	}
	return fault
}

// convert returns a value as the key has it, but for the size of an integer, or what is wrong with it.
func (k *key) convert(v any) (value any, fault string) {
	text, isText := v.(string)
	f, isNumber := asFloat(v)
	items, isList := v.([]any)
	var want string
	switch k.at(new(Config)).(type) {
	case *string:
		if want = "a string"; isText {
			if k.path {
				text = decodePath(text)
			}
			return text, k.text(text)
		}
	case *[]string:
		want = "a string or a list of strings"
		if isText {
			items, isList = []any{text}, true
		}
		if isList {
			return k.texts(items)
		}
	case *[]float64:
		if want = "a list of numbers"; isList {
			return k.numbers(items)
		}
	case *bool:
		want = "true or false"
		if b, ok := v.(bool); ok {
			return b, ""
		}
	case *Rule:
		want = strings.Join(k.choices, ", ") + " or a number"
		switch {
		case isText:
			if fault = k.text(text); fault != "" {
				fault += ", or a number"
			}
			return Rule{Name: text}, fault
		case isNumber:
			if fault = k.number(f); fault == "" && k.name == "schedule.warmup" && f != math.Trunc(f) {
				fault = "wants a whole number of steps, not " + formatFloat(f)
			}
			return Rule{Value: f + 0}, fault // no negative zero
		}
	case *float64:
		if want = "a number"; isNumber {
			return f + 0, k.number(f)
		}
	default:
		want = "a whole number"
		if i, ok := v.(int64); ok {
			return i, k.number(f)
		}
	}
	if k.auto {
		want += ` or "auto"`
	}
	not := "a " + kindOf(v)
	switch v := v.(type) {
	case string:
		not = strconv.Quote(v)
	case float64:
		not = "the decimal number " + formatFloat(v)
	}
	return nil, fmt.Sprintf("wants %s, not %s", want, not)
}

func (k *key) texts(items []any) (list []string, fault string) {
	for _, item := range items {
		s, ok := item.(string)
		switch {
		case !ok:
			return nil, "wants strings in the list, not a " + kindOf(item)
		case s == "":
			return nil, "has an empty text in the list"
		case k.path:
			s = decodePath(s)
		}
		if fault := k.text(s); fault != "" {
			return nil, fault
		}
		list = append(list, s)
	}
	return list, ""
}

func (k *key) numbers(items []any) (list []float64, fault string) {
	for _, item := range items {
		f, ok := asFloat(item)
		if !ok {
			return nil, "wants numbers in the list, not a " + kindOf(item)
		}
		if fault := k.number(f); fault != "" {
			return nil, fault
		}
		list = append(list, f)
	}
	return list, ""
}

// isAuto reports whether the key is automatic and undecided.
func (k *key) isAuto(c *Config) bool { return k.auto && reflect.ValueOf(k.at(c)).Elem().IsZero() }

func (k *key) copy(c, from *Config) {
	reflect.ValueOf(k.at(c)).Elem().Set(reflect.ValueOf(k.at(from)).Elem())
}

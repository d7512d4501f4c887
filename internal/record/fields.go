package record

import (
	"fmt"
	"slices"
	"strings"
)

// Fields names the keys of a record, or the columns of a table, that are read. Empty: the record has no such part. A
// record is a text, or messages, or a prompt with its completion, or two answers of which one is preferred.
type Fields struct {
	Text       string
	Messages   string
	Prompt     string // the question of a user
	Input      string // what the question is about: it is written in the line after it
	Completion string
	System     string // a message of the system, before all others

	Chosen   string // the preferred answer, or a whole conversation that ends with it
	Rejected string // the other one
	pairs    bool   // only preferences are known by their keys
}

// shapes are the records that are known by their keys. An input is optional, and so is a system.
var shapes = []Fields{
	{Text: "text"},
	{Messages: "messages"},
	{Messages: "conversations"}, // ShareGPT
	{Prompt: "prompt", Completion: "completion"},
	{Prompt: "prompt", Completion: "response"},
	{Prompt: "question", Input: "context", Completion: "answer"},
	{Prompt: "instruction", Input: "input", Completion: "output"}, // Alpaca
	{Prompt: "instruction", Input: "context", Completion: "response"},
}

// pairShape are preferences that are known by their keys, and promptKeys hold their prompt, if anything does.
var (
	pairShape  = Fields{Prompt: "prompt", Chosen: "chosen", Rejected: "rejected", pairs: true}
	promptKeys = []string{"prompt", "question", "instruction"}
)

// systemKeys are the optional keys of a system's message in a conversation.
var systemKeys = []string{"system", "system_prompt"}

// wholeKeys say of a whole conversation what they say of a message, and lostKeys would be lost if they were ignored.
var (
	wholeKeys = []string{"weight", "train", "training", "label", "loss"}
	lostKeys  = []string{"tools", "functions", "history", "reasoning_content", "thinking"}
	shownKeys = []string{"tools", "documents", "chat_template_kwargs"} // that a template may show
)

// field is a part of a record and the key that holds it.
type field struct {
	part string
	key  *string
}

// all returns the parts in the order in which they are documented.
func (f *Fields) all() []field {
	return []field{{"text", &f.Text}, {"messages", &f.Messages}, {"prompt", &f.Prompt}, {"input", &f.Input},
		{"completion", &f.Completion}, {"system", &f.System}, {"chosen", &f.Chosen}, {"rejected", &f.Rejected}}
}

// ParseFields reads items such as "text=content" or "prompt=question, completion=answer"; the zero Fields for none.
// With pairs, records are preferences.
func ParseFields(items []string, pairs bool) (f Fields, err error) {
	advice := `write text=KEY, messages=KEY, or prompt=KEY,completion=KEY, where KEY is a key of your records`
	if pairs {
		advice = `write chosen=KEY,rejected=KEY, and prompt=KEY where they do not begin with it`
	}
	fault := func(format string, args ...any) (Fields, error) {
		return Fields{}, &Error{What: "data.fields: " + fmt.Sprintf(format, args...), Advice: advice}
	}
	for _, item := range items {
		for pair := range strings.SplitSeq(item, ",") {
			part, key, ok := strings.Cut(pair, "=")
			part, key = strings.TrimSpace(part), strings.TrimSpace(key)
			all := f.all()
			i := slices.IndexFunc(all, func(f field) bool { return f.part == part })
			switch {
			case !ok || key == "":
				return fault("%q is not PART=KEY", pair)
			case i < 0:
				return fault("%q is none of text, messages, prompt, input, completion, system, chosen, rejected", part)
			case *all[i].key != "":
				return fault("%s comes twice", part)
			}
			*all[i].key = key
		}
	}
	pair := f.Prompt != "" && f.Completion != ""
	switch {
	case len(items) == 0 && pairs:
		return Fields{pairs: true}, nil
	case len(items) == 0:
	case pairs && (f.Chosen == "" || f.Rejected == "" || f.Text+f.Messages+f.Completion+f.Input != ""):
		return fault("a preference has chosen and rejected, and may have prompt and system")
	case pairs:
		f.pairs = true
	case f.Chosen+f.Rejected != "":
		return fault("chosen and rejected are preferences, which train.objective=dpo learns")
	case f.Prompt+f.Completion+f.Input != "" && !pair:
		return fault("a pair needs prompt and completion")
	case f.Text != "" && f != (Fields{Text: f.Text}):
		return fault("a text has no other part")
	case f.Text == "" && (f.Messages != "") == pair:
		return fault("a record is a text, or messages, or a prompt with its completion")
	}
	return f, nil
}

// required returns the keys without which there is no record, and "" for parts that f does not have.
func (f Fields) required() [4]string {
	if f.pairs {
		return [4]string{f.Chosen, f.Rejected}
	}
	return [4]string{f.Text, f.Messages, f.Prompt, f.Completion}
}

// In returns the shapes of which a record has what is required; has reports whether it has a key.
func (f Fields) In(has func(key string) bool) (found []Fields) {
	for _, c := range f.candidates() {
		if c.in(has) {
			found = append(found, c)
		}
	}
	return found
}

// in reports whether a record has what is required.
func (f Fields) in(has func(key string) bool) bool {
	for _, key := range f.required() {
		if key != "" && !has(key) {
			return false
		}
	}
	return true
}

// candidates are the shapes that a record may have.
func (f Fields) candidates() []Fields {
	if f == (Fields{pairs: true}) {
		return []Fields{pairShape}
	}
	if f != (Fields{}) {
		return []Fields{f}
	}
	return shapes
}

// Keys returns every key that is looked at, once.
func (f Fields) Keys() (keys []string) {
	for _, c := range f.candidates() {
		for _, part := range c.all() {
			keys = append(keys, *part.key)
		}
	}
	keys = slices.Concat(keys, systemKeys, wholeKeys, lostKeys)
	if f.pairs {
		keys = append(keys, promptKeys...)
	}
	return sorted(keys)
}

// ShownKeys are those that are looked at besides if a template may show them.
func (f Fields) ShownKeys() []string { return sorted(append(f.Keys(), shownKeys...)) }

// sorted returns names in their order, each once, without "".
func sorted(names []string) []string {
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(s string) bool { return s == "" })
}

// String names the shape.
func (f Fields) String() string {
	var quoted []string
	for _, key := range f.required() {
		if key != "" {
			quoted = append(quoted, fmt.Sprintf("%q", key))
		}
	}
	return strings.Join(quoted, " with ")
}

// setting writes f as data.fields has it.
func (f Fields) setting() string {
	var pairs []string
	for _, part := range f.all() {
		if *part.key != "" {
			pairs = append(pairs, part.part+"="+*part.key)
		}
	}
	return strings.Join(pairs, ",")
}

// maxNames bounds the keys that an error lists.
const maxNames = 20

// Unknown is the fault of a record or a table without what is read; names are the keys, or columns, that it has.
func (f Fields) Unknown(kind string, names []string) *Error {
	e := &Error{What: `no "text", "messages", or a pair such as "prompt" with "completion"`, Advice: "it has no " + kind}
	example := "text=NAME"
	switch {
	case f == Fields{pairs: true}:
		e.What, example = `no "chosen" with "rejected"`, "chosen=NAME,rejected=NAME"
	case f != Fields{}:
		e.What = "no " + f.String() + ", which data.fields names"
	case pairShape.in(func(key string) bool { return slices.Contains(names, key) }):
		e.What += `; "chosen" with "rejected" is a preference`
		e.Advice = "learn it with train.objective=dpo"
		return e
	}
	if len(names) > 0 {
		e.Advice = fmt.Sprintf("its %s are %s: name what to read, such as data.fields = %q", kind,
			quoteNames(names), example)
	}
	return e
}

// quoteNames lists the first names.
func quoteNames(names []string) string {
	var quoted []string
	for _, name := range names[:min(len(names), maxNames)] {
		quoted = append(quoted, fmt.Sprintf("%q", CutName(name)))
	}
	list := strings.Join(quoted, ", ")
	if len(names) >= maxNames {
		list += ", …"
	}
	return list
}

// CutName cuts a name to a length that a person reads.
func CutName(name string) string {
	if runes := []rune(name); len(runes) > 40 {
		return string(runes[:40]) + "…"
	}
	return name
}

// listShapes names shapes for a person.
func listShapes(list []Fields) string {
	var names []string
	for _, f := range list {
		names = append(names, f.String())
	}
	if n := len(names); n > 1 {
		names[n-1] = "and " + names[n-1]
	}
	return strings.Join(names, ", ")
}

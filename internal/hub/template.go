package hub

import (
	"encoding/json"
	"errors"
	"fmt"

	"gimbal/internal/chat"
	"gimbal/internal/tokenizer"
)

// Format returns how the conversations of a model are written: by its own template, or in the format of the house whose
// template it carries. nil: it has none. An error is an *Error that says why the template cannot be used.
func (m *Model) Format() (chat.Format, error) {
	said, err := readNames(m)
	if err != nil || said.template == "" {
		return nil, err
	}
	t, err := said.format(m, m.Tok)
	if t == nil || err != nil {
		return chat.For(m.Tok), err
	}
	return t, nil
}

// format makes a format of a template; nil if it is that of a format of the house.
func (n names) format(f source, tok *tokenizer.Tokenizer) (*chat.Template, error) {
	house := chat.For(tok)
	for _, kind := range []string{"none", "eos", "bos"} {
		id, ok, err := tok.Start(kind)
		start := ""
		if ok && err == nil {
			start = tok.Name(id)
		}
		if n.template == house.Template(start) {
			return nil, nil
		}
	}
	src := chat.Source{Template: n.template, ToolUse: n.toolUse, Names: n.tokens}
	var err error
	if src.Specials, err = specials(f, tok); err != nil {
		return nil, err
	}
	t, err := chat.NewTemplate(src)
	if err != nil {
		return nil, &Error{f.Path(), n.file, fmt.Errorf("chat_template: %w", err)}
	}
	return t, nil
}

// specials are the special tokens as tokenizer.json has them.
func specials(f source, tok *tokenizer.Tokenizer) (all []chat.Special, err error) {
	raw, err := f.File(tokenizerFile)
	var file struct {
		Added []struct {
			Content string `json:"content"`
			Left    bool   `json:"lstrip"`
			Right   bool   `json:"rstrip"`
			Single  bool   `json:"single_word"`
		} `json:"added_tokens"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &file)
	}
	if err != nil {
		return nil, &Error{f.Path(), tokenizerFile, err}
	}
	for _, a := range file.Added {
		id, ok := tok.Added(a.Content)
		switch {
		case !ok || !tok.Special(id):
		case a.Single:
			return nil, &Error{f.Path(), tokenizerFile, errors.New("a special token is found in whole words only " +
				"(single_word), which is not known where a chat template writes it")}
		default:
			all = append(all, chat.Special{Name: a.Content, ID: id, Left: a.Left, Right: a.Right})
		}
	}
	return all, nil
}

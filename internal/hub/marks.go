package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"gimbal/internal/chat"
	"gimbal/internal/checkpoint"
	"gimbal/internal/family"
	"gimbal/internal/rundir"
	"gimbal/internal/tokenizer"
)

// mark finds out where the texts of a model begin and end, by all files that say so, and marks the tokenizer. conf is
// what config.json says. It returns what is to be told of it.
//
// An end is every id that config.json or generation_config.json names, the eos_token of tokenizer_config.json and of
// special_tokens_map.json, and the token with which the template of conversations ends a turn. A document ends with
// the first of them that neither ends a turn nor begins a text, else with the one that tokenizer.json has by name.
//
// Texts begin with the beginning-of-text token where tokenizer.json puts one first, where add_bos_token of
// tokenizer_config.json says so, and where the template of conversations uses it.
func mark(f source, tok *tokenizer.Tokenizer, conf tokens) (notes []string, err error) {
	gen := tokens{bos: -1}
	if raw, err := optional(f, generationFile); err != nil {
		return nil, err
	} else if raw != nil {
		if gen.ends, gen.bos, err = family.Tokens(raw); err != nil {
			return nil, &Error{f.Path(), generationFile, err}
		}
	}
	said, err := readNames(f)
	if err != nil {
		return nil, err
	}
	m := tokenizer.Marks{EOS: -1, BOS: -1}
	begins := func(id int32) bool { return said.eos != "" && said.eos != said.bos && tok.Name(id) == said.bos }
	end := func(file string, ids ...int32) {
		for _, id := range ids {
			switch {
			case int(id) >= tok.VocabSize():
				notes = append(notes, fmt.Sprintf("%s names token %d as an end, which the model does not have", file, id))
			case !slices.Contains(m.Ends, id):
				m.Ends = append(m.Ends, id)
				if begins(id) {
					notes = append(notes, fmt.Sprintf("%s names %q as an end, which %s calls bos_token", file, said.bos,
						tokConfigFile))
				}
			}
		}
	}
	end(configFile, conf.ends...)
	end(generationFile, gen.ends...)
	if id, ok := tok.Added(said.eos); ok {
		end(tokConfigFile, id)
	}
	format := chat.For(tok)
	if own, err := said.format(f, tok); own != nil && err == nil {
		end(templateFile, own.TurnEnds()...)
	} else if said.template != "" && inTemplate(said.template, tok, format.TurnEnds()) {
		end(templateFile, format.TurnEnds()...)
	}
	text := func(id int32) bool { return tok.Special(id) && !begins(id) && !slices.Contains(format.TurnEnds(), id) }
	named, ok := tok.NamedEnd()
	switch i := slices.IndexFunc(m.Ends, text); {
	case isRun(f): // config.json has the token with which its documents ended first
		m.EOS = tok.EOS()
	case i >= 0:
		m.EOS = m.Ends[i]
	case ok:
		m.EOS = named
	default:
		m.EOS = tok.EOS()
	}
	first, puts := tok.First()
	m.BOS = beginning(tok, format, said, gen.bos, conf.bos)
	switch {
	case isRun(f): // config.json has the token with which its documents began
		m.Begins = m.BOS >= 0 && conf.bos == m.BOS
	case m.BOS >= 0 && strings.Contains(said.template, "bos_token"):
		m.Begins = true
	case puts:
		m.Begins = true
		if said.addBOS != nil && !*said.addBOS {
			notes = append(notes, fmt.Sprintf("%s puts %q before a text, and %s says add_bos_token = false: the former "+
				"decides, as in transformers", tokenizerFile, tok.Name(first), tokConfigFile))
		}
	default:
		m.Begins = said.addBOS != nil && *said.addBOS && m.BOS >= 0
	}
	if m.BOS == m.EOS { // a text begins with the end of the one before
		m.BOS, m.Begins = -1, false
	}
	tok.Mark(m)
	return append(notes, tok.Notes()...), nil
}

// isRun reports whether a model is a checkpoint of a run, whose files this program wrote.
func isRun(f source) bool {
	c, ok := f.(*checkpoint.Checkpoint)
	if ok {
		_, err := c.File(rundir.StateFile)
		ok = err == nil
	}
	return ok
}

// tokens are the ids that a configuration names: those that end a text, and the one that begins it, -1 for none.
type tokens struct {
	ends []int32
	bos  int32
}

// beginning returns the beginning-of-text token, -1 if there is none: the one that tokenizer.json puts first, else the
// first that another file names. One that opens a turn is none.
func beginning(tok *tokenizer.Tokenizer, format chat.Format, said names, ids ...int32) int32 {
	if id, ok := tok.First(); ok {
		return id
	}
	if id, ok := tok.Added(said.bos); ok {
		ids = append([]int32{id}, ids...)
	}
	if id, ok := tok.BOS(); ok {
		ids = append(ids, id)
	}
	for _, id := range ids {
		if id >= 0 && int(id) < tok.VocabSize() && tok.Special(id) && !slices.Contains(format.Special(), tok.Name(id)) {
			return id
		}
	}
	return -1
}

// inTemplate reports whether a template writes all of the tokens, and there is one.
func inTemplate(template string, tok *tokenizer.Tokenizer, ids []int32) bool {
	missing := func(id int32) bool { return !strings.Contains(template, tok.Name(id)) }
	return len(ids) > 0 && !slices.ContainsFunc(ids, missing)
}

// names is what the files of a tokenizer beside tokenizer.json say, tokens by their names.
type names struct {
	addBOS   *bool             // nil: no file says
	bos, eos string            // ""
	tokens   map[string]string // bos_token, eos_token and all others, by these names
	template string            // of conversations
	toolUse  string            // of those with tools; "": the same
	file     string            // that has the template
}

// readNames reads tokenizer_config.json, special_tokens_map.json and chat_template.jinja, as far as they are there.
func readNames(f source) (n names, err error) {
	n.tokens = map[string]string{}
	for _, file := range []string{tokConfigFile, specialFile} {
		raw, err := optional(f, file)
		if raw == nil {
			if err != nil {
				return n, err
			}
			continue
		}
		keys, err := family.ReadObject(raw, maxFile)
		if err != nil {
			return n, &Error{f.Path(), file, err}
		}
		for key, value := range keys {
			if name := tokenName(value); strings.HasSuffix(key, "_token") && name != "" && n.tokens[key] == "" {
				n.tokens[key] = name
			}
		}
		if file == tokConfigFile {
			_ = json.Unmarshal(keys["add_bos_token"], &n.addBOS) // anything but true or false says nothing
			n.template, n.toolUse = templates(keys["chat_template"])
			n.file = file
		}
	}
	n.bos, n.eos = n.tokens["bos_token"], n.tokens["eos_token"]
	raw, err := optional(f, templateFile)
	if raw != nil {
		n.template, n.toolUse, n.file = string(raw), "", templateFile
	}
	return n, err
}

// tokenName reads the name of a token: a string, or an object with its content.
func tokenName(raw json.RawMessage) (name string) {
	var token struct{ Content string }
	if json.Unmarshal(raw, &name) != nil && json.Unmarshal(raw, &token) == nil {
		return token.Content
	}
	return name
}

// templates reads a chat_template: a string, or a list of named ones, of which those that transformers chooses count.
func templates(raw json.RawMessage) (template, toolUse string) {
	var list []struct{ Name, Template string }
	if json.Unmarshal(raw, &template) == nil || json.Unmarshal(raw, &list) != nil {
		return template, ""
	}
	for _, t := range list {
		switch t.Name {
		case "default":
			template = t.Template
		case "tool_use":
			toolUse = t.Template
		}
	}
	return template, toolUse
}

// optional reads a file that need not be there; then nil.
func optional(f source, name string) ([]byte, error) {
	data, err := f.File(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, &Error{f.Path(), name, err}
	}
	return data, nil
}

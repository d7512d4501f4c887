package plan

import (
	"cmp"
	"fmt"

	"gimbal/internal/chat"
	"gimbal/internal/config"
	"gimbal/internal/corpus"
	"gimbal/internal/data"
	"gimbal/internal/hub"
)

// ownTemplate returns the model's own template of conversations, if the configuration lets it write them and the model
// has one; and what is wrong with it, which matters where there are conversations.
func ownTemplate(cfg *config.Config, m *hub.Model) (own *chat.Template, broken error) {
	if m == nil || cfg.Data.Template != "model" {
		return nil, nil
	}
	f, err := m.Format()
	if err != nil {
		return nil, fmt.Errorf("%w: the model's chat template cannot be used: %w; write conversations in a format of "+
			"gimbal's own: --set data.template=builtin", data.ErrUnusable, err)
	}
	own, _ = f.(*chat.Template)
	return own, nil
}

// format is an own template as a format; nil: the tokenizer's.
func format(own *chat.Template) chat.Format {
	if own == nil {
		return nil
	}
	return own
}

// takeTemplate records that there is no template of the model's own.
func (d *Draft) takeTemplate(own *chat.Template, broken error, docs *corpus.Corpus) error {
	cfg := d.Config
	switch {
	case broken != nil && docs.HasChat():
		return broken
	case own == nil && cfg.Data.Template == "model":
		return cfg.SetPlanned("data.template", "builtin", "planned: the model has no other chat template")
	}
	return nil
}

// Template returns the template of conversations that goes with what is trained, and what is to be told of it. own is
// that of the model: it stays where nothing of it is untrue.
func (d *Draft) Template(own string) (template, note string) {
	ours := d.Text.Set.Chat().Template
	if own == "" || ours == "" || own == ours {
		return cmp.Or(ours, own), ""
	}
	tok, format := d.Text.Tok, chat.For(d.Text.Tok)
	var t chat.Tokens
	if id, ok, err := tok.Start(d.Config.Data.Start); ok && err == nil {
		t.Start = tok.Name(id)
	}
	if id, ok := tok.BOS(); ok {
		t.BOS = tok.Name(id)
	}
	t.EOS = tok.Name(tok.EOS())
	how := chat.Differs(format, own, t)
	if how == "" {
		return own, ""
	}
	return ours, fmt.Sprintf("warning: the model's chat template is replaced by that of %s, as which "+
		"conversations are trained: %s", format.Name(), how)
}

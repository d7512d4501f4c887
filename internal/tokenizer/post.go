package tokenizer

import (
	"fmt"
)

// postProcessor reads what is added around a text. It adds nothing here, because documents get their ends from
// data.start and EOS. The token that a template puts first is the file's beginning-of-text token.
func (p *parser) postProcessor(where string, got object) {
	if p.Failed() {
		return
	}
	switch got["type"] {
	case nil:
	case "Sequence":
		var parts []any
		p.expect(where, got, object{"type": "Sequence", "processors": &parts})
		for i, part := range parts {
			in := fmt.Sprintf("%s.processors[%d]", where, i)
			inner := p.typed(in, part)
			if inner["type"] == "Sequence" {
				p.Fail(unsupported(in+".type", "Sequence"))
			}
			p.postProcessor(in, inner)
		}
	case "TemplateProcessing":
		var single []any
		// Texts never come in pairs, and the tokens are in added_tokens.
		p.expect(where, got, object{"type": "TemplateProcessing", "single": &single, "pair": anything,
			"special_tokens": anything})
		p.template(where+".single", single)
	default:
		p.expect(where, got, object{"type": "ByteLevel", "add_prefix_space": anyScalar, "trim_offsets": anyScalar,
			"use_regex": anyScalar})
	}
}

// template reads the template of a single text: at most one special token before it and one after it.
func (p *parser) template(where string, single []any) {
	text := false
	for i, item := range single {
		in := fmt.Sprintf("%s[%d]", where, i)
		fields, _ := item.(object)
		if len(fields) != 1 {
			p.Fail(broken("%s is not an object with one field", in))
			return
		}
		for kind, part := range fields {
			id := ""
			p.expect(in+"."+kind, part, object{"id": &id, "type_id": anyScalar})
			switch {
			case kind == "Sequence" && id == "A" && !text:
				text = true
			case kind == "SpecialToken" && id != "" && i == 0:
				p.first = id
			case kind == "SpecialToken" && id != "" && text:
			default:
				p.Fail(unsupported(in+"."+kind, id))
			}
		}
	}
}

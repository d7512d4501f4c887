package tokenizer

import (
	"fmt"
	"slices"
)

// The components of a tokenizer.json around its model.

// normalizer reads how text is normalized: by NFC or not at all, alone or in a Sequence.
func (p *parser) normalizer(where string, got object) {
	nfc := object{"type": "NFC"}
	switch got["type"] {
	case nil:
	case "Sequence":
		var list []any
		p.expect(where, got, object{"type": "Sequence", "normalizers": &list})
		for i, one := range list {
			in := fmt.Sprintf("%s.normalizers[%d]", where, i)
			p.expect(in, p.typed(in, one), nfc)
		}
		p.nfc = len(list) > 0
	default:
		p.expect(where, got, nfc)
		p.nfc = true
	}
}

// preTokenizer reads how text is cut into pieces: a ByteLevel, or a Split or Digits before one.
func (p *parser) preTokenizer(where string, got object) {
	if p.Failed() || got == nil {
		return
	}
	p.pre = true
	byGPT2 := true // the default of use_regex
	byteLevel := object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": anyScalar, "use_regex": &byGPT2}
	if got["type"] == "ByteLevel" {
		if p.expect(where, got, byteLevel); byGPT2 {
			p.split = splitGPT2
		}
		return
	}
	var parts []any
	p.expect(where, got, object{"type": "Sequence", "pretokenizers": &parts})
	if where += ".pretokenizers"; len(parts) != 2 {
		p.Fail(unsupported(where, "not a Split or Digits and a ByteLevel"))
		return
	}
	var pattern string
	first := p.typed(where+"[0]", parts[0])
	if first["type"] == "Digits" {
		p.expect(where+"[0]", first, object{"type": "Digits", "individual_digits": true})
		if p.expect(where+"[1]", p.typed(where+"[1]", parts[1]), byteLevel); !byGPT2 || first["individual_digits"] != true {
			p.Fail(unsupported(where, "Digits that are not single, or without GPT-2's expression"))
		}
		p.split = splitDigits
		return
	}
	p.expect(where+"[0]", first,
		object{"type": "Split", "pattern": object{"Regex": &pattern}, "behavior": "Isolated", "invert": false})
	if p.expect(where+"[1]", p.typed(where+"[1]", parts[1]), byteLevel); byGPT2 {
		p.Fail(unsupported(where+"[1].use_regex", true))
	}
	if i := slices.Index(patterns[1:], pattern); i >= 0 {
		p.split = split(i + 1)
	} else {
		p.Fail(unsupported(where+"[0].pattern.Regex", pattern))
	}
}

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

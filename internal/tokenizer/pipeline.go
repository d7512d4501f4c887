package tokenizer

import (
	"fmt"
	"slices"
)

// The components of a tokenizer.json around its model.

var byteLevel = map[string]any{
	"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": nil, "use_regex": []any{true, false},
}

func (p *parser) preTokenizer() {
	const where = "pre_tokenizer"
	var parts []map[string]any
	got := p.component(where, func(key string) bool {
		if key != "pretokenizers" {
			return false
		}
		p.array(where+"."+key, func(i int) {
			in := fmt.Sprintf("%s.%s[%d]", where, key, i)
			pattern := ""
			part := p.component(in, func(key string) bool {
				if key != "pattern" {
					return false
				}
				p.object(in+"."+key, func(kind string) {
					v := p.scalar(in + ".pattern." + kind)
					if kind != "Regex" {
						p.Fail(unsupported(in+".pattern."+kind, v))
					}
					pattern, _ = v.(string)
				})
				return true
			})
			if part["pattern"] != nil {
				part["pattern"] = pattern
			}
			if len(parts) < 2 {
				parts = append(parts, part)
			} else {
				p.Fail(unsupported(in, part["type"]))
			}
		})
		return true
	})
	if p.Failed() || len(got) == 0 {
		return
	}
	p.pre = true
	if got["type"] == "ByteLevel" {
		p.expect(where, got, byteLevel)
		if got["use_regex"] != false { // the default is true
			p.split = splitGPT2
		}
		return
	}
	p.expect(where, got, map[string]any{"type": "Sequence", "pretokenizers": true})
	if len(parts) != 2 {
		p.Fail(unsupported(where+".pretokenizers", "not a Split and a ByteLevel"))
	}
	if p.Failed() {
		return
	}
	p.expect(where+".pretokenizers[0]", parts[0],
		map[string]any{"type": "Split", "pattern": nil, "behavior": "Isolated", "invert": false})
	p.expect(where+".pretokenizers[1]", parts[1], byteLevel)
	if parts[1]["use_regex"] != false {
		p.Fail(unsupported(where+".pretokenizers[1].use_regex", true))
	}
	pattern, _ := parts[0]["pattern"].(string)
	if i := slices.Index(patterns[1:], pattern); i >= 0 {
		p.split = split(i + 1)
	} else {
		p.Fail(unsupported(where+".pretokenizers[0].pattern.Regex", pattern))
	}
}

// postProcessor reads what is added around a text: for us nothing, as documents
// get their ends from data.start and EOS. The token that a template puts first
// is the file's beginning-of-text token. A sequence may be only outside.
func (p *parser) postProcessor(where string, outside bool) {
	got := p.component(where, func(key string) bool {
		in := where + "." + key
		switch {
		case key == "processors" && outside:
			p.array(in, func(i int) { p.postProcessor(fmt.Sprintf("%s[%d]", in, i), false) })
		case key == "single":
			p.template(in)
		case key == "pair" || key == "special_tokens":
			p.Value() // texts never come in pairs, and the tokens are in added_tokens
		default:
			return false
		}
		return true
	})
	switch got["type"] {
	case nil:
	case "Sequence":
		p.expect(where, got, map[string]any{"type": "Sequence", "processors": true})
	case "TemplateProcessing":
		p.expect(where, got,
			map[string]any{"type": "TemplateProcessing", "single": true, "pair": nil, "special_tokens": nil})
	default:
		p.expect(where, got,
			map[string]any{"type": "ByteLevel", "add_prefix_space": nil, "trim_offsets": nil, "use_regex": nil})
	}
}

// template reads the template of a single text: at most one special token before it and one behind.
func (p *parser) template(where string) {
	text := false
	p.array(where, func(i int) {
		in := fmt.Sprintf("%s[%d]", where, i)
		p.object(in, func(kind string) {
			id := ""
			p.object(in+"."+kind, func(key string) {
				v := p.scalar(in + "." + kind + "." + key)
				switch key {
				case "id":
					id, _ = v.(string)
				case "type_id":
				default:
					p.Fail(unsupported(in+"."+kind+"."+key, v))
				}
			})
			switch {
			case kind == "Sequence" && id == "A" && !text:
				text = true
			case kind == "SpecialToken" && id != "" && i == 0:
				p.first = id
			case kind == "SpecialToken" && id != "" && text:
			default:
				p.Fail(unsupported(in+"."+kind, id))
			}
		})
	})
}

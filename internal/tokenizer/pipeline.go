package tokenizer

import (
	"fmt"
	"strings"

	"gimbal/internal/normal"
	"gimbal/internal/split"
)

// The components of a tokenizer.json around its model.

var forms = map[string]normal.Form{
	"NFC": normal.NFC, "NFD": normal.NFD, "NFKC": normal.NFKC, "NFKD": normal.NFKD,
	"Lowercase": normal.Lowercase, "StripAccents": normal.StripAccents,
}

// normalizer reads how text is changed before it is cut: by one normalizer, several or none.
func (p *parser) normalizer(where string, got object) {
	var change change
	switch got["type"] {
	case nil:
		return
	case "Sequence":
		var list []any
		p.expect(where, got, object{"type": "Sequence", "normalizers": &list})
		for i, one := range list {
			in := fmt.Sprintf("%s.normalizers[%d]", where, i)
			if inner := p.typed(in, one); inner["type"] == "Sequence" {
				p.Fail(unsupported(in+".type", "Sequence"))
			} else {
				p.normalizer(in, inner)
			}
		}
		return
	case "Prepend":
		p.expect(where, got, object{"type": "Prepend", "prepend": &change.prefix})
	case "Replace":
		var old, by string
		p.expect(where, got, object{"type": "Replace", "pattern": object{"String": &old}, "content": &by})
		if old == "" {
			p.Fail(unsupported(where+".pattern.String", old))
			return
		}
		if p.growth *= max(1, len(by)/len(old)); p.growth > maxGrowth {
			p.Fail(unsupported(where+".content", by))
		}
		p.noBlanks = p.noBlanks || old == " " && !strings.Contains(by, " ")
		change.form = normal.Replace(old, by)
	default:
		name, _ := got["type"].(string)
		if change.form = forms[name]; change.form == nil {
			p.Fail(unsupported(where+".type", name))
		}
		p.expect(where, got, object{"type": name})
	}
	if len(change.prefix) > maxContent || len(p.normal) == maxNormal {
		p.Fail(unsupported(where, "too long"))
	}
	p.normal = append(p.normal, change)
}

// preTokenizer reads how text is cut into pieces: by one pre-tokenizer or by several in turn.
func (p *parser) preTokenizer(where string, got object) {
	if p.Failed() || got == nil {
		return
	}
	var parts []*split.Split
	add := func(part *split.Split) {
		if len(parts) == split.MaxParts-1 { // the last cuts where no merge goes
			p.Fail(unsupported(where, fmt.Sprintf("more than %d parts", len(parts))))
			return
		}
		parts = append(parts, part)
	}
	if got["type"] == "Sequence" {
		var list []any
		p.expect(where, got, object{"type": "Sequence", "pretokenizers": &list})
		for i, one := range list {
			in := fmt.Sprintf("%s.pretokenizers[%d]", where, i)
			p.cutter(in, p.typed(in, one), i == 0, add)
		}
	} else {
		p.cutter(where, got, true, add)
	}
	if len(parts) > 0 && !p.Failed() {
		p.split = split.Sequence(parts...)
	}
}

// cutter reads one pre-tokenizer. first says that none is before it.
func (p *parser) cutter(where string, got object, first bool, add func(*split.Split)) {
	if p.Failed() {
		return
	}
	behind := p.byteLevel
	var part *split.Split
	switch got["type"] {
	case "ByteLevel":
		prefix, own := true, true // the defaults
		p.expect(where, got, object{"type": "ByteLevel", "add_prefix_space": &prefix, "trim_offsets": anyScalar,
			"use_regex": &own})
		switch {
		case behind:
			p.Fail(unsupported(where+".type", "ByteLevel"))
		case prefix && !first: // it would come before each piece
			p.Fail(unsupported(where+".add_prefix_space", prefix))
		case prefix:
			p.cut = append(p.cut, change{prefix: " ", unless: true})
		}
		if p.byteLevel = true; own {
			add(split.GPT2)
		}
		return
	case "Metaspace":
		p.metaspace(where, got, first)
		return
	case "Digits":
		each := false
		if p.expect(where, got, object{"type": "Digits", "individual_digits": &each}); each {
			part = split.EachDigit
		} else {
			part = split.AllDigits
		}
	case "Punctuation":
		p.expect(where, got, object{"type": "Punctuation", "behavior": "Contiguous"})
		part = split.Punctuation
	default:
		if part = p.pattern(where, got); part == nil {
			return
		}
	}
	if behind {
		if part = part.OfBytes(); part == nil {
			p.Fail(unsupported(where+".type", fmt.Sprintf("%s behind a ByteLevel", got["type"])))
			return
		}
	}
	add(part)
}

// pattern reads a Split; nil if it does nothing or was refused.
func (p *parser) pattern(where string, got object) *split.Split {
	var behavior, expression string
	var invert bool
	if pattern, _ := got["pattern"].(object); pattern["String"] == " " { // Gemma's
		p.expect(where, got, object{"type": "Split", "pattern": object{"String": " "}, "behavior": "MergedWithPrevious",
			"invert": false})
		p.wantsNoBlanks = where + ".pattern.String"
		return nil
	}
	p.expect(where, got, object{"type": "Split", "pattern": object{"Regex": &expression}, "behavior": &behavior,
		"invert": &invert})
	part := split.Pattern(expression)
	switch {
	case p.Failed():
	case part == nil:
		p.Fail(unsupported(where+".pattern.Regex", expression))
	case behavior == "Isolated" && !invert, behavior == "Removed" && invert && part.Covers():
		return part
	default:
		p.Fail(unsupported(where+".behavior", behavior))
	}
	return nil
}

// metaspace reads a Metaspace, which writes spaces as SentencePiece does.
func (p *parser) metaspace(where string, got object, first bool) {
	legacy, scheme := true, "always" // the defaults
	p.words = true
	p.expect(where, got, object{"type": "Metaspace", "replacement": blank, "str_rep": blank,
		"add_prefix_space": &legacy,
		"prepend_scheme":   &scheme, "split": &p.words})
	if !legacy {
		scheme = "never"
	}
	if !first {
		p.Fail(unsupported(where+".type", "Metaspace behind another one"))
	}
	p.cut = append(p.cut, change{form: normal.Replace(" ", blank)})
	switch scheme {
	case "always", "first":
		p.cut = append(p.cut, change{prefix: blank, unless: true, first: scheme == "first"})
	case "never":
	default:
		p.Fail(unsupported(where+".prepend_scheme", scheme))
	}
}

// blank is what SentencePiece writes for a space.
const blank = string(split.Blank)

// metaspace is the kind of decoder that writes spaces for those of SentencePiece.
const metaspace = "Metaspace"

// decoding is what a decoder does with the names of tokens.
type decoding struct {
	kind   string // ByteLevel, Fuse, metaspace
	bytes  bool   // <0x41> is a byte
	strips bool   // a text loses the space it begins with
}

// decoder reads how names of tokens become text.
func (p *parser) decoder(where string, got object) {
	list := []any{got}
	switch got["type"] {
	case nil:
		return
	case "Sequence":
		p.expect(where, got, object{"type": "Sequence", "decoders": &list})
		where += ".decoders"
	}
	d := &p.decoding
	fused := false
	for i, one := range list {
		in := where
		if len(list) > 1 {
			in = fmt.Sprintf("%s[%d]", where, i)
		}
		switch one := p.typed(in, one); one["type"] {
		case "Replace":
			p.expect(in, one, object{"type": "Replace", "pattern": object{"String": blank}, "content": " "})
			d.kind = metaspace
		case "Metaspace":
			scheme, legacy := "always", true
			p.expect(in, one, object{"type": "Metaspace", "replacement": blank, "str_rep": blank, "split": anyScalar,
				"add_prefix_space": &legacy, "prepend_scheme": &scheme})
			d.kind, d.strips = metaspace, scheme != "never" && legacy
		case "ByteFallback":
			p.expect(in, one, object{"type": "ByteFallback"})
			d.bytes = true
		case "Strip":
			p.expect(in, one, object{"type": "Strip", "content": " ", "start": oneOf{jsonNumber("1"), jsonNumber("0")},
				"stop": jsonNumber("0")})
			if !fused { // each token would lose its space
				p.Fail(unsupported(in+".type", "Strip before Fuse"))
			}
			d.strips = d.strips || one["start"] == jsonNumber("1")
		default:
			p.expect(in, one, object{"type": oneOf{"ByteLevel", "Fuse"},
				"add_prefix_space": anyScalar, "trim_offsets": anyScalar, "use_regex": anyScalar})
			if fused = one["type"] == "Fuse"; d.kind == "" {
				d.kind, _ = one["type"].(string)
			}
		}
	}
}

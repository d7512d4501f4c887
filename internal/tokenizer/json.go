package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"gimbal/internal/split"
)

// writeJSON writes tokenizer.json: every key in the order of the tokenizers library, one token and one merge per line.
func (t *Tokenizer) writeJSON() []byte {
	var b bytes.Buffer
	b.WriteString("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [")
	for i, a := range t.added {
		comma(&b, i)
		fmt.Fprintf(&b, `    {"id": %d, "content": %s, "single_word": false, "lstrip": false, "rstrip": false, `+
			`"normalized": %t, "special": %t}`, a.id, quote(a.content), a.normalized, a.special)
	}
	b.WriteString("\n  ],\n  \"normalizer\": null,\n  \"pre_tokenizer\": ")
	const byteLevel = `{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": %t}`
	decoder := fmt.Sprintf(byteLevel, true)
	switch {
	case t.kind == KindChars:
		b.WriteString("null")
		decoder = `{"type": "Fuse"}`
	case t.split == nil || t.split == split.GPT2:
		fmt.Fprintf(&b, byteLevel, t.split == split.GPT2)
	default:
		pattern := split.PatternQwen2
		if t.split == split.Llama3 {
			pattern = split.PatternLlama3
		}
		fmt.Fprintf(&b, `{"type": "Sequence", "pretokenizers": [
    {"type": "Split", "pattern": {"Regex": %s}, "behavior": "Isolated", "invert": false},
    `, quote(pattern))
		fmt.Fprintf(&b, byteLevel, false)
		b.WriteString("\n  ]}")
	}
	fmt.Fprintf(&b, `,
  "post_processor": null,
  "decoder": %s,
  "model": {
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": false,
    "vocab": {`, decoder)
	next := t.added
	n := 0
	for id := range int32(t.VocabSize()) {
		name := t.name(id)
		if len(next) > 0 && next[0].id == id {
			a := next[0]
			next = next[1:]
			if !a.inVocab {
				continue
			}
			name = a.content
		}
		comma(&b, n)
		n++
		fmt.Fprintf(&b, "      %s: %d", quote(name), id)
	}
	b.WriteString("\n    },\n    \"merges\": [")
	for i, m := range t.merges {
		comma(&b, i)
		b.WriteString("      " + quote(t.name(m.A)+" "+t.name(m.B)))
	}
	if len(t.merges) > 0 {
		b.WriteString("\n    ")
	}
	b.WriteString("]\n  }\n}\n")
	return b.Bytes()
}

func comma(b *bytes.Buffer, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
	b.WriteByte('\n')
}

// name returns how a vocabulary token is written in files: as it is, or in the kinds that work on bytes, each byte as
// its character.
func (t *Tokenizer) name(id int32) string {
	if t.kind == KindChars {
		return string(t.Bytes(id))
	}
	var name []rune
	for _, c := range t.Bytes(id) {
		name = append(name, byteRune[c])
	}
	return string(name)
}

// byteRune maps a byte to the character that stands for it in files, and runeByte maps it back. byteOrder lists the
// bytes in the order of that alphabet, which is GPT-2's: the printable ones, which stand for themselves, then the
// others.
var byteRune, runeByte, byteOrder = func() (to [256]rune, from map[rune]byte, order []byte) {
	var others []byte
	for c := range 256 {
		if '!' <= c && c <= '~' || 0xa1 <= c && c <= 0xac || c >= 0xae {
			to[c], order = rune(c), append(order, byte(c))
		} else {
			to[c], others = rune(256+len(others)), append(others, byte(c))
		}
	}
	from = make(map[rune]byte, 256)
	for c, r := range to {
		from[r] = byte(c)
	}
	return to, from, append(order, others...)
}()

func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("tokenizer: encode string") // cannot happen: a string always encodes
	}
	return string(bytes.TrimRight(b.Bytes(), "\n"))
}

// ConfigJSON returns the tokenizer_config.json that goes with JSON, for a model with a context of contextLen tokens.
// begins says whether texts begin with the beginning-of-text token; others add it then. Where there is none, bos_token
// is the end-of-text token, with which documents start by default: then generating without a prompt starts as training
// did. chatTemplate is a Jinja template for conversations, "" for none. The error is always nil today.
func (t *Tokenizer) ConfigJSON(contextLen int, begins bool, chatTemplate string) ([]byte, error) {
	eos := t.Name(t.eos)
	bos := eos
	if id, ok := t.BOS(); ok {
		bos = t.Name(id)
	}
	prefix := slices.ContainsFunc(t.cut, func(c change) bool { return c.prefix != "" })
	chat := ""
	if chatTemplate != "" {
		chat = fmt.Sprintf("  \"chat_template\": %s,\n", quote(chatTemplate))
	}
	return fmt.Appendf(nil, `{
  "add_bos_token": %t,
  "add_eos_token": false,
  "add_prefix_space": %t,
  "bos_token": %s,
%s  "clean_up_tokenization_spaces": false,
  "eos_token": %s,
  "model_max_length": %d,
  "tokenizer_class": "PreTrainedTokenizerFast"
}
`, begins, prefix, quote(bos), chat, quote(eos), contextLen), nil
}

package corpus

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"gimbal/internal/chat"
	"gimbal/internal/strictjson"
)

const maxLine = 64 << 20

// lineParser reads lines of JSONL; its memory is used anew for each.
type lineParser struct {
	line, value strictjson.Reader // of the line, and of one value in it
	chat        []chat.Message
}

// part is a value of a line.
type part struct {
	json []byte // nil where it is absent
	at   int64  // byte of the line at which it begins
}

var lineKeys = [4]string{"text", "messages", "prompt", "completion"}

// parse returns what the JSON object in line holds: a "text", or a conversation in "messages" or in "prompt" and
// "completion". It unescapes in place: the results overwrite line, alias it, and hold until the next call.
//
// Bytes that are not UTF-8 are kept as they are, and a lone surrogate escape becomes its three bytes, which count as
// invalid UTF-8. Only a key that is looked for may not come twice. Errors are *Error with Byte counted from 0.
func (p *lineParser) parse(line []byte) (text []byte, turns []chat.Message, err error) {
	r := &p.line
	r.Reset(line, strictjson.AllowDuplicates, strictjson.AllowInvalidUTF8)
	start := r.At()
	if start == int64(len(line)) || line[start] != '{' {
		return nil, nil, &Error{Byte: start, What: "not a JSON object"}
	}
	var parts [4]part // in the order of lineKeys
	r.Object(func(key []byte) {
		at := r.At()
		k := slices.Index(lineKeys[:], string(key))
		if k >= 0 && parts[k].json != nil {
			fail(r, r.KeyAt(), "a second %q", key)
		}
		if json := r.Value(); k >= 0 {
			parts[k] = part{json, at}
		}
	})
	if err := r.End(); err != nil {
		return nil, nil, lineFault(err, 0)
	}
	isText, isChat, isPair := parts[0].json != nil, parts[1].json != nil, parts[2].json != nil && parts[3].json != nil
	p.chat = p.chat[:0]
	switch {
	case isText && isChat, isText && isPair, isChat && isPair:
		return nil, nil, &Error{Byte: start,
			What: `more than one of "text", "messages", and "prompt" with "completion"`}
	case isText:
		if parts[0].json[0] != '"' {
			return nil, nil, &Error{Byte: parts[0].at, What: `"text" is not a string`}
		}
		return unescape(parts[0].json), nil, nil
	case isChat:
		err = p.messages("messages", parts[1], "", true)
	case isPair:
		if err = p.messages("prompt", parts[2], chat.User, false); err == nil {
			err = p.messages("completion", parts[3], chat.Assistant, true)
		}
	default:
		return nil, nil, &Error{Byte: start, What: `no "text", "messages", or "prompt" with "completion"`}
	}
	if err != nil {
		return nil, nil, err
	}
	if !slices.ContainsFunc(p.chat, func(m chat.Message) bool { return m.Learn }) {
		return nil, nil, &Error{Byte: start, What: "a conversation without an answer of the assistant"}
	}
	return nil, p.chat, nil
}

// fail stops the reading of r with a fault of ours at a byte of what it reads.
func fail(r *strictjson.Reader, at int64, format string, args ...any) {
	r.Fail(&Error{Byte: at, What: fmt.Sprintf(format, args...)})
}

// lineFault returns a fault of what begins at byte from of a line as a fault of the line.
func lineFault(err error, from int64) error {
	if syntax, ok := err.(*strictjson.Error); ok {
		return &Error{Byte: from + syntax.Byte, What: "broken JSON: " + syntax.What}
	}
	fault := err.(*Error) // of fail; there are no others
	fault.Byte += from
	return fault
}

// unescape returns what a JSON string spells, and overwrites it: nothing is longer than how it was written. The JSON
// library puts U+FFFD where a text is not UTF-8; here its bytes stay.
func unescape(quoted []byte) []byte {
	rest := quoted[1 : len(quoted)-1]
	out := rest[:0]
	for {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			return append(out, rest...)
		}
		out = append(out, rest[:i]...)
		c := rest[i+1]
		if rest = rest[i+2:]; c != 'u' {
			out = append(out, "\"\\/\b\f\n\r\t"[strings.IndexByte(`"\/bfnrt`, c)])
			continue
		}
		r := hex4(rest)
		if rest = rest[4:]; !utf16.IsSurrogate(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		pair := rune(utf8.RuneError)
		if bytes.HasPrefix(rest, []byte(`\u`)) {
			pair = utf16.DecodeRune(r, hex4(rest[2:]))
		}
		if pair != utf8.RuneError {
			out = utf8.AppendRune(out, pair)
			rest = rest[6:]
		} else {
			out = append(out, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
		}
	}
}

// hex4 reads the four digits behind \u.
func hex4(digits []byte) rune {
	var code [2]byte
	if _, err := hex.Decode(code[:], digits[:4]); err != nil {
		panic("corpus: an escape that was not checked")
	}
	return rune(code[0])<<8 | rune(code[1])
}

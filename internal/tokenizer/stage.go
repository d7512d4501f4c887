package tokenizer

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"gimbal/internal/normal"
	"gimbal/internal/split"
)

// stage takes added tokens out of text, and changes what lies between them.
type stage struct {
	added *literals // nil: none
	change
}

// change is what one normalizer does to text, or a pre-tokenizer before it cuts. The zero change does nothing.
type change struct {
	form   normal.Form
	prefix string // comes before the text, unless that is empty
	unless bool   // or begins with prefix already
	first  bool   // only at the start of the whole text, not behind an added token
}

// changed returns a text after the changes.
func changed(changes []change, text string) string {
	for _, c := range changes {
		if c.form != nil {
			b, _ := c.form(nil, []byte(text), true)
			text = string(b)
		}
		if text != "" && !(c.unless && strings.HasPrefix(text, c.prefix)) {
			text = c.prefix + text
		}
	}
	return text
}

// stages returns the stages of a tokenizer in their order. The first finds the added tokens in the text as it is;
// behind the changes of normal, one finds those that belong to normalized text; the changes of cut follow. special says
// whether special tokens are among them.
func stages(all []added, normal, cut []change, special bool) (front []stage) {
	for i, changes := range [][]change{normal, cut} {
		s := stage{added: newLiterals(all, normal, func(a added) bool {
			return a.normalized == (i == 1) && (special || !a.special)
		})}
		for _, c := range changes {
			s.change = c
			front, s = append(front, s), stage{}
		}
		if s.added != nil {
			front = append(front, s)
		}
	}
	return front
}

// place is where the text stands that an encoder has taken.
type place uint8

const (
	atText    place = iota // at the start of a text
	atSegment              // behind an added token
	inside
)

// passOn takes added tokens out of text, hands what lies between them to the next stage, and returns how many bytes
// are done: all of them if final, otherwise those that no further text can change.
func (e *Encoder) passOn(dst []int32, text []byte, final bool) ([]int32, int) {
	done := 0 // handed on
	limit := len(text)
	if e.stage.added != nil && !final {
		limit = normal.Whole(text[:max(0, limit-e.stage.added.longest+1)]) // a match from here on could still grow
	}
	for at := 0; ; {
		end, token := limit, -1
		if e.stage.added != nil {
			at, end, token = e.stage.added.find(text, at, limit)
		}
		if token >= 0 {
			fits, sure := true, true
			from, to := at, end
			if a := &e.t.added[token]; a.edges != 0 {
				from, to, fits, sure = e.widen(a, text, done, at, end, final)
			}
			if sure && !fits {
				at = end
				continue
			}
			if sure {
				dst, _ = e.hand(dst, text[done:from], true)
				if e.err == nil {
					dst, e.err = e.next.end(dst)
				}
				if e.err != nil {
					return dst, from
				}
				e.next.passed(text[from:to])
				e.place = atSegment
				dst = append(dst, e.t.added[token].id)
				at, done = to, to
				continue
			}
			limit = from
		}
		limit = max(limit, done) // a match may end behind it
		if e.stage.added != nil && e.stage.added.strips && !final {
			limit = done + len(trimSpaces(text[done:limit]))
		}
		var n int
		dst, n = e.hand(dst, text[done:limit], final)
		if final && e.err == nil {
			dst, e.err = e.next.end(dst)
		}
		if n += done; n > 0 {
			e.word = endsWord(text[:n])
		}
		return dst, n
	}
}

// The edges of an added token say how it deals with the text around it.
const (
	singleWord  = 1 << iota // it is none within a word
	leftSpaces              // it takes the white space before it
	rightSpaces             // and behind it
)

// widen applies the edges of the added token text[at:end] and returns what it takes. fits is false if it is none. sure
// is false if that depends on further text.
func (e *Encoder) widen(a *added, text []byte, done, at, end int, final bool) (from, to int, fits, sure bool) {
	from, to = at, end
	if a.edges&leftSpaces != 0 {
		from = done + len(trimSpaces(text[done:at]))
	}
	if a.edges&singleWord != 0 {
		if !final && !utf8.FullRune(text[end:]) {
			return from, to, false, false
		}
		before := e.word
		if at > 0 {
			before = endsWord(text[:at])
		}
		if r, _ := utf8.DecodeRune(text[end:]); before || isWord(r) {
			return from, to, false, true
		}
	}
	if a.edges&rightSpaces != 0 {
		to = len(text) - len(bytes.TrimLeftFunc(text[end:], unicode.IsSpace))
		if to = min(to, end+maxSpaces); !final && !utf8.FullRune(text[to:]) && to < end+maxSpaces {
			return from, to, true, false
		}
	}
	return from, to, true, true
}

// maxSpaces bounds the white space beside an added token that it takes, in bytes.
const maxSpaces = split.MaxPiece

// trimSpaces returns b without the white space at its end, or without the last maxSpaces bytes of it.
func trimSpaces(b []byte) []byte {
	most := max(0, len(b)-maxSpaces)
	return b[:most+len(bytes.TrimRightFunc(b[most:], unicode.IsSpace))]
}

func endsWord(b []byte) bool {
	r, _ := utf8.DecodeLastRune(b)
	return isWord(r)
}

// isWord reports whether a character is part of a word, as \w says.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.Nl, unicode.Other_Alphabetic, unicode.M, unicode.Nd, unicode.Pc,
		unicode.Join_Control)
}

// hand gives text to the next stage and returns how many bytes of it are done.
func (e *Encoder) hand(dst []int32, text []byte, final bool) ([]int32, int) {
	n := len(text)
	c := &e.stage.change
	if c.form != nil {
		e.normal, n = c.form(e.normal[:0], text, final)
		text = e.normal
	}
	if c.prefix != "" && e.place != inside && len(text) > 0 {
		if !final && len(text) < len(c.prefix) {
			return dst, 0
		}
		if !(c.unless && bytes.HasPrefix(text, []byte(c.prefix))) && (e.place == atText || !c.first) && e.err == nil {
			dst, e.err = e.next.Write(dst, []byte(c.prefix))
		}
		e.place = inside
	}
	if e.err == nil {
		dst, e.err = e.next.Write(dst, text)
	}
	return dst, n
}

package tokenizer

import "gimbal/internal/nfc"

// stage takes added tokens out of text, and normalizes what lies between them.
type stage struct {
	added *literals // nil: none
	nfc   bool
}

// stages returns the stages of a tokenizer in their order. The first finds the added tokens in the text as it is, the
// second those that belong to normalized text. special says whether special tokens are among them.
func stages(all []added, nfc, special bool) (front []stage) {
	for _, normalized := range []bool{false, true} {
		s := stage{nfc: nfc && !normalized, added: newLiterals(all, nfc, func(a added) bool {
			return a.normalized == normalized && (special || !a.special)
		})}
		if s.added != nil || s.nfc {
			front = append(front, s)
		}
	}
	return front
}

// passOn takes added tokens out of text, hands what lies between them to the next stage, and returns how many bytes
// are done: all of them if final, otherwise those that no further text can change.
func (e *Encoder) passOn(dst []int32, text []byte, final bool) ([]int32, int) {
	done := 0 // handed on
	limit := len(text)
	if e.stage.added != nil && !final {
		limit = max(0, limit-e.stage.added.longest+1) // a match from here on could still grow
	}
	for at := 0; ; {
		end, token := limit, -1
		if e.stage.added != nil {
			at, end, token = e.stage.added.find(text, at, limit)
		}
		if token < 0 {
			limit = max(limit, done) // a match may end behind it
			var n int
			dst, n = e.hand(dst, text[done:limit], final)
			if final && e.err == nil {
				dst, e.err = e.next.end(dst)
			}
			return dst, done + n
		}
		dst, _ = e.hand(dst, text[done:at], true)
		if e.err == nil {
			dst, e.err = e.next.end(dst)
		}
		if e.err != nil {
			return dst, at
		}
		e.next.passed(text[at:end])
		dst = append(dst, e.t.added[token].id)
		at, done = end, end
	}
}

// hand gives text to the next stage and returns how many bytes of it are done.
func (e *Encoder) hand(dst []int32, text []byte, final bool) ([]int32, int) {
	n := len(text)
	if e.stage.nfc {
		e.normal, n = nfc.Append(e.normal[:0], text, final)
		text = e.normal
	}
	if e.err == nil {
		dst, e.err = e.next.Write(dst, text)
	}
	return dst, n
}

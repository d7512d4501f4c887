package tokenizer

import (
	"bytes"
	"slices"
	"sync"
	"unicode/utf8"
)

// Append appends the tokens of text to dst. Text is plain: what reads like a
// special token is characters, and nothing is added before or after. (An added
// token that is not special, such as Qwen 3's "<think>", is part of the
// vocabulary of text, and is found in it.)
//
// It fails only for kind chars, with *UnseenCharError or *InvalidByteError; dst
// then holds the tokens of what lies before.
// It is linear in the length of text, but for a factor log n within one piece
// (a run of letters, signs or spaces). A piece of more than 1 MiB is cut.
func (t *Tokenizer) Append(dst []int32, text []byte) ([]int32, error) {
	if t.kind == KindChars {
		dst, n, err := t.appendChars(dst, text, true)
		if err != nil {
			locate(err, int64(n), countLines(text[:n]))
		}
		return dst, err
	}
	if len(t.front) > 0 {
		return t.whole(dst, text, &t.encoders, false)
	}
	s := t.pool.Get().(*scratch)
	dst, _ = t.appendPieces(dst, s, text, true)
	t.pool.Put(s)
	return dst, nil
}

// AppendSpecial is Append for text of trusted origin, such as a chat template:
// special tokens that it spells become these tokens.
func (t *Tokenizer) AppendSpecial(dst []int32, text []byte) ([]int32, error) {
	return t.whole(dst, text, &t.specials, true)
}

// whole encodes a text with one of the encoders of the pool.
func (t *Tokenizer) whole(dst []int32, text []byte, pool *sync.Pool, special bool) ([]int32, error) {
	e, _ := pool.Get().(*Encoder)
	if e == nil {
		e = t.newEncoder(special)
	}
	defer pool.Put(e)
	dst, err := e.Write(dst, text)
	if err != nil {
		e.Reset()
		return dst, err
	}
	return e.Flush(dst)
}

// appendChars appends the tokens of text to dst and returns how many bytes they
// cover. If text is not final, it may end within a character.
func (t *Tokenizer) appendChars(dst []int32, text []byte, final bool) ([]int32, int, error) {
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			if t.ascii[c] < 0 {
				return dst, i, &UnseenCharError{Char: rune(c)}
			}
			dst = append(dst, t.ascii[c])
			i++
			continue
		}
		r, w := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && w == 1 {
			if !final && !utf8.FullRune(text[i:]) {
				return dst, i, nil
			}
			return dst, i, &InvalidByteError{Byte: text[i]}
		}
		id, ok := t.runes[r]
		if !ok {
			return dst, i, &UnseenCharError{Char: r}
		}
		dst = append(dst, id)
		i += w
	}
	return dst, len(text), nil
}

// locate writes the place of a fault into the error of appendChars.
func locate(err error, offset, lines int64) {
	switch e := err.(type) {
	case *UnseenCharError:
		e.Offset, e.Line = offset, lines+1
	case *InvalidByteError:
		e.Offset, e.Line = offset, lines+1
	}
}

func countLines(text []byte) int64 { return int64(bytes.Count(text, []byte{'\n'})) }

// Encoder encodes one text after another from pieces of any size, with the same
// ids as Append on the whole text. It keeps the text that it cannot decide yet:
// usually a few bytes, at most about 2 MiB, and with pieces of that size about
// 30 MiB of tables. It is not safe for concurrent use.
type Encoder struct {
	t      *Tokenizer
	s      *scratch
	tail   []byte // text not yet encoded
	wait   int    // length of tail at which another try is worthwhile
	offset int64  // bytes encoded since the start of the text
	lines  int64  // line breaks among them; chars only
	err    error  // the fault that ended this text

	// What a stage in front of the pieces does, and where its text goes.
	stage  stage
	next   *Encoder
	normal []byte // text on its way to next
}

// NewEncoder returns an encoder at the start of a text.
func (t *Tokenizer) NewEncoder() *Encoder { return t.newEncoder(false) }

func (t *Tokenizer) newEncoder(special bool) *Encoder {
	e := &Encoder{t: t}
	if t.kind == KindBPE {
		e.s = newScratch()
	}
	front := t.front
	if special {
		front = t.frontSpecial
	}
	for _, s := range slices.Backward(front) {
		e = &Encoder{t: t, stage: s, next: e}
	}
	return e
}

// Write takes the next part p of the text and appends to dst the tokens that
// are certain by now. Errors are those of Append; after one, Write and Flush
// repeat it until Reset.
func (e *Encoder) Write(dst []int32, p []byte) ([]int32, error) {
	if e.err != nil {
		return dst, e.err
	}
	for len(p) > 0 {
		// Without a tail the text is read where it lies.
		old := len(e.tail)
		if old == 0 {
			var n int
			dst, n = e.encode(dst, p, false)
			if e.err == nil {
				e.tail = append(e.tail, p[n:]...)
				e.wait = 2 * len(e.tail)
			}
			return dst, e.err
		}
		// With one, as much of p joins it as doubles it, so that many small
		// parts of one long piece take linear time together.
		k := min(len(p), max(e.wait-old, 64))
		e.tail = append(e.tail, p[:k]...)
		if len(e.tail) < e.wait {
			return dst, nil
		}
		var n int
		dst, n = e.encode(dst, e.tail, false)
		if e.err != nil {
			return dst, e.err
		}
		if n >= old { // the tail is done: go on in p
			p = p[n-old:]
			e.tail = e.tail[:0]
			continue
		}
		p = p[k:]
		e.tail = e.tail[:copy(e.tail, e.tail[n:])]
		e.wait = 2 * len(e.tail)
	}
	return dst, nil
}

// Flush ends the text: it appends to dst the tokens of what is left and makes
// the encoder ready for the next text.
func (e *Encoder) Flush(dst []int32) ([]int32, error) {
	dst, err := e.end(dst)
	e.Reset()
	return dst, err
}

// end is Flush where the count of bytes and lines goes on: an added token ends
// what lies before it.
func (e *Encoder) end(dst []int32) ([]int32, error) {
	if e.err == nil {
		dst, _ = e.encode(dst, e.tail, true)
	}
	e.tail, e.wait = e.tail[:0], 0
	return dst, e.err
}

// Reset forgets the text so far.
func (e *Encoder) Reset() {
	e.tail, e.wait, e.offset, e.lines, e.err = e.tail[:0], 0, 0, 0, nil
	if e.next != nil {
		e.next.Reset()
	}
}

// encode appends the tokens of text to dst, sets e.err and returns how many
// bytes of text are done.
func (e *Encoder) encode(dst []int32, text []byte, final bool) ([]int32, int) {
	var n int
	if e.next != nil {
		return e.passOn(dst, text, final)
	}
	if e.t.kind != KindChars {
		dst, n = e.t.appendPieces(dst, e.s, text, final)
		return dst, n
	}
	dst, n, e.err = e.t.appendChars(dst, text, final)
	e.offset += int64(n)
	e.lines += countLines(text[:n])
	if e.err != nil {
		locate(e.err, e.offset, e.lines)
	}
	return dst, n
}

// passed counts text that a stage in front took out.
func (e *Encoder) passed(text []byte) {
	for ; e != nil; e = e.next {
		e.offset += int64(len(text))
		e.lines += countLines(text)
	}
}

package tokenizer

import "slices"

// Append appends the tokens of text to dst. Text is plain: the name of a special token in it is only characters, and
// nothing is added before or after. (An added token that is not special, such as Qwen 3's "<think>", is part of the
// vocabulary of text and is found.)
//
// It fails with *UnseenCharError or *InvalidByteError, for kind chars and where a file of others has no token for a
// byte; dst then holds the tokens before the fault. Time is linear in the length of text, but for a factor log n
// within one piece (a run of letters, signs or spaces). A piece of more than 1 MiB is cut.
func (t *Tokenizer) Append(dst []int32, text []byte) ([]int32, error) {
	if t.kind == KindChars {
		dst, n, err := t.appendChars(dst, text, true)
		if err != nil {
			locate(err, int64(n), countLines(text[:n]))
		}
		return dst, err
	}
	if len(t.plain.stages) > 0 || t.gaps {
		return t.whole(dst, text, &t.plain)
	}
	s := t.pool.Get().(*scratch)
	dst, _ = t.appendPieces(dst, s, text, true)
	t.pool.Put(s)
	return dst, nil
}

// AppendSpecial is Append for text of trusted origin, such as a chat template. It finds the special tokens in it.
func (t *Tokenizer) AppendSpecial(dst []int32, text []byte) ([]int32, error) {
	return t.whole(dst, text, &t.special)
}

// AppendBehind is Append for text that stands behind a special token, and not at the start of a text: some tokenizers
// put a space before a text, but none there.
func (t *Tokenizer) AppendBehind(dst []int32, text []byte) ([]int32, error) {
	if len(t.plain.stages) == 0 {
		return t.Append(dst, text)
	}
	return t.encodeAt(atSegment, dst, text, &t.plain)
}

// whole encodes a text with a front.
func (t *Tokenizer) whole(dst []int32, text []byte, f *front) ([]int32, error) {
	return t.encodeAt(atText, dst, text, f)
}

func (t *Tokenizer) encodeAt(at place, dst []int32, text []byte, f *front) ([]int32, error) {
	e, _ := f.encoders.Get().(*Encoder)
	if e == nil {
		e = t.newEncoder(f.stages)
	}
	defer f.encoders.Put(e)
	if at == atSegment {
		e.Behind()
	}
	dst, err := e.Write(dst, text)
	if err != nil {
		e.Reset()
		return dst, err
	}
	return e.Flush(dst)
}

// Encoder encodes one text after another from parts of any size, with the same ids as Append on the whole text. It is
// not safe for concurrent use.
// Memory: 3.5 MiB of caches, and the text that it cannot decide yet, usually a few bytes and at most about 2 MiB; for
// pieces of that size about 30 MiB of tables.
type Encoder struct {
	t      *Tokenizer
	s      *scratch
	tail   []byte // text not yet encoded
	wait   int    // length of tail at which another try is worthwhile
	offset int64  // bytes encoded since the start of the text
	lines  int64  // line breaks among them, where text can have a fault
	err    error  // the fault that ended this text

	stage  stage    // what this encoder does before
	next   *Encoder // encodes the rest; nil: this one encodes
	normal []byte   // text on its way to next
	place  place    // of the text behind the last that was handed on
	word   bool     // that ends within a word, as far as it is of this segment
}

// NewEncoder returns an encoder at the start of a text.
func (t *Tokenizer) NewEncoder() *Encoder { return t.newEncoder(t.plain.stages) }

func (t *Tokenizer) newEncoder(front []stage) *Encoder {
	e := &Encoder{t: t}
	if t.kind == KindBPE {
		e.s = newScratch()
	}
	for _, s := range slices.Backward(front) {
		e = &Encoder{t: t, stage: s, next: e}
	}
	return e
}

// Write takes the next part p of the text and appends to dst the tokens that are certain by now. Errors are those of
// Append; after one, Write and Flush repeat it until Reset.
func (e *Encoder) Write(dst []int32, p []byte) ([]int32, error) {
	for len(p) > 0 && e.err == nil {
		k := min(len(p), max(writeBytes, e.wait-len(e.tail)))
		e.tail = append(e.tail, p[:k]...)
		p = p[k:]
		// The tail at least doubles before it is tried again, so that small parts of a long piece take linear time.
		if len(e.tail) >= e.wait {
			var n int
			dst, n = e.encode(dst, e.tail, false)
			e.tail = e.tail[:copy(e.tail, e.tail[n:])]
			e.wait = 2 * len(e.tail)
		}
	}
	return dst, e.err
}

// writeBytes is how much text Write copies at once.
const writeBytes = 64 << 10

// Flush ends the text: it appends to dst the tokens of what is left and makes the encoder ready for the next text.
func (e *Encoder) Flush(dst []int32) ([]int32, error) {
	dst, err := e.end(dst)
	e.Reset()
	return dst, err
}

// end is Flush without Reset, so that bytes and lines are still counted: an added token ends the text before it.
func (e *Encoder) end(dst []int32) ([]int32, error) {
	if e.err == nil {
		dst, _ = e.encode(dst, e.tail, true)
	}
	e.tail, e.wait, e.place, e.word = e.tail[:0], 0, atSegment, false
	return dst, e.err
}

// Behind says, at the start of a text, that it stands behind a special token; see AppendBehind.
func (e *Encoder) Behind() {
	if e.place = atSegment; e.next != nil {
		e.next.Behind()
	}
}

// Reset forgets the text so far.
func (e *Encoder) Reset() {
	e.tail, e.wait, e.offset, e.lines, e.err, e.place, e.word = e.tail[:0], 0, 0, 0, nil, atText, false
	if e.next != nil {
		e.next.Reset()
	}
}

// encode appends the tokens of text to dst, sets e.err and returns how many bytes of text are done.
func (e *Encoder) encode(dst []int32, text []byte, final bool) ([]int32, int) {
	if e.next != nil {
		return e.passOn(dst, text, final)
	}
	var n int
	switch {
	case e.t.kind == KindChars:
		dst, n, e.err = e.t.appendChars(dst, text, final)
	case e.t.gaps:
		known, err := e.t.known(text, final)
		dst, n = e.t.appendPieces(dst, e.s, text[:known], err != nil || final)
		e.err = err
	default:
		return e.t.appendPieces(dst, e.s, text, final)
	}
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

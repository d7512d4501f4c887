package data

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
)

// maxParts bounds the documents, or the turns of one, in a piece.
const maxParts = pieceBytes / 16

// errLeftOut says that a conversation was counted as broken.
var errLeftOut = errors.New("left out")

// builtinAdvice names what to do about a template that cannot be used.
const builtinAdvice = `write conversations in a format of gimbal's own: --set data.template=builtin`

// reader fills pieces with documents and sends them.
type reader struct {
	p    *pipeline
	cur  *piece
	link chan *encoder // of the piece before, if it ends inside a text that could not be cut; else nil
	sum  hash.Hash     // of the document

	prompt []byte // hash of the prompt of the pair in progress; empty: there is none
}

func (r *reader) read() error {
	for doc, err := range r.p.c.Documents(r.p.ctx, &r.p.tally) {
		if err != nil {
			return err
		}
		switch pairs := r.p.c.Pairs(); {
		case pairs && doc.Rejected == nil:
			err = &corpus.Error{Path: r.p.c.Sources[doc.Ref.Source].Path, What: "it is text, and no preference",
				Advice: `train.objective=dpo reads records with "chosen" and "rejected"`}
		case pairs:
			err = r.pair(&doc)
		default:
			err = r.document(&doc)
		}
		if err != nil && err != errLeftOut {
			return err
		}
	}
	return r.flush(true)
}

// document adds a text or a conversation.
func (r *reader) document(doc *corpus.Document) (err error) {
	r.sum.Reset()
	if doc.Chat != nil {
		err = r.chat(doc)
	} else {
		err = r.text(doc)
	}
	if err != nil {
		return err
	}
	return r.end(doc.Ref)
}

// pair adds the two conversations of a preference, the preferred one first, or neither of them. Both get the hash of
// their prompt in front of their own: pairs with one prompt are on one side of the split.
func (r *reader) pair(doc *corpus.Document) error {
	other := *doc
	other.Chat = doc.Rejected
	for _, err := range r.p.unmarked(&chat.Conversation{Messages: other.Chat, More: other.More}, r.p.own()) {
		if err != nil {
			return r.cannot(&other, err)
		}
		break
	}
	r.sum.Reset()
	for _, m := range doc.Chat[:doc.Shared] {
		fmt.Fprintf(r.sum, "%s %q", m.Role, m.Text)
	}
	r.prompt = r.sum.Sum(r.prompt[:0])[:promptHash]
	defer func() { r.prompt = r.prompt[:0] }()
	if err := r.document(doc); err != nil {
		return err
	}
	return r.document(&other)
}

// promptHash is the bytes of a hash that decide the side of the split.
const promptHash = 8

func (r *reader) text(doc *corpus.Document) error {
	size := int64(0)
	next := part{ref: doc.Ref, token: -1, fresh: true, learn: true}
	for end := false; !end; {
		if len(r.cur.text) == cap(r.cur.text) {
			cut, err := r.full(doc.Ref)
			if err != nil {
				return err
			}
			next.fresh = cut
		}
		n := len(r.cur.text)
		k, err := doc.Text.Read(r.cur.text[n:cap(r.cur.text)])
		if end = err == io.EOF; err != nil && !end {
			return err
		}
		r.cur.text = r.cur.text[:n+k]
		r.sum.Write(r.cur.text[n:])
		if size += int64(k); end && doc.Ref.Length < 0 {
			doc.Ref.Length = size
		}
		r.add(next)
		next.fresh = false
	}
	return nil
}

func (r *reader) chat(doc *corpus.Document) error {
	c := chat.Conversation{Messages: doc.Chat, More: doc.More}
	own := r.p.own()
	for piece, err := range r.p.unmarked(&c, own) {
		if err != nil {
			return r.cannot(doc, err)
		}
		if len(r.cur.parts) >= maxParts {
			if err := r.flush(false); err != nil {
				return err
			}
		}
		next := part{ref: doc.Ref, token: piece.Token, fresh: !piece.Joined, learn: piece.Counted, chat: true,
			joint: own && piece.Token < 0}
		r.sum.Write(piece.Text)
		if piece.Token >= 0 {
			r.add(next)
			continue
		}
		for text := piece.Text; len(text) > 0; next.fresh = false {
			if len(r.cur.text) == cap(r.cur.text) {
				if err := r.flush(false); err != nil {
					return err
				}
			}
			n := min(len(text), cap(r.cur.text)-len(r.cur.text))
			r.cur.text = append(r.cur.text, text[:n]...)
			text = text[n:]
			r.add(next)
		}
	}
	return nil
}

// cannot counts a conversation that cannot be written, or returns the error that ends the reading.
func (r *reader) cannot(doc *corpus.Document, err error) error {
	src := &r.p.c.Sources[doc.Ref.Source]
	format, own := r.p.format.Name(), r.p.own()
	if own {
		format = "the model's chat template"
	}
	e := &corpus.Error{Path: src.Path, Err: err,
		What: fmt.Sprintf("the conversation at %s cannot be written as %s", src.Place(doc.Ref), format)}
	if !own {
		return e
	}
	if e.Advice = builtinAdvice; errors.Is(err, chat.ErrLimit) { // the next would take as long
		return e
	}
	if err := r.p.c.Bad(&r.p.tally, e); err != nil {
		return err
	}
	return errLeftOut
}

// own reports whether the model's own template writes conversations.
func (p *pipeline) own() bool {
	_, own := p.format.(*chat.Template)
	return own
}

// unmarked yields a conversation without the start token and the EOS that a model's own template may write: every
// document has them.
func (p *pipeline) unmarked(c *chat.Conversation, own bool) iter.Seq2[chat.Piece, error] {
	if !own {
		return p.format.Render(c)
	}
	return func(yield func(chat.Piece, error) bool) {
		first, last := true, false // what comes is the first; an EOS has not been yielded
		var eos chat.Piece
		for piece, err := range p.format.Render(c) {
			if last && !yield(eos, nil) {
				return
			}
			if last = err == nil && piece.Token == p.eos; last {
				eos = piece
			}
			if skip := first && err == nil && piece.Token >= 0 && piece.Token == p.start; skip {
				last = false
			} else if !last && !yield(piece, err) {
				return
			}
			first = false
		}
		p.tally.Left += int64(c.Left)
		p.tally.Lost += int64(len(c.Lost))
	}
}

// add makes the new text of the piece a part of it, joined to the part before if that is the same run.
func (r *reader) add(next part) {
	next.end = len(r.cur.text)
	if last := r.last(); last != nil && !next.fresh && !last.final && last.learn == next.learn {
		last.end = next.end
		return
	}
	r.cur.parts = append(r.cur.parts, next)
}

// last returns the last part of the piece, nil if there is none.
func (r *reader) last() *part {
	if len(r.cur.parts) == 0 {
		return nil
	}
	return &r.cur.parts[len(r.cur.parts)-1]
}

func (r *reader) end(ref corpus.Ref) error {
	if last := r.last(); last == nil || last.final { // its text went with the piece before
		r.cur.parts = append(r.cur.parts, part{end: len(r.cur.text), token: -1})
	}
	last := r.last()
	var sum [sha256.Size]byte
	last.ref, last.final = ref, true
	copy(last.hash[copy(last.hash[:], r.prompt):], r.sum.Sum(sum[:0]))
	// A document must not begin in the small rest of a piece; many empty ones end a piece too.
	if r.link != nil || len(r.cur.text) >= pieceBytes/2 || len(r.cur.parts) >= maxParts {
		return r.flush(true)
	}
	return nil
}

// full sends the piece that a text has filled. If the text has a place that no token crosses, the piece ends there, and
// the rest begins the next, which is encoded on its own: cut says so.
func (r *reader) full(ref corpus.Ref) (cut bool, err error) {
	at := safeCut(r.cur.text)
	if len(r.cur.parts) > 1 || at == 0 {
		return false, r.flush(false)
	}
	rest := r.p.newPiece()
	rest.text = append(rest.text, r.cur.text[at:]...)
	r.cur.text = r.cur.text[:at]
	last := r.last()
	last.end, last.ref, last.more = at, ref, true
	if err := r.flush(true); err != nil {
		return false, err
	}
	r.p.pieces.Put(r.cur)
	r.cur = rest
	return true, nil
}

// safeCut returns a place in the second half of text, after a line break, where every tokenizer begins anew whatever is
// around: the break stands alone between a visible ASCII character and an ASCII letter. 0: there is none.
//
// In each known split a letter never joins a line break before it, and a single break does not depend on what follows
// it. (A run of spaces does: GPT-2 leaves the last one to the next word.) Normal forms compose nothing across it.
func safeCut(text []byte) int {
	for i := len(text) - 1; i > len(text)/2; i-- {
		if letter := text[i] | 0x20; text[i-1] == '\n' && letter >= 'a' && letter <= 'z' && text[i-2] > ' ' &&
			text[i-2] < 0x7f {
			return i
		}
	}
	return 0
}

// flush sends the piece. boundary says that it does not end inside a text.
func (r *reader) flush(boundary bool) error {
	q := r.cur
	if len(q.parts) == 0 {
		return nil
	}
	if q.from, r.link = r.link, nil; !boundary {
		r.link = make(chan *encoder, 1)
		q.to = r.link
	}
	if err := send(r.p.ctx, r.p.order, q); err != nil {
		return err
	}
	if err := send(r.p.ctx, r.p.queue, q); err != nil {
		return err
	}
	r.cur = r.p.newPiece()
	return nil
}

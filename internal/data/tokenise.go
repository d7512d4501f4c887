package data

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"sync"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	"gimbal/internal/par"
	"gimbal/internal/shards"
	"gimbal/internal/sniff"
	"gimbal/internal/tokenizer"
)

// Tokenising is a pipeline of one reader, several encoders and one writer. The unit of work is a piece of text. Many
// short documents share a piece, and a long document has several. If a piece ends inside a document, it ends where no
// token can cross (see safeCut); if the text has no such place, the encoder goes on to the next piece with its state.
// The reader hands each piece to the writer before the encoders, and the writer takes the pieces in that order, so
// the output does not depend on which encoder is faster. All queues are bounded.
//
// It cannot deadlock: a piece only waits for the one before it, which an earlier turn of an encoder took from the
// queue.

const pieceBytes = 256 << 10

// piece is some text and the tokens that it becomes.
type piece struct {
	text     []byte
	parts    []part
	from, to chan *encoder // the encoder comes from the piece before and goes to the next; nil: there is none
	done     chan struct{} // receives when what follows is there

	ids  []int32
	runs []run       // of ids: which count
	docs []docRecord // that end in this piece, or are cut at its end

	seams int64 // tokens of an answer that hold the end of what asks for it, too
}

// part is a run of text of one document, up to end in its piece, or a special token of it.
type part struct {
	end   int
	ref   corpus.Ref
	token int32    // a special token instead of text; -1: text
	fresh bool     // the text before ends here: what follows is encoded on its own
	learn bool     // its tokens count in the loss
	joint bool     // it is encoded with what follows it up to the next that is fresh, and then cut by what counts
	chat  bool     // of a conversation
	final bool     // the document ends here, or
	more  bool     // goes on in the next piece, which is encoded on its own
	hash  [16]byte // of its text, where it ends
}

// run is how many tokens in a row count, or do not.
type run struct {
	n     int64
	learn bool
}

type docRecord struct {
	shards.Record
	more bool // the document goes on in the next record
}

type pipeline struct {
	ctx      context.Context
	c        *corpus.Corpus
	format   chat.Format
	start    int32 // opens a document; -1: nothing does
	eos      int32
	order    chan *piece // for the writer
	queue    chan *piece // for the encoders
	tally    corpus.Tally
	pieces   sync.Pool // of *piece
	encoders sync.Pool // of *encoder
}

// tokenise calls take with the tokens of c in order, on the calling goroutine.
func tokenise(ctx context.Context, c *corpus.Corpus, tok *tokenizer.Tokenizer, opt PrepareOptions,
	take func(*piece) error) (*corpus.Tally, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &pipeline{ctx: ctx, c: c, format: opt.Format, start: opt.opens, order: make(chan *piece, 2*opt.Workers+2),
		queue: make(chan *piece, 2*opt.Workers+2)}
	p.eos = tok.EOS()
	p.pieces.New = func() any {
		return &piece{text: make([]byte, 0, pieceBytes), done: make(chan struct{}, 1)}
	}
	lengths := spelledLengths(tok)
	p.encoders.New = func() any { return &encoder{c: c, enc: tok.NewEncoder(), lengths: lengths} }
	var wg sync.WaitGroup
	wg.Go(par.Guard(func() {
		defer close(p.order)
		defer close(p.queue)
		r := reader{p: p, cur: p.newPiece(), sum: sha256.New()}
		if err := r.read(); err != nil {
			cancel(err)
		}
	}))
	for range opt.Workers {
		wg.Go(par.Guard(func() {
			for q := range p.queue {
				if err := p.encode(q); err != nil {
					cancel(err)
					return
				}
			}
		}))
	}
	total, done, seams := c.Bytes(), int64(0), int64(0)
	for q := range p.order {
		_, err := receive(ctx, q.done)
		if err == nil {
			err = take(q)
		}
		if err != nil {
			cancel(err)
			break
		}
		seams += q.seams
		if done += int64(len(q.text)); opt.Progress != nil {
			opt.Progress(min(done, total), total)
		}
		p.pieces.Put(q)
	}
	err := context.Cause(ctx)
	if err == nil && opt.Progress != nil {
		opt.Progress(total, total) // texts are shorter than their files
	}
	cancel(err) // release whoever waits to send
	wg.Wait()
	p.tally.Seams = seams
	return &p.tally, err
}

// send sends v unless the pipeline is cancelled.
func send[T any](ctx context.Context, to chan<- T, v T) error {
	select {
	case to <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// receive receives a value unless the pipeline is cancelled.
func receive[T any](ctx context.Context, from <-chan T) (v T, err error) {
	select {
	case v = <-from:
		return v, nil
	case <-ctx.Done():
		return v, context.Cause(ctx)
	}
}

func (p *pipeline) newPiece() *piece {
	q := p.pieces.Get().(*piece)
	*q = piece{text: q.text[:0], parts: q.parts[:0], done: q.done, ids: q.ids[:0], runs: q.runs[:0], docs: q.docs[:0]}
	return q
}

func (p *pipeline) encode(q *piece) (err error) {
	var e *encoder
	if q.from == nil {
		e = p.encoders.Get().(*encoder)
	} else if e, err = receive(p.ctx, q.from); err != nil {
		return err
	}
	from := 0
	for _, part := range q.parts {
		if err := e.part(q, q.text[from:part.end], part); err != nil {
			return err
		}
		from = part.end
	}
	if q.to == nil {
		p.encoders.Put(e)
	} else {
		q.to <- e
	}
	q.done <- struct{}{}
	return nil
}

// encoder encodes pieces. Between documents it has no state.
type encoder struct {
	c       *corpus.Corpus
	enc     *tokenizer.Encoder
	lengths []int32
	doc     docRecord
	learn   bool // of the text that enc holds
	joint   joint
	begun   bool // the document has tokens of a conversation: what comes is not the start of its text
	utf8    sniff.InvalidUTF8
}

// flush ends a text within a document.
func (e *encoder) flush(dst []int32) ([]int32, error) {
	n := len(dst)
	dst, err := e.enc.Flush(dst)
	if len(dst) > n || e.begun {
		e.begin()
	}
	return dst, err
}

// begin says that what comes in this document is not the start of its text.
func (e *encoder) begin() {
	e.begun = true
	e.enc.Behind()
}

func (e *encoder) part(q *piece, text []byte, part part) (err error) {
	have := len(q.ids)
	if part.fresh {
		if err = e.endJoint(q); err == nil {
			have = len(q.ids)
			q.ids, err = e.flush(q.ids)
		}
		have = e.account(q, have)
		e.learn = part.learn
	}
	switch {
	case err != nil:
	case part.token >= 0:
		q.ids = append(q.ids, part.token)
		e.begin()
	case part.joint:
		e.joint.add(text, part.learn)
	default:
		q.ids, err = e.enc.Write(q.ids, text)
	}
	if err == nil && (part.final || part.more) {
		e.account(q, have)
		if err = e.endJoint(q); err == nil {
			have = len(q.ids)
			q.ids, err = e.enc.Flush(q.ids)
			e.begun = false
		}
	}
	if err != nil {
		src := &e.c.Sources[part.ref.Source]
		what := fmt.Sprintf("the document at %s cannot be encoded", src.Place(part.ref))
		return &corpus.Error{Path: src.Path, What: what, Err: err}
	}
	e.account(q, have)
	d := &e.doc
	d.Chat = d.Chat || part.chat
	d.Text += int64(len(text))
	e.utf8.Write(text)
	if !part.final && !part.more {
		return nil
	}
	d.Ref, d.Hash, d.more = part.ref, part.hash, part.more
	d.Invalid = uint32(min(e.utf8.End(), math.MaxUint32))
	q.docs = append(q.docs, *d)
	*d = docRecord{}
	return nil
}

// account counts the tokens of q from have on, which belong to the present run.
func (e *encoder) account(q *piece, have int) int {
	n := int64(len(q.ids) - have)
	if n == 0 {
		return have
	}
	e.doc.Tokens += n
	for _, id := range q.ids[have:] {
		e.doc.Bytes += int64(e.lengths[id])
	}
	q.add(n, e.learn)
	return len(q.ids)
}

// add adds a run of tokens.
func (q *piece) add(n int64, learn bool) {
	if last := len(q.runs) - 1; last >= 0 && q.runs[last].learn == learn {
		q.runs[last].n += n
	} else {
		q.runs = append(q.runs, run{n, learn})
	}
}

// spelledLengths returns the bytes that each id spells.
func spelledLengths(tok *tokenizer.Tokenizer) []int32 {
	lengths := make([]int32, tok.VocabSize())
	for id := range lengths {
		lengths[id] = int32(len(tok.Bytes(int32(id))))
	}
	return lengths
}

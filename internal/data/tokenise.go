package data

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"sync"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

// Tokenising is a pipeline of one reader, several encoders and one writer. The unit of work is a job: a few pieces of
// text that begin and end where tokens do. Many short documents share a piece; a document longer than a job is cut
// where no token can cross (see safeCut), or, where it has no such place, is one job that one encoder takes as a
// stream. The reader hands each job to the writer's queue before the encoders', and the writer takes results in that
// order, so the output does not depend on which encoder is faster. Every queue is bounded.
//
// It cannot lock up: the job that the writer waits for is with an encoder or will be the next one taken, its pieces
// are all read or being read, and nobody else empties or fills its two channels.

const (
	pieceBytes = 256 << 10
	jobPieces  = 4 // of one document, after which the job is ended if the text allows it
)

type piece struct {
	text  []byte
	parts []part
}

// part is a run of text of one document, up to end in its piece, or a special token of it.
type part struct {
	end   int
	ref   corpus.Ref
	token int32    // a special token in place of text; -1: text
	fresh bool     // the text before ends here: what follows is encoded on its own
	learn bool     // its tokens count in the loss
	chat  bool     // of a conversation
	final bool     // the document ends here, or
	more  bool     // goes on in the next job
	hash  [16]byte // of its text, where it ends
}

// result is the tokens of a piece.
type result struct {
	ids   []int32
	runs  []run       // of ids: which count
	docs  []docRecord // that end in this piece, or are cut behind it
	bytes int64       // of text
}

// run is how many tokens in a row count, or do not.
type run struct {
	n     int64
	learn bool
}

type docRecord struct {
	record
	text int64 // bytes of the document; not stored
	chat bool
	more bool // the document goes on in the next job
}

type job struct {
	in  chan *piece
	out chan *result
}

// tokenise calls take with the tokens of c in order, on the calling goroutine.
func tokenise(ctx context.Context, c *corpus.Corpus, tok *tokenizer.Tokenizer, opt PrepareOptions,
	take func(*result) error) (*corpus.Tally, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &pipeline{ctx: ctx, c: c, format: opt.format, order: make(chan *job, opt.Workers+2),
		queue: make(chan *job, opt.Workers+2)}
	p.pieces.New = func() any { return &piece{text: make([]byte, 0, pieceBytes)} }
	p.results.New = func() any { return new(result) }
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(p.order)
		defer close(p.queue)
		r := reader{p: p, cur: p.newPiece(), sum: sha256.New()}
		if err := r.read(); err != nil {
			cancel(err)
		}
	})
	lengths := spelledLengths(tok)
	for range opt.Workers {
		wg.Go(func() {
			e := encoder{p: p, enc: tok.NewEncoder(), lengths: lengths}
			for j := range p.queue {
				if err := e.run(j); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	total, done := c.Bytes(), int64(0)
	for j := range p.order {
		for r := range p.wait(j) {
			if err := take(r); err != nil {
				cancel(err)
				break
			}
			if done += r.bytes; opt.Progress != nil {
				opt.Progress(min(done, total), total)
			}
			p.results.Put(r)
		}
		if ctx.Err() != nil {
			break
		}
	}
	err := context.Cause(ctx)
	if err == nil && opt.Progress != nil {
		opt.Progress(total, total) // texts are shorter than their files
	}
	cancel(err) // release whoever waits to send
	wg.Wait()
	return &p.tally, err
}

type pipeline struct {
	ctx     context.Context
	c       *corpus.Corpus
	format  chat.Format
	order   chan *job
	queue   chan *job
	tally   corpus.Tally
	pieces  sync.Pool // of *piece
	results sync.Pool // of *result
}

// wait yields the results of a job until it ends or the pipeline is cancelled.
func (p *pipeline) wait(j *job) func(yield func(*result) bool) {
	return func(yield func(*result) bool) {
		for {
			select {
			case r, ok := <-j.out:
				if !ok || !yield(r) {
					return
				}
			case <-p.ctx.Done():
				return
			}
		}
	}
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

func (p *pipeline) newPiece() *piece {
	q := p.pieces.Get().(*piece)
	q.text, q.parts = q.text[:0], q.parts[:0]
	return q
}

// encoder turns jobs into results. Its document state is fresh at the start of each job.
type encoder struct {
	p       *pipeline
	enc     *tokenizer.Encoder
	lengths []int32
	doc     docRecord
	learn   bool // of the text that enc holds
	utf8    invalidCounter
}

func (e *encoder) run(j *job) error {
	defer close(j.out)
	for {
		var q *piece
		select {
		case q = <-j.in:
		case <-e.p.ctx.Done():
			return context.Cause(e.p.ctx)
		}
		if q == nil {
			return nil
		}
		r := e.p.results.Get().(*result)
		r.ids, r.runs, r.docs, r.bytes = r.ids[:0], r.runs[:0], r.docs[:0], int64(len(q.text))
		from := 0
		for _, part := range q.parts {
			if err := e.part(r, q.text[from:part.end], part); err != nil {
				return err
			}
			from = part.end
		}
		e.p.pieces.Put(q)
		if err := send(e.p.ctx, j.out, r); err != nil {
			return err
		}
	}
}

func (e *encoder) part(r *result, text []byte, part part) (err error) {
	have := len(r.ids)
	if part.fresh {
		r.ids, err = e.enc.Flush(r.ids)
		have = e.account(r, have)
		e.learn = part.learn
	}
	if part.token >= 0 {
		r.ids = append(r.ids, part.token)
	} else if err == nil {
		r.ids, err = e.enc.Write(r.ids, text)
	}
	if err == nil && (part.final || part.more) {
		r.ids, err = e.enc.Flush(r.ids)
	}
	if err != nil {
		path := e.p.c.Sources[part.ref.Source].Path
		what := fmt.Sprintf("the document at %s cannot be encoded", part.ref.Place(path))
		return &corpus.Error{Path: path, What: what, Err: err}
	}
	e.account(r, have)
	d := &e.doc
	d.chat = d.chat || part.chat
	d.text += int64(len(text))
	e.utf8.write(text)
	if !part.final && !part.more {
		return nil
	}
	d.Ref, d.Hash, d.more = part.ref, part.hash, part.more
	d.Invalid = uint32(min(e.utf8.end(), math.MaxUint32))
	r.docs = append(r.docs, *d)
	*d = docRecord{}
	return nil
}

// account counts the tokens of r from have on, which belong to the run that is open.
func (e *encoder) account(r *result, have int) int {
	n := int64(len(r.ids) - have)
	if n == 0 {
		return have
	}
	e.doc.Tokens += n
	for _, id := range r.ids[have:] {
		e.doc.Bytes += int64(e.lengths[id])
	}
	if last := len(r.runs) - 1; last >= 0 && r.runs[last].learn == e.learn {
		r.runs[last].n += n
	} else {
		r.runs = append(r.runs, run{n, e.learn})
	}
	return len(r.ids)
}

// spelledLengths returns the bytes that each id spells.
func spelledLengths(tok *tokenizer.Tokenizer) []int32 {
	lengths := make([]int32, tok.VocabSize())
	for id := range lengths {
		lengths[id] = int32(len(tok.Bytes(int32(id))))
	}
	return lengths
}

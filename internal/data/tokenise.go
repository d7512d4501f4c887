package data

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math"
	"sync"
	"unicode/utf8"

	"gimbal/internal/tokenizer"
)

// Tokenising is a pipeline of one reader, several encoders and one writer. The unit of work is a job: a few pieces of text
// that begin and end at document boundaries. Many short documents share a piece; a document longer than a piece is a job of
// many pieces that one encoder takes as a stream. The reader hands each job to the writer's queue before the encoders', and
// the writer takes results in that order, so the output does not depend on which encoder is faster. Every queue is bounded.
//
// It cannot lock up: the job that the writer waits for is with an encoder or will be the next one taken, its pieces are all
// read or being read, and nobody else empties or fills its two channels.

const pieceBytes = 256 << 10

type piece struct {
	text  []byte
	parts []part
}

// part is a run of text of one document, up to end in its piece.
type part struct {
	end   int
	ref   Ref
	final bool // the document ends here
}

type result struct {
	ids   []int32
	docs  []docRecord // that end in this piece
	bytes int64       // of text
}

type docRecord struct {
	record
	text int64 // bytes of the document; not stored
}

type job struct {
	in  chan *piece
	out chan *result
}

// tokenise calls take with the tokens of c in order, on the calling goroutine.
func tokenise(ctx context.Context, c *Corpus, tok *tokenizer.Tokenizer, opt PrepareOptions, take func([]int32, []docRecord) error) (*tally, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &pipeline{ctx: ctx, c: c, order: make(chan *job, opt.Workers+2), queue: make(chan *job, opt.Workers+2)}
	p.pieces.New = func() any { return &piece{text: make([]byte, 0, pieceBytes)} }
	p.results.New = func() any { return new(result) }
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(p.order)
		defer close(p.queue)
		if err := p.read(); err != nil {
			cancel(err)
		}
	})
	lengths := spelledLengths(tok)
	for range opt.Workers {
		wg.Go(func() {
			e := encoder{p: p, enc: tok.NewEncoder(), lengths: lengths, sum: sha256.New()}
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
			if err := take(r.ids, r.docs); err != nil {
				cancel(err)
				break
			}
			if done += r.bytes; opt.Progress != nil {
				opt.Progress(done, total)
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
	c       *Corpus
	order   chan *job
	queue   chan *job
	tally   tally
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

// read fills pieces with documents.
func (p *pipeline) read() error {
	var open *job // of the document that is being read
	cur := p.newPiece()
	flush := func(boundary bool) error {
		if len(cur.parts) == 0 {
			return nil
		}
		if open == nil {
			open = &job{in: make(chan *piece, 2), out: make(chan *result, 2)}
			if err := send(p.ctx, p.order, open); err != nil {
				return err
			}
			if err := send(p.ctx, p.queue, open); err != nil {
				return err
			}
		}
		if err := send(p.ctx, open.in, cur); err != nil {
			return err
		}
		if boundary {
			close(open.in)
			open = nil
		}
		cur = p.newPiece()
		return nil
	}
	for doc, err := range p.c.documents(p.ctx, &p.tally) {
		if err != nil {
			return err
		}
		var size int64
		for end := false; !end; {
			n := len(cur.text)
			if n == cap(cur.text) {
				if err := flush(false); err != nil {
					return err
				}
				n = 0
			}
			k, err := doc.Text.Read(cur.text[n:cap(cur.text)])
			if end = err == io.EOF; err != nil && !end {
				return err
			}
			cur.text = cur.text[:n+k]
			if size += int64(k); end && doc.Ref.Length < 0 {
				doc.Ref.Length = size
			}
			if last := len(cur.parts) - 1; last >= 0 && !cur.parts[last].final {
				cur.parts[last] = part{end: n + k, ref: doc.Ref, final: end}
			} else {
				cur.parts = append(cur.parts, part{end: n + k, ref: doc.Ref, final: end})
			}
		}
		// A document that shares its piece with the next must not leave that one the crumbs; many empty ones still end a piece.
		if open != nil || len(cur.text) >= pieceBytes/2 || len(cur.parts) >= pieceBytes/16 {
			if err := flush(true); err != nil {
				return err
			}
		}
	}
	return flush(true)
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
	sum     hash.Hash
	doc     docRecord
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
		r.ids, r.docs, r.bytes = r.ids[:0], r.docs[:0], int64(len(q.text))
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
	r.ids, err = e.enc.Write(r.ids, text)
	if err == nil && part.final {
		r.ids, err = e.enc.Flush(r.ids)
	}
	if err != nil {
		return &Error{Path: e.p.c.Sources[part.ref.Source].Path, What: fmt.Sprintf("the document at byte %d cannot be encoded", part.ref.Offset), Err: err}
	}
	d := &e.doc
	d.Tokens += int64(len(r.ids) - have)
	d.text += int64(len(text))
	for _, id := range r.ids[have:] {
		d.Bytes += int64(e.lengths[id])
	}
	e.sum.Write(text)
	e.utf8.write(text)
	if !part.final {
		return nil
	}
	var sum [sha256.Size]byte
	copy(d.Hash[:], e.sum.Sum(sum[:0]))
	d.Ref = part.ref
	d.Invalid = uint32(min(e.utf8.end(), math.MaxUint32))
	r.docs = append(r.docs, *d)
	e.sum.Reset()
	*d = docRecord{}
	return nil
}

// spelledLengths returns the bytes that each id spells.
func spelledLengths(tok *tokenizer.Tokenizer) []int32 {
	lengths := make([]int32, tok.VocabSize())
	for id := range lengths {
		lengths[id] = int32(len(tok.Bytes(int32(id))))
	}
	return lengths
}

// invalidCounter counts the bytes of a text that belong to no valid UTF-8 sequence, across writes.
type invalidCounter struct {
	n    int64
	tail [utf8.UTFMax]byte // start of a character whose end has not come yet
	have int
}

func (c *invalidCounter) write(p []byte) {
	for c.have > 0 && len(p) > 0 {
		c.tail[c.have] = p[0]
		c.have, p = c.have+1, p[1:]
		c.drain(false)
	}
	for len(p) > 0 {
		if utf8.Valid(p) { // the common case, eight bytes at a time
			return
		}
		// Find the first fault or an unfinished end; what lies before is valid.
		i := 0
		for i < len(p) {
			r, w := utf8.DecodeRune(p[i:])
			if r == utf8.RuneError && w == 1 {
				break
			}
			i += w
		}
		if p = p[i:]; !utf8.FullRune(p) {
			c.have = copy(c.tail[:], p)
			return
		}
		c.n++
		p = p[1:]
	}
}

// drain takes whole characters and faults out of tail; at the end of the text all of it.
func (c *invalidCounter) drain(end bool) {
	for c.have > 0 && (end || utf8.FullRune(c.tail[:c.have])) {
		r, w := utf8.DecodeRune(c.tail[:c.have])
		if r == utf8.RuneError && w == 1 {
			c.n++
		}
		c.have = copy(c.tail[:], c.tail[w:c.have])
	}
}

// end returns the count and makes the counter ready for the next text.
func (c *invalidCounter) end() int64 {
	c.drain(true)
	n := c.n
	*c = invalidCounter{}
	return n
}

package tokenizer

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"runtime"
	"sync"
	"unicode"
	"unicode/utf8"

	"gimbal/internal/par"
	"gimbal/internal/split"
)

// The first half of training counts the pieces of a corpus.

// part is a stretch of text for one worker: some documents or parts of them.
type part struct {
	text []byte
	ends []int // where each document ends in text
}

// tally has the counts of pieces of several bytes, in shards by hash, so that workers seldom wait for each other.
type tally [64]struct {
	sync.Mutex
	counts map[string]*int64
	_      [48]byte // a cache line of its own
}

func (t *tally) add(piece []byte, n int64) {
	s := &t[maphash.Bytes(seed, piece)%uint64(len(t))]
	s.Lock()
	defer s.Unlock()
	if k := s.counts[string(piece)]; k != nil {
		*k += n
		return
	}
	if s.counts == nil {
		s.counts = map[string]*int64{}
	}
	s.counts[string(piece)] = new(n)
}

// counter counts the pieces of one worker. Most of them are short and come again: they are counted in slots of a fixed
// number, and a slot is emptied into the tally when another piece needs it.
type counter struct {
	all    *tally
	slots  [1 << 15]struct{ k0, k1, n uint64 }
	bytes  [256]int64 // pieces of one byte, by their byte
	pieces int64
}

func (c *counter) add(p *part) {
	start := 0
	var buf [16]byte
	for _, end := range p.ends {
		for text := p.text[start:end]; len(text) > 0; {
			n := split.Qwen2.First(text, trainPiece)
			c.pieces++
			switch {
			case n == 1:
				c.bytes[text[0]]++
			case n > shortBytes:
				c.all.add(text[:n], 1)
			default:
				k0, k1 := pieceKey(sixteen(text, &buf), n)
				i := keyHash(k0, k1) >> (64 - 15)
				if s := &c.slots[i]; s.k0 != k0 || s.k1 != k1 {
					c.empty(int(i))
					s.k0, s.k1 = k0, k1
				}
				c.slots[i].n++
			}
			text = text[n:]
		}
		start = end
	}
}

// empty moves the count of a slot to the tally.
func (c *counter) empty(i int) {
	s := &c.slots[i]
	if s.n > 0 {
		var b [16]byte
		binary.LittleEndian.PutUint64(b[:8], s.k0)
		binary.LittleEndian.PutUint64(b[8:], s.k1)
		c.all.add(b[:s.k1>>56], int64(s.n))
		s.n = 0
	}
}

// countPieces reads the documents and counts their pieces, over all workers.
// Memory: the different pieces, two parts for each worker, and its slots.
func countPieces(ctx context.Context, docs iter.Seq2[[]byte, error], opt TrainOptions) (
	*tally, TrainReport, error,
) {
	var report TrainReport
	workers := opt.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	counters, all := make([]counter, workers), new(tally)
	full, free := make(chan *part, workers), make(chan *part, 2*workers)
	for range cap(free) {
		free <- &part{text: make([]byte, 0, partSize)}
	}
	var wg sync.WaitGroup
	for i := range counters {
		c := &counters[i]
		c.all = all
		wg.Go(par.Guard(func() {
			for p := range full {
				c.add(p)
				p.text, p.ends = p.text[:0], p.ends[:0]
				free <- p
			}
			for i := range c.slots {
				c.empty(i)
			}
		}))
	}
	err := readParts(ctx, docs, opt, &report, full, free)
	close(full)
	wg.Wait()
	if err != nil {
		return nil, report, err
	}
	var bytes [256]int64
	for i := range counters {
		report.Pieces += counters[i].pieces
		for b, n := range counters[i].bytes {
			bytes[b] += n
		}
	}
	for _, n := range bytes {
		report.Unique += int(min(n, 1))
	}
	for i := range all {
		report.Unique += len(all[i].counts)
	}
	return all, report, nil
}

// readParts cuts the documents into parts and sends the sampled ones to full.
func readParts(ctx context.Context, docs iter.Seq2[[]byte, error], opt TrainOptions, report *TrainReport,
	full chan<- *part, free <-chan *part,
) error {
	limit := opt.SampleBytes
	if limit <= 0 {
		limit = defaultSample
	}
	frac := 1.0
	if opt.TotalBytes > limit {
		frac = float64(limit) / float64(opt.TotalBytes)
	}
	p := <-free
	for doc, err := range docs {
		if err != nil {
			return err
		}
		report.Documents++
		for len(doc) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if report.Sampled == limit {
				break
			}
			n := partEnd(doc)
			if float64(report.Sampled) <= frac*float64(report.Bytes) {
				take := int(min(int64(n), limit-report.Sampled))
				if len(p.text)+take > partSize {
					full <- p
					p = <-free
				}
				p.text = append(p.text, doc[:take]...)
				p.ends = append(p.ends, len(p.text))
				report.Sampled += int64(take)
			}
			report.Bytes += int64(n)
			doc = doc[n:]
		}
		if report.Sampled == limit {
			break
		}
	}
	full <- p
	return ctx.Err()
}

// partEnd returns how much of doc to count in one part: all of a short one, else up to a line break before something
// that is not a space, where a piece always ends, else a full part.
func partEnd(doc []byte) int {
	if len(doc) <= partSize {
		return len(doc)
	}
	for end := partSize; end > partSize/2; {
		i := bytes.LastIndexByte(doc[partSize/2:end], '\n')
		if i < 0 {
			break
		}
		end = partSize/2 + i
		if r, _ := utf8.DecodeRune(doc[end+1:]); !unicode.IsSpace(r) {
			return end + 1
		}
	}
	return len(split.Window(doc, partSize))
}

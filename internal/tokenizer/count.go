package tokenizer

import (
	"bytes"
	"context"
	"iter"
	"runtime"
	"sync"

	"gimbal/internal/par"
)

// The first half of training counts the pieces of a corpus.

// part is a stretch of text for one worker: some documents or parts of them.
type part struct {
	text []byte
	ends []int // where each document ends in text
}

// counter counts the pieces of one worker.
type counter struct {
	counts map[string]*int64
	pieces int64
}

func (c *counter) add(p *part) {
	start := 0
	for _, end := range p.ends {
		for text := p.text[start:end]; len(text) > 0; {
			n, _ := splitQwen2.next(window(text, trainPiece))
			if k := c.counts[string(text[:n])]; k != nil {
				*k++
			} else {
				c.counts[string(text[:n])] = new(int64(1))
			}
			c.pieces++
			text = text[n:]
		}
		start = end
	}
}

// countPieces reads the documents and counts their pieces, over all workers.
func countPieces(ctx context.Context, docs iter.Seq2[[]byte, error], opt TrainOptions) (
	map[string]*int64, TrainReport, error,
) {
	var report TrainReport
	workers := opt.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	counters := make([]counter, workers)
	full, free := make(chan *part, workers), make(chan *part, 2*workers)
	for range cap(free) {
		free <- &part{text: make([]byte, 0, partSize)}
	}
	var wg sync.WaitGroup
	for i := range counters {
		c := &counters[i]
		c.counts = map[string]*int64{}
		wg.Go(par.Guard(func() {
			for p := range full {
				c.add(p)
				p.text, p.ends = p.text[:0], p.ends[:0]
				free <- p
			}
		}))
	}
	err := readParts(ctx, docs, opt, &report, full, free)
	close(full)
	wg.Wait()
	if err != nil {
		return nil, report, err
	}
	all := counters[0]
	for _, c := range counters[1:] {
		all.pieces += c.pieces
		for w, n := range c.counts {
			if k := all.counts[w]; k != nil {
				*k += *n
			} else {
				all.counts[w] = n
			}
		}
	}
	report.Pieces, report.Unique = all.pieces, len(all.counts)
	return all.counts, report, nil
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
		if c, _ := at(doc, end+1); c != space && c != newline {
			return end + 1
		}
	}
	return len(window(doc, partSize))
}

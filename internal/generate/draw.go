package generate

import (
	"fmt"
	"slices"

	"gimbal/internal/rng"
)

// slot is the text of a row.
type slot struct {
	request int // -1: the row is free
	key     rng.Key
	prompt  []int32        // what the decoder has not read of it
	written int            // tokens
	logits  []float32      // (V), of this Step; nil: there are none to draw from
	next    int32          // the token drawn
	ok      bool           // the logits were finite
	seen    map[int32]bool // with Options.Repetition
}

// drawLoop draws a token for each row.
type drawLoop Generator

// Part implements par.Job.
func (g *drawLoop) Part(worker, lo, hi int) {
	for row := lo; row < hi; row++ {
		if s := &g.slots[row]; s.logits != nil {
			penalize(s.logits, s.seen, g.opt.Repetition)
			s.next, s.ok = g.samplers[worker].draw(s.logits, s.key.Float64(uint64(g.decoder.Len(row))))
		}
	}
}

// collect lists what the decoder is to read, and where in the logits each row will find its own.
func (g *Generator) collect() {
	g.tokens, g.rows = g.tokens[:0], g.rows[:0]
	logits, vocab, left := g.logits, g.decoder.Vocab(), g.opt.AtOnce
	for row := range g.slots {
		s := &g.slots[row]
		s.logits = nil
		if s.request < 0 {
			if g.waiting == len(g.requests) {
				continue
			}
			r := g.requests[g.waiting]
			*s = slot{request: g.waiting, key: g.seed.Sub(r.Index), prompt: r.Prompt}
			if g.opt.Keep {
				s.prompt = g.keep(r.Prompt)
			}
			if p := g.opt.Repetition; p != 0 && p != 1 {
				s.seen = map[int32]bool{}
				for _, id := range r.Prompt {
					s.seen[id] = true
				}
			}
			g.waiting++
		}
		n := 1
		if len(s.prompt) > 0 {
			n = min(len(s.prompt), left)
			left -= n
			g.tokens = append(g.tokens, s.prompt[:n]...)
			s.prompt = s.prompt[n:]
		} else {
			g.tokens = append(g.tokens, s.next)
		}
		if n == 0 {
			continue
		}
		for range n {
			g.rows = append(g.rows, int32(row))
		}
		if len(s.prompt) == 0 {
			s.logits = logits[:vocab]
		}
		logits = logits[vocab:]
	}
}

// draw draws the next token of every row that has logits.
func (g *Generator) draw() error {
	g.decoder.Pool().Do(len(g.slots), 1, (*drawLoop)(g))
	g.drawn = g.drawn[:0]
	for row := range g.slots {
		s := &g.slots[row]
		if s.logits == nil {
			continue
		}
		position := g.decoder.Len(row)
		if !s.ok {
			return fmt.Errorf("generate: request %d: the logits at position %d are not finite", s.request, position)
		}
		if s.written++; s.seen != nil {
			s.seen[s.next] = true
		}
		d := Drawn{Request: s.request, Token: s.next}
		switch {
		case slices.Contains(g.opt.Ends, s.next):
			d.Finish = FinishEOS
		case s.written == g.opt.MaxTokens:
			d.Finish = FinishLength
		case position == g.decoder.Capacity():
			d.Finish = FinishContext
		}
		g.drawn = append(g.drawn, d)
		if d.Finish != "" {
			g.free(row)
		}
	}
	return nil
}

// clear frees all rows, of all but what is held.
func (g *Generator) clear() {
	for row := range g.slots {
		g.decoder.Truncate(row, len(g.held))
		g.slots[row] = slot{request: -1}
	}
}

package main

import (
	"fmt"
	"strings"
	"time"
)

// redrawn is how often the live line is drawn again.
const redrawn = 200 * time.Millisecond

// start begins to draw the live line.
func (p *progress) start() {
	if p.ticker != nil || !p.screen.live || p.level == quiet {
		return
	}
	p.ticker = make(chan struct{})
	go func(stop chan struct{}) {
		t := time.NewTicker(redrawn)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return
			case <-t.C:
				p.mu.Lock()
				if p.ticker == stop {
					p.screen.draw(p.live())
				}
				p.mu.Unlock()
			}
		}
	}(p.ticker)
}

// end removes the live line for good.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ticker != nil {
		close(p.ticker)
		p.ticker = nil
	}
	p.screen.draw("")
}

// live is the live line: bar, step, losses, speed, elapsed and left, as far as there is room. Empty: there is none.
func (p *progress) live() string {
	r, now := &p.run, p.now()
	if p.ticker == nil {
		return ""
	}
	elapsed := clockText(now.Sub(p.began))
	if r.step.Step == 0 {
		return p.doing + "  " + elapsed
	}
	left := "?"
	if d, ok := r.clock.left(now); ok {
		left = clockText(d)
	}
	val, grams, train := r.losses()
	const barRank = 4
	parts := []struct {
		text string
		rank int // the highest goes first where there is no room
	}{
		{fmt.Sprintf("%d/%d", r.step.Step, r.step.Steps), 0}, {val, 2}, {grams, 3}, {train, 7},
		{"  " + si(r.clock.speed()) + " tok/s", 5}, {"  " + elapsed, 6}, {"  left " + left, 1},
	}
	room := p.screen.size() - 1
	for rank := len(parts); ; rank-- {
		line, least := "", 0
		for _, part := range parts {
			if part.rank <= rank {
				line += part.text
			}
		}
		if barRank <= rank {
			least = leastBar
		}
		if len(line)+least <= room || rank == 0 {
			return bar(float64(r.step.Step)/float64(r.step.Steps), room-len(line)) + line
		}
	}
}

// losses are that of the last evaluation, that of the n-grams on the same tokens, and that of the batches.
func (r *told) losses() (val, grams, train string) {
	train = fmt.Sprintf("  train %.2f", r.loss)
	if len(r.evals) == 0 {
		return train, "", ""
	}
	e := r.evals[len(r.evals)-1]
	if e.BaselineLoss-e.BaselineLoss == 0 { // known
		grams = fmt.Sprintf(", n-gram %.2f", e.BaselineLoss)
	}
	return fmt.Sprintf("  val %.2f", e.Loss), grams, train
}

// Columns of a bar, with its brackets and a blank.
const (
	leastBar = 8
	mostBar  = 24
)

// bar is a share as a bar. Without room it is nothing.
func bar(share float64, room int) string {
	if room < leastBar {
		return ""
	}
	width := min(room, mostBar)&^3 - len("[] ") // not a new one for each digit
	full := min(width, int(share*float64(width)))
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", width-full) + "] "
}

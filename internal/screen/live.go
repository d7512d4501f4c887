package screen

import (
	"fmt"
	"strings"
	"time"

	"gimbal/internal/plan"
)

// redrawn is how often the live line is drawn again.
const redrawn = 200 * time.Millisecond

// start begins to draw the live line.
func (p *Progress) start() {
	if p.ticker == nil && p.screen.live && p.level > Quiet {
		p.ticker = time.AfterFunc(0, p.redraw)
	}
}

func (p *Progress) redraw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ticker != nil {
		p.screen.draw(p.live())
		p.ticker.Reset(redrawn)
	}
}

// End removes the live line for good.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ticker != nil {
		p.ticker.Stop()
		p.ticker = nil
	}
	p.screen.draw("")
}

// live is the live line: bar, step, losses, speed, elapsed and left, as far as there is room. Empty: there is none.
func (p *Progress) live() string {
	r, now := &p.run, p.now()
	if p.ticker == nil {
		return ""
	}
	elapsed, left := clockText(now.Sub(p.began)), "?"
	if r.step.Step == 0 {
		return p.doing + "  " + elapsed
	}
	if d, ok := r.clock.left(now); ok {
		left = clockText(d)
	}
	train, val, grams := fmt.Sprintf("  train %.2f", r.loss), "", ""
	if n := len(r.evals); n > 0 {
		val = fmt.Sprintf("  val %.2f", r.evals[n-1].Loss)
		if base := r.evals[n-1].BaselineLoss; base == base { // measured on the same tokens
			grams = fmt.Sprintf(", n-gram %.2f", base)
		}
	}
	const barRank = 4
	parts := []struct {
		text string
		rank int // the highest goes first where there is no room
	}{
		{fmt.Sprintf("%d/%d", r.step.Step, r.step.Steps), 0}, {val, 2}, {grams, 3}, {train, 7},
		{"  " + plan.Count(int64(r.clock.speed())) + " tok/s", 5}, {"  " + elapsed, 6}, {"  left " + left, 1},
	}
	room := p.screen.size() - 1
	for rank := len(parts); ; rank-- {
		line := ""
		for _, part := range parts {
			if part.rank <= rank {
				line += part.text
			}
		}
		if rank == 0 || len(line) <= room && (rank < barRank || len(line)+leastBar <= room) {
			return bar(float64(r.step.Step)/float64(r.step.Steps), room-len(line)) + line
		}
	}
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

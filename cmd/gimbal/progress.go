package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"gimbal"
)

// progress draws the live line of a run: redrawn in place on a terminal, one line per interval elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	every    time.Duration // between lines where there is no terminal
	last     time.Time
	open     bool    // a redrawn line stands unfinished
	rate     float64 // smoothed seconds of a step
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, every: 5 * time.Second}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.terminal, p.every = true, 100*time.Millisecond
	}
	return p
}

// step draws one step, when its time has come.
func (p *progress) step(s gimbal.Step) {
	seconds := s.Duration.Seconds()
	if p.rate == 0 {
		p.rate = seconds
	}
	p.rate += 0.1 * (seconds - p.rate)
	now := time.Now()
	if now.Sub(p.last) < p.every && s.Step != 1 && s.Step != s.Steps {
		return
	}
	p.last = now
	eta := time.Duration(float64(s.Steps-s.Step) * p.rate * float64(time.Second)).Round(time.Second)
	line := fmt.Sprintf("step %d/%d  loss %.4f  grad norm %.3g  lr %.3g  %s tokens/s  eta %s",
		s.Step, s.Steps, s.Loss, s.GradNorm, s.LR, si(s.TokensPerSecond), eta)
	if !p.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	if width, _, err := term.GetSize(int(p.w.(*os.File).Fd())); err == nil && width > 1 && len(line) >= width {
		line = line[:width-1]
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	p.open = true
}

// say prints a message on lines of its own.
func (p *progress) say(format string, args ...any) {
	if p.open {
		fmt.Fprintln(p.w)
		p.open = false
	}
	fmt.Fprintln(p.w, strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
}

// si writes a number with a unit prefix: 24100 as 24.1k.
func si(x float64) string {
	switch {
	case x >= 1e9:
		return fmt.Sprintf("%.2fG", x/1e9)
	case x >= 1e6:
		return fmt.Sprintf("%.2fM", x/1e6)
	case x >= 1e3:
		return fmt.Sprintf("%.1fk", x/1e3)
	}
	return fmt.Sprintf("%.0f", x)
}

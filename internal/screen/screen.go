// Package screen shows a run to a person, on a terminal or through a pipe: its plan, its progress and what it came to.
//
// Nothing that others wrote acts on the terminal, and no reader that is slow or gone holds up a run.
package screen

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"golang.org/x/term"

	"gimbal/internal/plain"
)

const (
	pageWidth = 80  // columns of a line that goes to no terminal
	MostWidth = 100 // columns of a message on a wide one
)

// screen is where messages go. On a terminal its last line is live: it stands below the messages and is drawn again in
// place. Not safe for concurrent use.
type screen struct {
	w      io.Writer
	size   func() int // columns of it, now
	live   bool       // whether lines can be drawn in place
	colour bool
	line   string // the live line as it stands; empty: none does
	wide   int    // the terminal when it was drawn
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w, size: func() int { return pageWidth }}
	if f := Terminal(w); f != nil {
		s.live = os.Getenv("TERM") != "dumb"
		s.colour = s.live && os.Getenv("NO_COLOR") == ""
		s.size = func() int {
			if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
				return width
			}
			return pageWidth
		}
	}
	return s
}

// width is the columns of a message.
func (s *screen) width() int { return min(s.size(), MostWidth) }

// say prints lines above the live line, which is drawn again.
func (s *screen) say(text, live string) {
	s.put(s.erased(), text+"\n", s.drawn(live))
}

// draw draws the live line again, or removes it if the line is empty.
func (s *screen) draw(line string) {
	if !s.live || s.wide == s.size() && s.line == clip(line, s.wide-1) {
		return
	}
	s.put(s.erased(), "", s.drawn(line))
}

// colours are what paint and data inspect make.
var colours = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// colouredText makes a text safe to show, but for its colours.
func colouredText(text string) string {
	var b strings.Builder
	at := 0
	for _, m := range colours.FindAllStringIndex(text, -1) {
		b.WriteString(plain.Text(text[at:m[0]]) + text[m[0]:m[1]])
		at = m[1]
	}
	return b.String() + plain.Text(text[at:])
}

// put writes what removes the live line, and text after it: of a control character nothing passes but colours.
func (s *screen) put(erase string, texts ...string) {
	safe := plain.Text
	if s.colour {
		safe = colouredText
	}
	out := erase
	for _, text := range texts {
		out += safe(text)
	}
	w := s.w
	if o, ok := w.(*Sink); ok {
		o.mu.Lock()
		defer o.mu.Unlock()
		w = control{o}
	}
	io.WriteString(w, out) // a terminal that is gone ends no run
}

// erased removes the live line. A terminal that was made narrower has broken it into rows.
func (s *screen) erased() string {
	if s.line == "" {
		return ""
	}
	if rows := (widthOf(s.line) - 1) / s.size(); rows > 0 {
		return fmt.Sprintf("\x1b[%dA\r\x1b[J", rows)
	}
	return "\r\x1b[J"
}

// drawn is the live line; the last column stays free, so that no terminal breaks it.
func (s *screen) drawn(line string) string {
	s.line = ""
	if s.live {
		s.wide = s.size()
		s.line = clip(line, s.wide-1)
	}
	return s.line
}

// Colours of a few words.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint colours a text where there are colours.
func (s *screen) paint(colour, text string) string {
	if !s.colour || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

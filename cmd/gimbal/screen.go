package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

const (
	pageWidth = 80  // columns of a line that goes to no terminal
	mostWidth = 100 // columns of a message on a wide one
)

// screen is where messages go. On a terminal its last line is live: it stands below the messages and is drawn again in
// place. Not safe for concurrent use.
type screen struct {
	w      io.Writer
	file   *os.File // the terminal; nil: there is none
	live   bool     // whether lines can be drawn in place
	colour bool
	stands int // columns of the live line as it stands; 0: none does
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.file, s.live = f, os.Getenv("TERM") != "dumb"
		s.colour = s.live && os.Getenv("NO_COLOR") == ""
	}
	return s
}

// size is the width of the terminal, now.
func (s *screen) size() int {
	if s.file != nil {
		if width, _, err := term.GetSize(int(s.file.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return pageWidth
}

// width is the columns of a message.
func (s *screen) width() int { return min(s.size(), mostWidth) }

// say prints lines above the live line, which is drawn again.
func (s *screen) say(text, live string) {
	out := s.erased() + text + "\n"
	s.stands = 0
	io.WriteString(s.w, out+s.drawn(live)) // a terminal that is gone ends no run
}

// draw draws the live line again, or removes it if the line is empty.
func (s *screen) draw(line string) {
	if out := s.erased(); s.live && (out != "" || line != "") {
		s.stands = 0
		io.WriteString(s.w, out+s.drawn(line))
	}
}

// erased removes the live line. A terminal that was made narrower has broken it into rows.
func (s *screen) erased() string {
	if s.stands == 0 {
		return ""
	}
	if rows := (s.stands - 1) / s.size(); rows > 0 {
		return fmt.Sprintf("\x1b[%dA\r\x1b[J", rows)
	}
	return "\r\x1b[J"
}

// drawn is the live line; the last column stays free, so that no terminal breaks it.
func (s *screen) drawn(line string) string {
	if !s.live {
		return ""
	}
	line = clip(line, s.size()-1)
	for _, r := range line {
		s.stands += columns(r)
	}
	return line
}

// Colours of a few words.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint colours a text where there are colours.
func (s *screen) paint(colour, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + strings.TrimRight(text, " ") + "\x1b[0m" + text[len(strings.TrimRight(text, " ")):]
}

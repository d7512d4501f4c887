package screen

import (
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// paper is a terminal as far as a screen needs one: rows that grow downwards, and a cursor.
type paper struct {
	width    int
	rows     [][]rune
	row, col int
}

var sequence = regexp.MustCompile(`^\x1b\[([0-9]*)([A-Za-z])`)

func (p *paper) Write(raw []byte) (int, error) {
	for s := string(raw); s != ""; {
		if m := sequence.FindStringSubmatch(s); m != nil {
			n, _ := strconv.Atoi(m[1])
			switch m[2] {
			case "A":
				p.row = max(0, p.row-n)
			case "J":
				p.rows = p.rows[:min(len(p.rows), p.row+1)]
				if p.row < len(p.rows) {
					p.rows[p.row] = p.rows[p.row][:min(p.col, len(p.rows[p.row]))]
				}
			case "m":
			default:
				panic("an unknown sequence: " + m[0])
			}
			s = s[len(m[0]):]
			continue
		}
		r := []rune(s)[0]
		s = s[len(string(r)):]
		switch r {
		case '\r':
			p.col = 0
		case '\n':
			p.row, p.col = p.row+1, 0
		default:
			if p.col == p.width {
				p.row, p.col = p.row+1, 0
			}
			for len(p.rows) <= p.row {
				p.rows = append(p.rows, nil)
			}
			p.rows[p.row] = append(p.rows[p.row][:p.col], r)
			p.col++
		}
	}
	return len(raw), nil
}

// resize breaks rows as terminals do that reflow: all rows are taken for lines of their own, which they are here.
func (p *paper) resize(width int) {
	old := p.rows
	p.width, p.rows, p.row, p.col = width, nil, 0, 0
	for i, row := range old {
		if i > 0 {
			io.WriteString(p, "\n")
		}
		io.WriteString(p, string(row))
	}
}

func (p *paper) text() string {
	var b strings.Builder
	for _, row := range p.rows {
		b.WriteString(string(row) + "\n")
	}
	return b.String()
}

// TestLiveLine wants every message to stand once, in order, and the live line once below them, however the terminal is
// resized.
func TestLiveLine(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		p := &paper{width: 80}
		s := &screen{w: p, live: true, size: func() int { return p.width }}
		want := ""
		for i := range 30 {
			live := "live " + strings.Repeat("=", rnd.IntN(90))
			switch rnd.IntN(4) {
			case 0:
				message := "message " + strconv.Itoa(i)
				want += message + "\n"
				s.say(message, live)
			case 1:
				p.resize(20 + rnd.IntN(80))
				fallthrough
			default:
				s.draw(live)
			}
			if got := p.text(); got != want+clip(live, p.width-1)+"\n" {
				t.Fatalf("%d columns:\n%s\nwant\n%s%s", p.width, got, want, live)
			}
		}
		s.draw("")
		if got := p.text(); strings.TrimRight(got, "\n") != strings.TrimRight(want, "\n") {
			t.Fatalf("the live line was left:\n%s", got)
		}
	}
}

// TestLiveParts wants the live line to fit every width, and to drop what matters least first.
func TestLiveParts(t *testing.T) {
	p := played(t, Normal)
	for width := 20; width <= 120; width++ {
		p.screen.size = func() int { return width }
		p.ticker = time.NewTimer(time.Hour)
		line := p.live()
		if widthOf(line) >= width {
			t.Errorf("%d columns: %q", width, line)
		}
		for least, part := range map[int]string{20: "30/100", 22: "left", 30: "val 3.50", 43: "n-gram 3.20", 51: "[#",
			64: "tok/s", 75: "1m0", 90: "train"} {
			if width >= least && !strings.Contains(line, part) {
				t.Errorf("%d columns: %q lacks %q", width, line, part)
			}
		}
	}
}

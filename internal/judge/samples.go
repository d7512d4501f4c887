package judge

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"gimbal/internal/plain"
)

// Written is a generated text as a person reads it.
type Written struct {
	Prompt, Text string
	Finish       string // eos, length or context
	Reading      Reading
}

// Marks are the marks that a person may give to a text, in the order in which they are offered.
var Marks = []string{"good", "repeating", "drifting", "broken"}

// A text takes at most a screen.
const (
	screenLines = 24
	screenChars = 1600
	promptChars = 400
)

// Page is the file of an evaluation: its texts, worst first, each with the findings and boxes to tick.
func Page(number int, step int64, about []string, texts []Written, order []int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Evaluation %d, step %d\n\n", number, step)
	for _, line := range about {
		fmt.Fprintf(&b, "- %s\n", plain.Escape(line))
	}
	b.WriteString("\nThe worst text comes first. Put an x into the box that fits, or run \"gimbal review\".\n")
	for place, i := range order {
		w := texts[i]
		found := strings.Join(w.Reading.Reasons, "; ")
		fmt.Fprintf(&b, "\n## %d of %d: %s\n\n", place+1, len(order), cmp.Or(plain.Escape(found), "nothing found"))
		if w.Prompt != "" {
			fmt.Fprintf(&b, "Prompt:\n\n%s\n\nWhat the model wrote (ended by: %s):\n\n", block(w.Prompt, promptChars),
				plain.Escape(w.Finish))
		}
		b.WriteString(block(w.Text, screenChars) + "\n\n")
		for _, m := range Marks {
			fmt.Fprintf(&b, "- [ ] %s\n", m)
		}
	}
	return b.Bytes()
}

// block makes text a Markdown code block, whatever is in it, and cuts it to a screen. Only a newline ends a line of it:
// Markdown takes a carriage return for one, too.
func block(text string, chars int) string {
	runes := []rune(plain.Text(strings.ToValidUTF8(text, "\ufffd")))
	lines := strings.Split(string(runes[:min(chars, len(runes))]), "\n")
	cut := max(0, len(runes)-chars)
	if len(lines) > screenLines {
		cut += utf8.RuneCountInString(strings.Join(lines[screenLines:], "\n"))
		lines = lines[:screenLines]
	}
	out := "    " + strings.Join(lines, "\n    ")
	if cut > 0 {
		out += fmt.Sprintf("\n\n(%s)", plural(cut, "more character"))
	}
	return out
}

// Section is one text of a page, as a person sees it.
type Section struct {
	Text  string   `json:"text"`  // everything but the boxes
	Marks []string `json:"marks"` // ticked, each once and in the order of Marks
}

const heading = "\n## "

// ReadPage cuts a page into its texts. Ticks that a person made in an editor are read as those made by Tick.
func ReadPage(page []byte) (sections []Section) {
	for _, part := range strings.Split(string(page), heading)[1:] {
		var s Section
		var text []string
		marked := map[string]bool{}
		for _, line := range strings.Split(part, "\n") {
			mark, ticked, ok := box(line)
			switch {
			case !ok:
				text = append(text, line)
			case ticked:
				marked[mark] = true
			}
		}
		for _, mark := range Marks {
			if marked[mark] {
				s.Marks = append(s.Marks, mark)
			}
		}
		s.Text = strings.TrimRight(strings.Join(text, "\n"), "\n")
		sections = append(sections, s)
	}
	return sections
}

// box reads a line with a box. What the model wrote is indented, so it cannot be one.
func box(line string) (mark string, ticked, ok bool) {
	line, isBox := strings.CutPrefix(strings.TrimRight(line, " \r"), "- [")
	tick, mark, _ := strings.Cut(line, "] ")
	return mark, tick != " ", isBox && slices.Contains(Marks, mark) && slices.Contains([]string{" ", "x", "X"}, tick)
}

// Tick returns the page with the marks of one text set to these and no others.
func Tick(page []byte, section int, marks []string) []byte {
	parts := strings.Split(string(page), heading)
	if section < 0 || section+1 >= len(parts) {
		panic("judge: no such text on the page")
	}
	lines := strings.Split(parts[section+1], "\n")
	for i, line := range lines {
		if mark, _, ok := box(line); ok {
			lines[i] = "- [ ] " + mark
			if slices.Contains(marks, mark) {
				lines[i] = "- [x] " + mark
			}
		}
	}
	parts[section+1] = strings.Join(lines, "\n")
	return []byte(strings.Join(parts, heading))
}

// Looked counts the marks on a page.
type Looked struct {
	Texts  int
	Marked int            // texts with any mark
	Marks  map[string]int // by mark
}

// Look counts the marks of a page.
func Look(page []byte) Looked {
	l := Looked{Marks: map[string]int{}}
	for _, s := range ReadPage(page) {
		l.Texts++
		if len(s.Marks) > 0 {
			l.Marked++
		}
		for _, m := range s.Marks {
			l.Marks[m]++
		}
	}
	return l
}

// String says in a sentence whether anybody marked texts, and how.
func (l Looked) String() string {
	if l.Marked == 0 {
		return fmt.Sprintf("nobody has marked any of the %s", plural(l.Texts, "text"))
	}
	var said []string
	for _, m := range Marks {
		if n := l.Marks[m]; n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, m))
		}
	}
	return fmt.Sprintf("a person marked %d of %s: %s", l.Marked, plural(l.Texts, "text"), strings.Join(said, ", "))
}

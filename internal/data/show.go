package data

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Marks are written around the parts of a batch that is shown.
type Marks struct {
	Head    [2]string // the line before a sequence
	Ignored [2]string // text that does not count in the loss
	Special [2]string // special tokens, the EOS among them
	Start   [2]string // the start token, which is input only
}

// PlainMarks are for output without colours, ColourMarks for a terminal.
var (
	PlainMarks = Marks{Head: [2]string{"--- ", ""}, Ignored: [2]string{"[[", "]]"}, Special: [2]string{"", ""},
		Start: [2]string{"(", ")"}}
	ColourMarks = Marks{Head: [2]string{"\x1b[1m--- ", "\x1b[0m"}, Ignored: [2]string{"\x1b[2m", "\x1b[0m"},
		Special: [2]string{"\x1b[1;35m", "\x1b[0m"}, Start: [2]string{"\x1b[36m", "\x1b[0m"}}
)

// Show writes sequences [lo, hi) of a batch of s as text: a line with the document it is cut from, the start token, and
// the labels, with marks around those that do not count. It escapes bytes that would move a terminal's cursor.
func (s *Set) Show(w io.Writer, b *Batch, lo, hi int, m Marks) error {
	return s.show(w, b, lo, hi, m, func(out *bytes.Buffer, span Span) {
		end := span.Start + span.Len
		if span.First == 0 && s.start >= 0 {
			out.WriteString(m.Start[0] + s.tok.Name(b.Tokens[span.Start]) + m.Start[1])
		}
		s.showLabels(out, b.Labels[span.Start:end], b.Counts[span.Start:end], m)
		if b.Labels[end-1] != s.tok.EOS() {
			out.WriteString(m.Start[0] + "cut" + m.Start[1])
		}
	})
}

// ShowIDs writes sequences as Show does, but a line for each token: its id, whether it counts (*), and its text.
func (s *Set) ShowIDs(w io.Writer, b *Batch, lo, hi int, m Marks) error {
	return s.show(w, b, lo, hi, m, func(out *bytes.Buffer, span Span) {
		line := func(id int32, counts string, marks [2]string) {
			fmt.Fprintf(out, "%7d %s %s", id, counts, marks[0])
			out.WriteString(strconv.Quote(s.tok.Name(id)) + marks[1] + "\n")
		}
		if span.First == 0 && s.start >= 0 {
			line(b.Tokens[span.Start], " ", m.Start)
		}
		for i := span.Start; i < span.Start+span.Len; i++ {
			counts, marks := " ", [2]string{}
			if b.Counts[i] {
				counts = "*"
			}
			if len(s.tok.Bytes(b.Labels[i])) == 0 {
				marks = m.Special
			}
			line(b.Labels[i], counts, marks)
		}
	})
}

// show writes sequences, each behind a line that says what it is.
func (s *Set) show(w io.Writer, b *Batch, lo, hi int, m Marks, write func(*bytes.Buffer, Span)) error {
	var out bytes.Buffer
	for k, span := range b.Spans[lo:hi] {
		end := span.Start + span.Len
		counted := 0
		for _, c := range b.Counts[span.Start:end] {
			if c {
				counted++
			}
		}
		what := ""
		if s.pairs {
			what = ", " + [...]string{"chosen", "rejected"}[span.Index%2]
		} else if span.First > 0 {
			what = fmt.Sprintf(", from its token %d on", span.First)
		}
		fmt.Fprintf(&out, "%s%d: %s%s: %s, %s counted%s\n", m.Head[0], lo+k+1, s.Locate(span), what,
			count(int64(span.Len), "token"), group(int64(counted)), m.Head[1])
		write(&out, span)
		out.WriteString("\n\n")
	}
	_, err := w.Write(out.Bytes())
	return err
}

// showLabels writes labels, in runs of those that count and those that do not.
func (s *Set) showLabels(out *bytes.Buffer, labels []int32, counts []bool, m Marks) {
	var text []byte
	flush := func() {
		escapeText(out, text)
		text = text[:0]
	}
	for i, id := range labels {
		if begins := i == 0 || counts[i-1]; begins && !counts[i] {
			flush()
			out.WriteString(m.Ignored[0])
		}
		if spelled := s.tok.Bytes(id); len(spelled) > 0 {
			text = append(text, spelled...)
		} else {
			flush()
			out.WriteString(m.Special[0] + s.tok.Name(id) + m.Special[1])
			if !counts[i] && m.Special[1] != "" {
				out.WriteString(m.Ignored[0]) // the end of one colour ends all
			}
		}
		if ends := i == len(labels)-1 || counts[i+1]; ends && !counts[i] {
			flush()
			out.WriteString(m.Ignored[1])
		}
	}
	flush()
}

// escapeText writes text with escapes for control characters and for bytes that are not UTF-8.
func escapeText(out *bytes.Buffer, text []byte) {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(out, `\x%02x`, text[0])
		case r == '\n' || r == '\t' || !unicode.IsControl(r) && r != '\u2028' && r != '\u2029':
			out.Write(text[:n])
		default:
			fmt.Fprintf(out, `\u%04x`, r)
		}
		text = text[n:]
	}
}

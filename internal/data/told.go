package data

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"gimbal/internal/corpus"
	"gimbal/internal/sniff"
)

// endMarks are what other programs write where a text or a turn ends.
var endMarks = []string{"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]", "<|im_end|>",
	"<|eot_id|>", "<end_of_turn>", "<|end|>"}

// A mark that comes so often in a sample, and in such a share of its documents, is no chance.
const (
	manyMarks     = 10
	manyWithMarks = 0.05
)

// tell notes what a person should know of the documents: of those that teach nothing, of marks in them that stay plain
// text, of a separator that does nothing, and of text that was mangled before it came here.
func (s *Set) tell(ctx context.Context, c *corpus.Corpus) error {
	if s.held.fraction == 0 {
		return nil // nothing is learned from it
	}
	s.tellEmpty()
	marks := append(endMarks[:len(endMarks):len(endMarks)], s.ownMarks()...)
	escaped, crlf := otherSeparators(c.Separator())
	n := len(marks)
	var twice sniff.Twice
	found, err := c.Spelled(ctx, append(append(marks, escaped, crlf), mangled...), twice.Look)
	if err != nil {
		return err
	}
	for _, m := range found[:n] {
		s.tellMark(m)
	}
	s.tellSeparator(c, found[n], found[n+1])
	s.tellMangled(found[n+2:], &twice)
	return nil
}

// tellEmpty counts the documents that teach nothing.
func (s *Set) tellEmpty() {
	c := s.census
	if c.Empty+c.OneToken == 0 {
		return
	}
	first := 0
	for s.index.Tokens(first) > 1 {
		first++
	}
	var kinds []string
	if c.Empty > 0 {
		kinds = append(kinds, group(c.Empty)+" empty")
	}
	if c.OneToken > 0 {
		kinds = append(kinds, group(c.OneToken)+" of one token")
	}
	s.told = append(s.told, corpus.Finding{Warn: 2*(c.Empty+c.OneToken) > c.Documents,
		Text: fmt.Sprintf("of %s, too short to teach anything: %s; the first is %s", count(c.Documents, "document"),
			strings.Join(kinds, ", "), s.Describe(s.index.Ref(first)))})
}

// ownMarks are the marks of the tokenizer that are not among endMarks.
func (s *Set) ownMarks() (marks []string) {
	own := append([]int32{s.tok.EOS()}, s.format.TurnEnds()...)
	if bos, ok := s.tok.BOS(); ok {
		own = append(own, bos)
	}
next:
	for _, id := range own {
		name := s.tok.Name(id)
		for _, m := range append(endMarks, marks...) {
			if m == name {
				continue next
			}
		}
		if name != "" {
			marks = append(marks, name)
		}
	}
	return marks
}

// tellMark tells of a mark that many documents spell out.
func (s *Set) tellMark(m corpus.Spelling) {
	if m.Times < manyMarks || float64(m.Documents) < manyWithMarks*float64(m.Looked) {
		return
	}
	f := corpus.Finding{Warn: true, Text: fmt.Sprintf("%s is spelled out %s in %s of %s looked at: it is learned as "+
		"plain text, not as an end", corpus.Printable(m.Text), count(m.Times, "time"), group(m.Documents),
		count(m.Looked, "document")),
		Advice: "take it out of the records: each is a document and gets its own end"}
	if m.Plain {
		f.Advice = "cut the text there with --set 'data.separator=" + m.Text + "'"
	}
	s.told = append(s.told, f)
}

// tellSeparator tells of a separator that cuts no file.
func (s *Set) tellSeparator(c *corpus.Corpus, escaped, crlf corpus.Spelling) {
	sep := c.Separator()
	if sep == "" {
		return
	}
	cuttable := 0
	for i := range c.Sources {
		if c.Cuttable(i) {
			cuttable++
		}
	}
	for d := range s.index.Len() {
		src := int(s.index.Source(d))
		again := d > 0 && int(s.index.Source(d-1)) == src
		ref := s.index.Ref(d)
		atEnd := ref.Offset+ref.Length+int64(len(sep)) == c.Sources[src].Text
		if c.Cuttable(src) && (again || atEnd) {
			return
		}
	}
	f := corpus.Finding{Warn: true, Text: fmt.Sprintf("data.separator %s cuts none of %s", corpus.Printable(sep),
		count(int64(cuttable), "text file")), Advice: "take one that is in the text, or leave it out"}
	write := func(sep string) string {
		return fmt.Sprintf(`--set 'data.separator=%q' (in a file, separator = %q)`, sep, sep)
	}
	switch {
	case cuttable == 0:
		f.Text = fmt.Sprintf("data.separator %q does nothing: it cuts plain text, and here are only records", sep)
		f.Advice = "leave it out"
	case crlf.Times > 0 && escaped.Times == 0:
		f.Text += ": lines end with a carriage return there"
		f.Advice = "write " + write(crlf.Text)
	case escaped.Text != "":
		f.Text += ": it has a backslash, not what is meant by it"
		f.Advice = fmt.Sprintf("write %s, with both kinds of quotes: that is in the text %s", write(escaped.Text),
			count(escaped.Times, "time"))
	}
	s.told = append(s.told, f)
}

// otherSeparators returns what a separator may have been meant to be: without backslashes, and with the line ends of
// Windows. They are empty where that is nothing else.
func otherSeparators(sep string) (unescaped, crlf string) {
	if strings.Contains(sep, `\`) {
		unescaped = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r").Replace(sep)
		if unescaped == sep {
			unescaped = ""
		}
	}
	if meant := cmp.Or(unescaped, sep); strings.Contains(meant, "\n") && !strings.Contains(meant, "\r") {
		crlf = strings.ReplaceAll(meant, "\n", "\r\n")
	}
	return unescaped, crlf
}

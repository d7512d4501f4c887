package data

import (
	"fmt"

	"gimbal/internal/corpus"
	"gimbal/internal/sniff"
)

// mangled are what is counted to find text that other programs have mangled: line ends, and what stands for characters
// that are lost. The last is the other as a program reads it that takes it for GBK.
var mangled = []string{"\r\n", "\n", "\uFFFD", "锟斤拷"}

// Fewer are no matter, nor is a smaller share.
const (
	manyMangled = 10
	manyTwice   = 0.02 // of the runs beyond ASCII
	manyLines   = 0.05
)

// tellMangled tells of text that was mangled before it came here: it is learned as it is.
func (s *Set) tellMangled(found []corpus.Spelling, twice *sniff.Twice) {
	tell := func(warn bool, advice, format string, args ...any) {
		s.told = append(s.told, corpus.Finding{Warn: warn, Text: fmt.Sprintf(format, args...), Advice: advice})
	}
	if n := twice.Found; n >= manyMangled && float64(n) >= manyTwice*float64(twice.Runs) {
		example := ""
		if twice.Text != "" {
			example = fmt.Sprintf(", such as %s for %s", corpus.Printable(twice.Text), corpus.Printable(twice.Meant))
		}
		tell(true, "decode it again (ftfy does), or take it from the source",
			"of %s beyond ASCII, %s look encoded twice%s: they are learned as they are", count(twice.Runs, "word"),
			group(n), example)
	}
	for _, lost := range found[2:] {
		if lost.Times >= manyMangled {
			tell(true, "take the text from its source, in its own encoding",
				"%s, which stands for characters that were lost, comes %s in %s of %s looked at",
				corpus.Printable(lost.Text), count(lost.Times, "time"), group(lost.Documents),
				count(lost.Looked, "document"))
		}
	}
	windows, lines := found[0].Times, found[1].Times
	few := manyLines * float64(lines)
	switch {
	case windows < manyMangled || float64(windows) < few:
	case float64(lines-windows) < few:
		tell(false, "prompts of several lines need them, too",
			"lines end with CR LF, as on Windows; the model will write them so")
	default:
		tell(true, "give all files the same line ends",
			"%s of %s looked at end with CR LF, the others with LF alone: both are learned", group(windows),
			count(lines, "line"))
	}
}

package corpus

import "maps"

// Finding is something that a person should know about a text before a model learns from it.
type Finding struct {
	Text   string // a sentence without a full stop: what, how many, the names of the first
	Advice string // what to do; may be empty
	Warn   bool   // it changes what is learned, and hardly as meant
}

// Findings returns what is to be told of the files.
func (c *Corpus) Findings() (f []Finding) {
	others := maps.Clone(c.Skipped)
	maps.DeleteFunc(others, func(reason string, _ int64) bool { return c.why[reason] != nil }) // told below
	if left := skippedText(others); left != "" {
		f = append(f, Finding{Text: "left out: " + left})
	}
	return append(f, c.recordFindings()...)
}

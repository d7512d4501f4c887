package data

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gimbal/internal/corpus"
)

// Census counts what is in a prepared corpus. Tokens are text tokens, without start and EOS.
type Census struct {
	Sources       int64 `json:"sources"`
	Documents     int64 `json:"documents"`
	Conversations int64 `json:"conversations"` // of the documents
	Empty         int64 `json:"empty"`         // documents without a token; they make no sequence
	OneToken      int64 `json:"one_token"`     // documents of one token
	Tokens        int64 `json:"tokens"`
	TextBytes     int64 `json:"text_bytes"`    // bytes of all documents
	SpelledBytes  int64 `json:"spelled_bytes"` // by their tokens; the same unless the tokenizer normalises
	InvalidUTF8   int64 `json:"invalid_utf8"`  // bytes kept that are not valid UTF-8
	InvalidDocs   int64 `json:"invalid_documents"`

	Read    corpus.Tally     `json:"read"`
	Lengths [7]int64         `json:"lengths"`           // tokens per document at LengthQuantiles
	Skipped map[string]int64 `json:"skipped,omitempty"` // files and folders, by reason
}

// add counts a document.
func (c *Census) add(d *docRecord) {
	c.Documents++
	if d.chat {
		c.Conversations++
	}
	c.TextBytes += d.text
	c.SpelledBytes += d.Bytes
	c.InvalidUTF8 += int64(d.Invalid)
	if d.Invalid > 0 {
		c.InvalidDocs++
	}
	switch d.Tokens {
	case 0:
		c.Empty++
	case 1:
		c.OneToken++
	}
}

// LengthQuantiles are the quantiles of Census.Lengths; the first is the least and the last the greatest length.
var LengthQuantiles = [7]float64{0, 0.10, 0.25, 0.50, 0.75, 0.90, 1}

// shortLength is the length from which documents are remembered one by one.
const shortLength = 1 << 16

// lengths counts documents by their length in tokens. Its memory does not grow with short ones.
type lengths struct {
	n     int64
	short []int64 // by length
	long  []int64 // each
}

func (l *lengths) add(n int64) {
	if l.n++; l.short == nil {
		l.short = make([]int64, shortLength)
	}
	if n < shortLength {
		l.short[n]++
	} else {
		l.long = append(l.long, n)
	}
}

// quantiles returns the lengths at LengthQuantiles.
func (l *lengths) quantiles() (q [len(LengthQuantiles)]int64) {
	slices.Sort(l.long)
	for i, share := range LengthQuantiles {
		if l.n > 0 {
			q[i] = l.at(int64(share * float64(l.n-1)))
		}
	}
	return q
}

// at returns the length at a rank; long is sorted.
func (l *lengths) at(rank int64) int64 {
	for n, docs := range l.short {
		if rank < docs {
			return int64(n)
		}
		rank -= docs
	}
	return l.long[rank]
}

// Findings returns what is to be told of the documents.
func (s *Set) Findings() (f []corpus.Finding) {
	c := s.census
	if c.InvalidUTF8 > 0 {
		f = append(f, s.docs.Invalid(c.InvalidUTF8, c.InvalidDocs, c.TextBytes))
	}
	if c.Read.Bad > 0 {
		f = append(f, corpus.Finding{Warn: true, Text: fmt.Sprintf("skipped %s: %s; the first: %s",
			count(c.Read.Bad, "broken document"), c.Read.ReasonsText(), c.Read.FirstBad)})
	}
	return append(append(f, c.Read.Findings(c.Documents)...), s.told...)
}

// BytesPerToken returns 0 for a corpus without tokens.
func (c Census) BytesPerToken() float64 {
	if c.Tokens == 0 {
		return 0
	}
	return float64(c.TextBytes) / float64(c.Tokens)
}

// String describes the corpus in a few lines.
func (c Census) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s in %s: %s, %s, %.2f bytes per token", count(c.Documents, "document"), count(c.Sources, "file"),
		count(c.TextBytes, "byte"), count(c.Tokens, "token"), c.BytesPerToken())
	if c.Documents > 1 {
		fmt.Fprintf(&s, "\ntokens per document: least %s, 10 %% %s, 25 %% %s, median %s, 75 %% %s, 90 %% %s, most %s",
			group(c.Lengths[0]), group(c.Lengths[1]), group(c.Lengths[2]), group(c.Lengths[3]), group(c.Lengths[4]),
			group(c.Lengths[5]), group(c.Lengths[6]))
	}
	var notes []string
	note := func(n int64, text string) {
		if n > 0 {
			notes = append(notes, text)
		}
	}
	note(c.Conversations, count(c.Conversations, "conversation"))
	note(c.Empty, group(c.Empty)+" empty")
	note(c.OneToken, group(c.OneToken)+" of one token")
	note(c.InvalidDocs, group(c.InvalidDocs)+" with invalid UTF-8 ("+count(c.InvalidUTF8, "byte")+", kept)")
	if len(notes) > 0 {
		s.WriteString("\ndocuments: " + strings.Join(notes, ", "))
	}
	notes = skipped(&c.Read)
	for _, reason := range slices.Sorted(maps.Keys(c.Skipped)) {
		note(c.Skipped[reason], corpus.CountKind(c.Skipped[reason], reason))
	}
	if len(notes) > 0 {
		s.WriteString("\nskipped: " + strings.Join(notes, ", "))
	}
	if c.Read.FirstBad != "" {
		s.WriteString("\nfirst broken document: " + c.Read.FirstBad)
	}
	return s.String()
}

// skipped says which records gave no document.
func skipped(r *corpus.Tally) (notes []string) {
	for _, one := range []struct {
		n          int64
		what, rest string
	}{
		{r.Bad, "broken document", ""},
		{r.Nulls, "record", " without a text"},
		{r.Same, "preference", " of which both answers are the same"},
		{r.Uncounted, "conversation", " in which nothing counts"},
	} {
		if one.n > 0 {
			notes = append(notes, count(one.n, one.what)+one.rest)
		}
	}
	return notes
}

func count(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return group(n) + " " + what
}

// group writes n with a comma at every third digit.
func group(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

package data

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gimbal/internal/corpus"
	"gimbal/internal/shards"
)

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

// censusText describes the corpus in a few lines.
func censusText(c *shards.Census) string {
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

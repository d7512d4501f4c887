package shards

import (
	"slices"

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
	Lengths [7]int64         `json:"lengths"`           // tokens per document at lengthQuantiles, from least to most
	Skipped map[string]int64 `json:"skipped,omitempty"` // files and folders, by reason
}

// add counts a document.
func (c *Census) add(d *Record) {
	c.Documents++
	c.Tokens += d.Tokens
	if d.Chat {
		c.Conversations++
	}
	c.TextBytes += d.Text
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

// lengthQuantiles are the quantiles of Census.Lengths; the first is the least and the last the greatest length.
var lengthQuantiles = [7]float64{0, 0.10, 0.25, 0.50, 0.75, 0.90, 1}

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

// quantiles returns the lengths at lengthQuantiles.
func (l *lengths) quantiles() (q [len(lengthQuantiles)]int64) {
	slices.Sort(l.long)
	for i, share := range lengthQuantiles {
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

// BytesPerToken returns 0 for a corpus without tokens.
func (c Census) BytesPerToken() float64 {
	if c.Tokens == 0 {
		return 0
	}
	return float64(c.TextBytes) / float64(c.Tokens)
}

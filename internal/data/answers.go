package data

import (
	"fmt"
	"slices"

	"gimbal/internal/corpus"
)

// countAnswers counts the answers among the labels [lo, hi) of a conversation, and those that a sequence has without
// the beginning of the conversation: in every sequence but the first, whoever answers has not seen the question whole.
func (s *Set) countAnswers(n *SideStats, doc int, lo, hi, context int64) {
	before := s.index.Begin(doc) - 1
	end := before + min(hi, s.index.Tokens(doc)+1)
	n.Answers += s.mask.Runs(before+lo, end)
	first := int64(1)
	if s.start < 0 {
		first = 2
	}
	if lo == first {
		lo += context
	}
	if before+lo < end {
		n.Cut += s.mask.Runs(before+lo, end)
	}
}

// manyCut is the share of answers without their question from which a warning is due.
const manyCut = 0.01

// Findings returns what is to be told of how the documents are cut into sequences.
func (sp *Split) Findings() (f []corpus.Finding) {
	n := sp.sums
	if sp.set.pairs {
		return sp.pairFindings()
	}
	if n.Cut == 0 {
		return nil
	}
	return []corpus.Finding{{
		Text: fmt.Sprintf("%s of %s are learned without the beginning of their conversation: it is longer than the "+
			"context of %d tokens", group(n.Cut), count(n.Answers, "answer"), sp.context),
		Advice: fmt.Sprintf("raise train.context (the longest document has %s), or shorten the conversations",
			count(sp.set.census.Lengths[len(sp.set.census.Lengths)-1], "token")),
		Warn: float64(n.Cut) > manyCut*float64(n.Answers),
	}}
}

// Answers returns where the assistant answers in the k-th document of the split: text tokens [lo, hi) of the document's
// part, as AppendText counts them, without the special token that ends the turn. If turns end in plain text, a model
// writes on, and hi is the end of the part. A text has none.
func (sp *Split) Answers(k int) (answers [][2]int64) {
	s, doc := sp.set, int(sp.docs[k])
	first, end := sp.part(k)
	begin := s.index.Begin(doc)
	ends := s.format.TurnEnds()
	if s.mask == nil || s.mask.Count(begin+first, begin+end) == end-first {
		return nil
	}
	for lo := first; lo < end; {
		if !s.mask.At(begin + lo) {
			lo++
			continue
		}
		hi := lo + 1
		for hi < end && s.mask.At(begin+hi) {
			hi++
		}
		next := hi
		if ends == nil {
			hi = end
		} else if slices.Contains(ends, s.text(nil, doc, hi, hi+1)[0]) {
			hi--
		}
		answers = append(answers, [2]int64{lo - first, hi - first})
		lo = next
	}
	return answers
}

package data

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"

	"gimbal/internal/corpus"
)

// Below these a split by document is too coarse.
const (
	minSplitDocuments = 20
	minSplitShare     = 0.05
)

// fewHeld is the number of labels below which a validation loss says little.
const fewHeld = 256

// split decides what is held out: what the corpus says is, or else by document or by position.
func (s *Set) split(c *corpus.Corpus) {
	val, test := c.SplitNames()
	switch {
	case s.held.fraction == 0:
		s.SplitBy, s.SplitNote = "none", "nothing is held out (data.val_fraction is 0)"
	case val != "" && s.splitByName(c, val):
	default:
		s.splitByHash()
	}
	if test != "" {
		s.SplitNote += "; " + test + " is in neither part"
	}
}

// splitByName holds out the sources that the corpus names, unless there is nothing in them to measure.
func (s *Set) splitByName(c *corpus.Corpus, names string) bool {
	for _, src := range c.Sources {
		s.held.sources = append(s.held.sources, src.Held)
	}
	s.SplitBy = "name"
	h := sha256.New()
	fmt.Fprintln(h, s.Hash)
	var total, val, counted int64
	for d := range s.index.Len() {
		n := s.index.Tokens(d)
		total += n
		lo, hi := s.labels(d, valSide, false)
		if lo < hi {
			fmt.Fprintln(h, d)
			val += n
			counted += s.counted(d, lo, hi)
		}
	}
	switch {
	case counted == 0:
		s.told = append(s.told, corpus.Finding{Warn: true, Text: names + ": named for validation, and nothing in it " +
			"counts; validation is cut from the rest", Advice: "put text there, or remove it"})
		return false
	case counted < fewHeld:
		s.told = append(s.told, corpus.Finding{Warn: true, Text: fmt.Sprintf("%s: only %s to validate on; the loss there "+
			"says little", names, count(counted, "token")),
			Advice: "add text there, or let data.splits=ignore cut validation from all files"})
	}
	s.Hash = hex.EncodeToString(h.Sum(nil)) // the names of files are not in it
	s.SplitNote = fmt.Sprintf("validation is %s, by name: %.2f %% of the tokens", names,
		100*float64(val)/float64(total))
	return true
}

// splitByHash chooses between document and position.
func (s *Set) splitByHash() {
	f := s.held.fraction
	var total, val, docs int64
	for d := range s.index.Len() {
		n := s.index.Tokens(d)
		if n > 0 {
			docs++
		}
		total += n
		if s.heldOut(d) {
			val += n
		}
	}
	why := ""
	switch {
	case docs < minSplitDocuments:
		why = fmt.Sprintf("%s with text, fewer than %d", count(docs, "document"), minSplitDocuments)
	case float64(val) < minSplitShare*f*float64(total):
		why = "hashing documents holds out too little"
	case float64(total-val) < minSplitShare*(1-f)*float64(total):
		why = "hashing documents leaves too little to train on"
	default:
		s.SplitBy = "document"
		if s.pairs {
			s.SplitNote = fmt.Sprintf("validation is every pair whose prompt has a hash below %g: %.2f %% of the tokens",
				f, 100*float64(val)/float64(total))
			return
		}
		s.SplitNote = fmt.Sprintf("validation is every document whose hash is below %g: %.2f %% of the tokens",
			f, 100*float64(val)/float64(total))
		return
	}
	s.splitByPosition(total, why)
}

// splitByPosition holds out the last tokens. If no document before them would end in train, it leaves the end of the
// document that is cut to train: there is nothing else to learn from where a text ends.
func (s *Set) splitByPosition(total int64, why string) {
	cut := int64(math.Floor(float64(total) * (1 - s.held.fraction)))
	s.SplitBy = "position"
	h := &s.held
	h.doc, h.at, h.end = 0, cut, toEnd
	for ; h.doc < s.index.Len() && h.at >= s.index.Tokens(h.doc); h.doc++ {
		h.at -= s.index.Tokens(h.doc)
	}
	if s.pairs { // none is cut
		h.doc, h.at = max(2, min(h.doc&^1, s.index.Len()-2)), 0
		s.SplitNote = fmt.Sprintf("validation is the last %s (%s)", count(int64(s.index.Len()-h.doc)/2, "pair"), why)
		return
	}
	val, where := total-cut, "the last %s of %s by position (%s)"
	if h.beforeEnd && h.at == cut && s.index.Tokens(h.doc) > 1 {
		h.end = s.index.Tokens(h.doc) - max(1, val/2)
		h.at = max(0, h.end-val)
		val, where = h.end-h.at, "%s of %s, cut out before the end, by position (%s)"
	}
	s.SplitNote = "validation is " + fmt.Sprintf(where, count(val, "token"), group(total), why)
}

package data

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	"gimbal/internal/durable"
	"gimbal/internal/tokenizer"
)

// Ref names a document, and Error is a fault of the user's data: both are the corpus's.
type (
	Ref   = corpus.Ref
	Error = corpus.Error
)

// Event is something a person should hear of: a code of the run's log, and a sentence.
type Event struct{ Code, Text string }

// Set is a prepared corpus: its tokens in memory-mapped shards, and the rule that holds some of it out. Safe for
// concurrent use until Close.
type Set struct {
	Dir       string   // the cache
	Hash      string   // of tokens and document bounds: the same wherever the files lie
	Sources   []string // paths; Ref.Source is an index into it
	SplitBy   string   // "document", "position", or "none" when nothing is held out
	SplitNote string   // a sentence that says why
	Events    []Event  // what happened to the cache, if anything

	tok      *tokenizer.Tokenizer
	format   chat.Format // of its conversations
	start    int32
	hasStart bool
	valFrac  float64
	roots    []int     // of each source, which of the corpus's paths it is from
	weights  []float64 // of each root; nil: none
	lengths  []int32   // bytes spelled by each id
	census   Census
	index    index
	shards   shards
	mask     mask   // which tokens count
	uses     []byte // how often each id came, 8 bytes each
	mappings []*durable.Mapping
	cutDoc   int   // split by position: the document that is cut,
	cutAt    int64 // and how many of its tokens are in train
}

// Below these a split by document says little, or is no split.
const (
	minSplitDocuments = 20
	minSplitShare     = 0.05
)

func (s *Set) mapFile(name string) ([]byte, error) {
	m, err := durable.Map(filepath.Join(s.Dir, name))
	if err != nil {
		return nil, err
	}
	s.mappings = append(s.mappings, m)
	return m.Bytes(), nil
}

// open maps the files of a verified manifest and decides the split.
func (s *Set) open(m *manifest) error {
	b, err := s.mapFile(indexFile)
	if err != nil {
		return err
	}
	s.index = b
	s.shards = shards{per: m.ShardTokens, wide: m.TokenBytes == 4}
	for i := int64(0); i*m.ShardTokens < m.Tokens; i++ {
		b, err := s.mapFile(shardFile(i))
		if err != nil {
			return err
		}
		s.shards.data = append(s.shards.data, b)
	}
	if m.has(countsFile) {
		if s.mask, err = s.mapFile(countsFile); err != nil {
			return err
		}
	}
	if s.uses, err = s.mapFile(usesFile); err != nil {
		return err
	}
	s.lengths = spelledLengths(s.tok)
	s.split()
	return nil
}

// Close gives the mappings back; the set and all its splits are unusable then.
func (s *Set) Close() error {
	var errs []error
	for _, m := range s.mappings {
		errs = append(errs, m.Close())
	}
	s.mappings = nil
	return errors.Join(errs...)
}

// Census returns the counts of the whole corpus.
func (s *Set) Census() Census { return s.census }

// Describe names a document for a person: its file and where it lies in it.
func (s *Set) Describe(r Ref) string {
	path := s.Sources[r.Source]
	return path + ", " + r.Place(path)
}

// split decides between document and position.
func (s *Set) split() {
	f := s.valFrac
	if f == 0 {
		s.SplitBy, s.SplitNote = "none", "nothing is held out (data.val_fraction is 0)"
		return
	}
	var total, val, docs int64
	for d := range s.index.len() {
		n := s.index.tokens(d)
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
		s.SplitNote = fmt.Sprintf("validation is every document whose hash falls below %g: %.2f %% of the tokens",
			f, 100*float64(val)/float64(total))
		return
	}
	cut := int64(math.Floor(float64(total) * (1 - f)))
	s.SplitBy = "position"
	s.SplitNote = fmt.Sprintf("validation is the last %s of %s by position (%s)",
		count(total-cut, "token"), group(total), why)
	for s.cutDoc = 0; s.cutDoc < s.index.len(); s.cutDoc++ {
		if n := s.index.tokens(s.cutDoc); cut < n {
			break
		} else {
			cut -= n
		}
	}
	s.cutAt = cut
}

// heldOut decides by the document's text alone: it never moves, and exact copies stay together.
func (s *Set) heldOut(doc int) bool {
	return float64(s.index.hash64(doc)>>11)*0x1p-53 < s.valFrac
}

type side uint8

const (
	trainSide side = iota
	valSide
	allSides
)

// part returns which text tokens [lo, hi) of a document fall on a side.
func (s *Set) part(doc int, on side) (lo, hi int64) {
	n := s.index.tokens(doc)
	val := false
	switch {
	case on == allSides:
		return 0, n
	case s.SplitBy == "document":
		val = s.heldOut(doc)
	case s.SplitBy == "position" && doc == s.cutDoc:
		if on == trainSide {
			return 0, s.cutAt
		}
		return s.cutAt, n
	case s.SplitBy == "position":
		val = doc > s.cutDoc
	}
	if val != (on == valSide) {
		return 0, 0
	}
	return 0, n
}

// labels returns the labels [lo, hi) of a document on a side, counted in its virtual row v (see the package doc):
// label 1 is the first token, label n+1 the EOS. Only the part with the last token has the EOS. The first label of a
// part that begins inside the document has the token before it as input, borrowed from the other side; the first token
// of a document has only a start token for input, and is no label where there is none.
func (s *Set) labels(doc int, on side) (lo, hi int64) {
	lo, hi = s.part(doc, on)
	if lo == hi {
		return 0, 0
	}
	if hi == s.index.tokens(doc) {
		hi++
	}
	if lo == 0 && !s.hasStart {
		lo = 1
	}
	return lo + 1, hi + 1
}

// counts reports whether label j of a document's virtual row counts; the EOS does if the last token does.
func (s *Set) counts(doc int, j int64) bool {
	return s.mask.at(s.index.begin(doc) + min(j, s.index.tokens(doc)) - 1)
}

// counted returns how many of the labels [lo, hi) of a document count.
func (s *Set) counted(doc int, lo, hi int64) int64 {
	if s.mask == nil {
		return hi - lo
	}
	begin, n := s.index.begin(doc)-1, s.index.tokens(doc)
	sum := s.mask.count(begin+lo, begin+min(hi, n+1))
	if hi == n+2 && s.counts(doc, n+1) {
		sum++
	}
	return sum
}

// Train returns the part to learn from, cut into sequences of at most context labels.
func (s *Set) Train(context int) *Split { return s.newSplit(context, trainSide) }

// Val returns the part that is held out.
func (s *Set) Val(context int) *Split { return s.newSplit(context, valSide) }

// All returns everything, for scoring a text that was not trained on.
func (s *Set) All(context int) *Split { return s.newSplit(context, allSides) }

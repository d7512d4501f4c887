package data

import (
	"errors"
	"math"
	"slices"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	"gimbal/internal/durable"
	"gimbal/internal/shards"
	"gimbal/internal/tokenizer"
)

// Ref names a document, and Error is a fault of the user's data: both are the corpus's.
type (
	Ref   = corpus.Ref
	Error = corpus.Error
)

// ErrUnusable says that a text cannot be used for training or measuring.
var ErrUnusable = errors.New("unusable data")

// Text is what a run reads: documents as tokens, cut into a training and a validation part. Whoever made it closes the
// set.
type Text struct {
	Docs  *corpus.Corpus
	Tok   *tokenizer.Tokenizer
	Set   *Set
	Train *Split // nil if nothing is trained on
	Val   *Split
}

// Findings returns what is to be told of the text before anything is learned from it: of its files, then of its
// documents, then of its sequences.
func (t *Text) Findings() []corpus.Finding {
	f := append(t.Docs.Findings(), t.Set.Findings()...)
	if t.Train != nil {
		f = append(f, t.Train.Findings()...)
	}
	return f
}

// Event is something that people should know: a code of the run's log, and a sentence.
type Event struct{ Code, Text string }

// Set is a prepared corpus: its tokens in memory-mapped shards, and the rule that holds some of it out. Safe for
// concurrent use until Close.
type Set struct {
	Dir       string   // the cache
	Hash      string   // of tokens and document bounds: the same wherever the files lie
	Sources   []string // paths; Ref.Source is an index into it
	SplitBy   string   // "document", "position", "name", or "none" when nothing is held out
	SplitNote string   // a sentence that says why
	Events    []Event  // what happened to the cache, if anything

	tok     *tokenizer.Tokenizer
	format  chat.Format // of its conversations
	ends    []int32     // of turns, where a model's own template writes them: no EOS is learned behind one
	start   int32       // opens a document; -1: nothing does
	census  shards.Census
	docs    *corpus.Corpus
	pairs   bool      // each two documents are a preference
	roots   []int     // of each source, which of the corpus's paths it is from
	weights []float64 // of each root; nil: none
	lengths []int32   // bytes spelled by each id
	held    held
	told    []corpus.Finding
	files   *shards.Files
	index   shards.Index // of files
	mask    shards.Mask  // of files
}

// held says what is held out.
type held struct {
	fraction  float64
	beforeEnd bool   // split by position: the end of a text that is cut stays in train
	sources   []bool // split by name: the sources that are held out
	doc       int    // split by position: the document that is cut,
	at, end   int64  // and which of its tokens are held out; toEnd: all from there on, and all documents after it
}

const toEnd = math.MaxInt64

// Close unmaps the files; the set and its splits cannot be used any more.
func (s *Set) Close() error { return s.files.Close() }

// CatchShrunk makes an error of the panic where a mapped file of a set got shorter; see durable.CatchShrunk. Whoever
// closes the set comes after it.
var CatchShrunk = durable.CatchShrunk

// Chat is what a checkpoint has to say about conversations.
type Chat struct {
	Template string  // the Jinja template that writes them as the set does
	Note     string  // a sentence that says how roles are marked
	TurnEnds []int32 // the special tokens, besides the EOS, that end what the assistant says
}

// Chat returns the zero Chat for a set without conversations.
func (s *Set) Chat() (c Chat) {
	if s.census.Conversations == 0 {
		return c
	}
	start := ""
	if s.start >= 0 {
		start = s.tok.Name(s.start)
	}
	ends := slices.DeleteFunc(slices.Clone(s.format.TurnEnds()), func(id int32) bool { return id == s.tok.EOS() })
	return Chat{s.format.Template(start), s.format.Note(), ends}
}

// Pairs reports whether the documents are preferences: a sequence is a pair then.
func (s *Set) Pairs() bool { return s.pairs }

// Documents returns how many documents there are; Span.Index is below.
func (s *Set) Documents() int { return s.index.Len() }

// Census returns the counts of the whole corpus.
func (s *Set) Census() shards.Census { return s.census }

// Describe names a document for a person: its file and its place there.
func (s *Set) Describe(r Ref) string {
	src := &s.docs.Sources[r.Source]
	return corpus.Printable(src.Path) + ", " + src.Place(r)
}

// heldOut decides by the document's text alone: it never moves, and exact copies stay together.
func (s *Set) heldOut(doc int) bool {
	return float64(s.index.Hash64(doc)>>11)*0x1p-53 < s.held.fraction
}

type side uint8

const (
	trainSide side = iota
	valSide
	allSides
)

// part returns which text tokens [lo, hi) of a document fall on a side. A document whose middle is held out has a
// second part in train, after it.
func (s *Set) part(doc int, on side, second bool) (lo, hi int64) {
	n, h := s.index.Tokens(doc), &s.held
	val := false
	switch {
	case second && (s.SplitBy != "position" || doc != h.doc || on != trainSide):
		return 0, 0
	case on == allSides:
		return 0, n
	case s.SplitBy == "name":
		val = h.sources[s.index.Source(doc)]
	case s.SplitBy == "document":
		val = s.heldOut(doc)
	case s.SplitBy != "position":
	case doc == h.doc && on == valSide:
		return h.at, min(h.end, n)
	case doc == h.doc && second:
		return min(h.end, n), n
	case doc == h.doc:
		return 0, h.at
	default:
		val = doc > h.doc && h.end == toEnd
	}
	if val != (on == valSide) {
		return 0, 0
	}
	return 0, n
}

// labels returns the labels [lo, hi) of a document on a side, counted in its virtual row v (see the package doc):
// label 1 is the first token, label n+1 the EOS. Only the part with the last token has the EOS. If a part begins
// inside the document, the input of its first label is the token before, from the other side. The input of the first
// token of a document is the start token; without one it is no label.
func (s *Set) labels(doc int, on side, second bool) (lo, hi int64) {
	lo, hi = s.part(doc, on, second)
	if lo == hi {
		return 0, 0
	}
	if hi == s.index.Tokens(doc) {
		hi++
	}
	if lo == 0 && s.start < 0 {
		lo = 1
	}
	return lo + 1, hi + 1
}

// counts reports whether label j of a document's virtual row counts. The EOS counts if the last token does, unless that
// has ended the answer already.
func (s *Set) counts(doc int, j int64) bool {
	n := s.index.Tokens(doc)
	if !s.mask.At(s.index.Begin(doc) + min(j, n) - 1) {
		return false
	}
	return j <= n || s.ends == nil || n == 0 || !slices.Contains(s.ends, s.text(nil, doc, n, n+1)[0])
}

// counted returns how many of the labels [lo, hi) of a document count.
func (s *Set) counted(doc int, lo, hi int64) int64 {
	if s.mask == nil && s.ends == nil {
		return hi - lo
	}
	begin, n := s.index.Begin(doc)-1, s.index.Tokens(doc)
	sum := s.mask.Count(begin+lo, begin+min(hi, n+1))
	if hi == n+2 && s.counts(doc, n+1) {
		sum++
	}
	return sum
}

// Train returns the training part, cut into sequences of at most context labels.
func (s *Set) Train(context int) *Split { return s.newSplit(context, trainSide) }

// Val returns the part that is held out for validation.
func (s *Set) Val(context int) *Split { return s.newSplit(context, valSide) }

// All returns everything, for scoring text that was not trained on.
func (s *Set) All(context int) *Split { return s.newSplit(context, allSides) }

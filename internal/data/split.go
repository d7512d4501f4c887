package data

import (
	"iter"
	"sort"
)

// Split is one side of a set, cut into sequences. A sequence of preferences is a pair: docs has the preferred ones.
// Immutable and safe for concurrent use while its set is open.
type Split struct {
	set     *Set
	side    side
	context int64
	docs    []uint32 // documents with a sequence here, in parts
	second  int      // which of docs is the second part of its document; -1: none
	ends    []int64  // sequences up to and including each of docs
	sums    SideStats
	pairs   pairStats
	most    int64 // tokens of the longest sequence
}

func (s *Set) newSplit(context int, on side) *Split {
	if context < 1 {
		panic("data: context below one")
	}
	sp := &Split{set: s, side: on, context: int64(context), second: -1}
	n := &sp.sums
	if s.pairs {
		sp.pair()
		return sp
	}
	sp.most = sp.context
	for d := range s.index.Len() {
		parts, before := 0, n.Sequences
		for _, second := range []bool{false, true} {
			lo, hi := s.labels(d, on, second)
			if lo >= hi {
				continue
			}
			parts++
			n.Sequences += (hi - lo + sp.context - 1) / sp.context
			n.Labels += hi - lo
			counted := s.counted(d, lo, hi)
			n.Counted += counted
			if counted < hi-lo { // a conversation: of a text everything counts
				s.countAnswers(n, d, lo, hi, sp.context)
			}
			if hi == s.index.Tokens(d)+2 {
				n.EOS++
			}
			if second {
				sp.second = len(sp.docs)
			}
			sp.docs = append(sp.docs, uint32(d))
			sp.ends = append(sp.ends, n.Sequences)
		}
		if parts > 0 {
			n.Documents++
		}
		if n.Sequences-before > int64(parts) {
			n.Chunked++
		}
	}
	return sp
}

// labels returns the labels of the k-th part.
func (sp *Split) labels(k int) (lo, hi int64) {
	return sp.set.labels(int(sp.docs[k]), sp.side, k == sp.second)
}

// part returns the text tokens of the k-th part.
func (sp *Split) part(k int) (lo, hi int64) {
	return sp.set.part(int(sp.docs[k]), sp.side, k == sp.second)
}

// text appends [lo, hi) of a document's virtual row, which must be text tokens.
func (s *Set) text(dst []int32, doc int, lo, hi int64) []int32 {
	begin := s.index.Begin(doc)
	return s.files.Append(dst, begin+lo-1, begin+hi-1)
}

// row appends [lo, hi) of a document's virtual row: the start token at 0, EOS after the last token.
func (s *Set) row(dst []int32, doc int, lo, hi int64) []int32 {
	n := s.index.Tokens(doc)
	if lo == 0 {
		dst = append(dst, s.start)
		lo = 1
	}
	if end := min(hi, n+1); lo < end {
		dst = s.text(dst, doc, lo, end)
	}
	if hi == n+2 {
		dst = append(dst, s.tok.EOS())
	}
	return dst
}

// spelled sums the bytes of ids; special tokens spell none.
func (s *Set) spelled(ids []int32) (n int64) {
	lengths := s.lengths
	for _, id := range ids {
		if uint(id) >= uint(len(lengths)) {
			panic("data: token outside of the vocabulary: the cache is damaged")
		}
		n += int64(lengths[id])
	}
	return n
}

// Sequences returns the number of sequences in an epoch.
func (sp *Split) Sequences() int64 { return sp.sums.Sequences }

// Tokens returns the number of labels in an epoch, EOS included.
func (sp *Split) Tokens() int64 { return sp.sums.Labels }

// Counted returns the number of labels in an epoch that count in the loss: all but what others than the assistant say.
func (sp *Split) Counted() int64 { return sp.sums.Counted }

// EOS returns the number of EOS labels: documents that end in this split.
func (sp *Split) EOS() int64 { return sp.sums.EOS }

// Chunked returns the number of documents that are longer than the context.
func (sp *Split) Chunked() int64 { return sp.sums.Chunked }

// Documents returns the number of documents with a sequence in this split.
func (sp *Split) Documents() int { return int(sp.sums.Documents) }

// Parts returns the number of parts of documents in this split: one of each, but two of a document in train whose
// middle is held out.
func (sp *Split) Parts() int { return len(sp.docs) }

// Context returns the largest number of labels in a sequence.
func (sp *Split) Context() int { return int(sp.context) }

// locate returns the document of sequence i and its labels [lo, hi) in the document's virtual row.
func (sp *Split) locate(i int64) (doc int, lo, hi int64) {
	if i < 0 || i >= sp.Sequences() {
		panic("data: sequence outside of the split")
	}
	k := sort.Search(len(sp.ends), func(k int) bool { return sp.ends[k] > i })
	if k > 0 {
		i -= sp.ends[k-1]
	}
	doc = int(sp.docs[k])
	first, end := sp.labels(k)
	lo = first + i*sp.context
	return doc, lo, min(end, lo+sp.context)
}

// Read appends sequence i to b: for labels v[lo] … v[hi-1] of its document's row v, the inputs v[lo-1] … v[hi-2]. In a
// conversation only what the assistant says counts, so some sequences have no label that counts. Nothing is allocated
// once b has room. It costs a binary search over the documents.
func (sp *Split) Read(b *Batch, i int64) {
	doc, lo, hi := sp.locate(i)
	sp.read(b, doc, lo, hi)
}

func (sp *Split) read(b *Batch, doc int, lo, hi int64) {
	sp.readOne(b, doc, lo, hi)
	if sp.set.pairs {
		lo, hi = sp.set.labels(doc+1, sp.side, false)
		sp.readOne(b, doc+1, lo, hi)
	}
}

func (sp *Split) readOne(b *Batch, doc int, lo, hi int64) {
	span := sp.span(doc, lo, hi)
	span.Start = len(b.Tokens)
	b.Spans = append(b.Spans, span)
	b.Tokens = sp.set.row(b.Tokens, doc, lo-1, hi-1)
	b.Labels = append(b.Labels, b.Tokens[span.Start+1:]...)
	b.Labels = sp.set.row(b.Labels, doc, hi-1, hi)
	if sp.set.mask == nil {
		for range span.Len {
			b.Counts = append(b.Counts, true)
		}
		b.Counted += span.Len
		b.Bytes += sp.set.spelled(b.Labels[span.Start:])
		return
	}
	for j := lo; j < hi; j++ {
		counts := sp.set.counts(doc, j)
		if b.Counts = append(b.Counts, counts); counts {
			b.Counted++
			b.Bytes += sp.set.spelled(b.Labels[len(b.Counts)-1 : len(b.Counts)])
		}
	}
}

// span describes the sequence of labels [lo, hi) of a document, with Start 0.
func (sp *Split) span(doc int, lo, hi int64) Span {
	return Span{Len: int(hi - lo), Doc: sp.set.index.Ref(doc), Index: doc, First: lo - 1}
}

// labelPiece bounds what Labels holds of one document.
const labelPiece = 1 << 20

// Labels yields the labels of each document of the split in corpus order, the same as an epoch of sequences has. A
// document with more than 2^20 labels comes in pieces. A slice is valid until the next.
func (sp *Split) Labels() iter.Seq[[]int32] {
	return func(yield func([]int32) bool) {
		for ids := range sp.CountedLabels() {
			if !yield(ids) {
				return
			}
		}
	}
}

// CountedLabels yields Labels and which of them count; nil if all do.
func (sp *Split) CountedLabels() iter.Seq2[[]int32, []bool] {
	return func(yield func([]int32, []bool) bool) {
		var ids []int32
		var counts []bool
		for k, d := range sp.docs {
			doc := int(d)
			lo, hi := sp.labels(k)
			for ; lo < hi; lo += labelPiece {
				end := min(hi, lo+labelPiece)
				ids = sp.set.row(ids[:0], doc, lo, end)
				if sp.set.mask != nil {
					counts = counts[:0]
					for j := lo; j < end; j++ {
						counts = append(counts, sp.set.counts(doc, j))
					}
				}
				if !yield(ids, counts) {
					return
				}
			}
		}
	}
}

// Document returns the document of the k-th part of the split, and how many of its text tokens are in the part.
func (sp *Split) Document(k int) (ref Ref, tokens int64) {
	lo, hi := sp.part(k)
	return sp.set.index.Ref(int(sp.docs[k])), hi - lo
}

// AppendText appends text tokens [lo, hi) of the k-th part of the split, without start and EOS.
func (sp *Split) AppendText(dst []int32, k int, lo, hi int64) []int32 {
	first, end := sp.part(k)
	if lo < 0 || lo > hi || first+hi > end {
		panic("data: text outside of the document")
	}
	return sp.set.text(dst, int(sp.docs[k]), first+lo+1, first+hi+1)
}

package data

// Span is one sequence of a batch. Doc and First identify it: they do not change with the order, the context or the
// neighbours.
type Span struct {
	Start, Len int   // positions [Start, Start+Len) of the batch
	Doc        Ref   // the document it is cut from
	Index      int   // of the document in its set; of a pair, the preferred one is even and the other comes next
	First      int64 // which text token of the document its first label is; the EOS comes after the last
}

// Batch is ragged: sequences are end to end, and nothing is padded. Of preferences, each two spans are a pair: the
// preferred answer, then the other. A zero Batch is ready for use.
type Batch struct {
	Tokens  []int32 // (N) inputs
	Labels  []int32 // (N) the token that follows each
	Counts  []bool  // (N) whether this position's loss counts
	Spans   []Span  // one per sequence, in order, covering [0, N)
	Bytes   int64   // spelled by the counted labels; EOS spells none
	Counted int     // true in Counts

	bounds []int32 // memory of Micro.Bounds
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.Tokens, b.Labels, b.Counts, b.Spans = b.Tokens[:0], b.Labels[:0], b.Counts[:0], b.Spans[:0]
	b.Bytes, b.Counted = 0, 0
}

// Micro is a run of whole sequences of a batch, as views into it.
type Micro struct {
	Tokens, Labels []int32
	Counts         []bool
	Spans          []Span // Start counts from the start of the batch
	// (sequences+1) where each sequence begins, counted from the start of Tokens; the last is len(Tokens).
	Bounds []int32
}

// SplitMicro appends to dst the batch cut into micro-batches of at most ceiling positions, each as many sequences as
// fit, in order. The views hold until the next SplitMicro of b, or until b changes. It panics if a sequence is longer
// than ceiling.
func SplitMicro(dst []Micro, b *Batch, ceiling int) []Micro {
	if need := 2 * len(b.Spans); cap(b.bounds) < need { // grown before views are taken
		b.bounds = make([]int32, 0, need)
	}
	bounds := b.bounds[:0]
	for i := 0; i < len(b.Spans); {
		begin := b.Spans[i].Start
		first, mark, end := i, len(bounds), begin
		bounds = append(bounds, 0)
		for ; i < len(b.Spans); i++ {
			next := b.Spans[i].Start + b.Spans[i].Len
			if next-begin > ceiling {
				break
			}
			bounds = append(bounds, int32(next-begin))
			end = next
		}
		if i == first {
			panic("data: micro-batch smaller than a sequence")
		}
		dst = append(dst, Micro{b.Tokens[begin:end], b.Labels[begin:end], b.Counts[begin:end], b.Spans[first:i],
			bounds[mark:len(bounds):len(bounds)]})
	}
	return dst
}

// CountedLabels is the number of labels of a pass that count.
func (m Micro) CountedLabels() (n int) {
	for _, c := range m.Counts {
		if c {
			n++
		}
	}
	return n
}

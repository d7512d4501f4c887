//go:build planted

package train

import (
	"maps"
	"math"

	"gimbal/internal/data"
	"gimbal/internal/rng"
)

// Mistakes that cannot be made in the trainer as it is shipped, made as a trainer makes them that pads, packs, averages
// or rounds carelessly. The tag planted adds them to the faults of --inject, for proofs and tests; docs/guards.md
// defines each.
func init() {
	maps.Copy(faultKinds, map[string]faultKind{
		"padding-in-loss": {earliest: 1},
		"lost-eos":        {earliest: 1},
		"shifted-label":   {earliest: 1},
		"mean-of-means":   {earliest: 1},
		"document-leak":   {earliest: 1},
		"bf16-weights":    {earliest: 1},
		"one-paragraph":   {earliest: 1},
		"shuffled-labels": {earliest: armed, batches: 1},
		"random-tokens":   {earliest: armed, batches: 1},
	})
}

// misbuild changes the batch in progress as a mistaken builder would have made it.
func (t *trainer) misbuild(name string) {
	b := &t.batch
	switch name {
	case "padding-in-loss":
		t.pad()
	case "lost-eos": // a pad id that is the EOS, left out of the loss by its id
		for i, label := range b.Labels {
			b.Counts[i] = b.Counts[i] && label != t.corpus.tok.EOS()
		}
	case "shifted-label":
		copy(b.Labels, b.Tokens)
	case "document-leak":
		b.Spans = packed(b.Spans, t.cfg.Train.Context)
	case "one-paragraph":
		n := len(b.Spans)
		b.Reset()
		for range n {
			t.corpus.train.Read(b, 0)
		}
	case "shuffled-labels":
		perm := rng.New(t.cfg.Train.Seed, rng.Probe).Perm(uint64(len(b.Labels)))
		labels := append([]int32(nil), b.Labels...)
		for i := range labels {
			b.Labels[i] = labels[perm.At(uint64(i))]
		}
	case "random-tokens":
		key := rng.New(t.cfg.Train.Seed, rng.Probe)
		for i := range b.Tokens {
			a, c := key.Block(uint64(i))
			b.Tokens[i], b.Labels[i] = int32(a%uint64(t.arch.Vocab)), int32(c%uint64(t.arch.Vocab))
		}
	default:
		return
	}
	b.Counted = 0
	for _, c := range b.Counts {
		if c {
			b.Counted++
		}
	}
}

// pad fills every sequence up to the context with EOS, and counts that as text.
func (t *trainer) pad() {
	from := t.batch
	to := data.Batch{Bytes: from.Bytes}
	for _, s := range from.Spans {
		lo, hi := s.Start, s.Start+s.Len
		s.Start = len(to.Tokens)
		to.Tokens, to.Labels, to.Counts = append(to.Tokens, from.Tokens[lo:hi]...), append(to.Labels, from.Labels[lo:hi]...), append(to.Counts, from.Counts[lo:hi]...)
		for ; s.Len < t.cfg.Train.Context; s.Len++ {
			to.Tokens, to.Labels, to.Counts = append(to.Tokens, t.corpus.tok.EOS()), append(to.Labels, t.corpus.tok.EOS()), append(to.Counts, true)
		}
		to.Spans = append(to.Spans, s)
	}
	t.batch = to
}

// packed joins neighbours into sequences of at most context positions: what they learn is one text.
func packed(spans []data.Span, context int) (joined []data.Span) {
	for _, s := range spans {
		if n := len(joined); n > 0 && joined[n-1].Len+s.Len <= context {
			joined[n-1].Len += s.Len
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// misweigh gives every pass the same weight, however many labels it has.
func (t *trainer) misweigh(m data.Micro, scale float64) float64 {
	if !t.planting("mean-of-means", t.state.Batch+1) {
		return scale
	}
	return 1 / (float64(len(t.micros)) * float64(max(1, counted(m))))
}

// misround keeps the weights in bfloat16, rounded to nearest even, as if there were no masters.
func (t *trainer) misround(batch int64) {
	if !t.planting("bf16-weights", batch) {
		return
	}
	for i, w := range t.model.Params().Flat {
		bits := math.Float32bits(w)
		t.model.Params().Flat[i] = math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff)
	}
	t.model.Refresh()
}

func (t *trainer) planting(name string, batch int64) bool {
	for i, f := range t.faults {
		if f.name == name && t.faultOn(i, batch) {
			return true
		}
	}
	return false
}

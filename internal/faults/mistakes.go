//go:build planted

package faults

import (
	"maps"
	"slices"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/rng"
)

// These mistakes cannot be made in the trainer as it is shipped. They are those of a trainer that pads, packs,
// averages or rounds carelessly. The build tag planted adds them to the faults of --inject, for proofs and tests.
func init() {
	maps.Copy(kinds, map[string]kind{
		"padding-in-loss": {earliest: 1, batch: counted((*Set).pad)},
		"lost-eos":        {earliest: 1, batch: counted((*Set).loseEOS)},
		"shifted-label":   {earliest: 1, batch: func(_ *Set, b *data.Batch) { copy(b.Labels, b.Tokens) }},
		"mean-of-means":   {earliest: 1, scale: (*Set).meanOfMeans},
		"document-leak":   {earliest: 1, batch: (*Set).pack},
		"bf16-weights":    {earliest: 1, update: engine.RoundWeights},
		"one-paragraph":   {earliest: 1, batch: counted((*Set).readOneParagraph)},
		"shuffled-labels": {earliest: armed, batches: 1, batch: (*Set).shuffleLabels},
		"random-tokens":   {earliest: armed, batches: 1, batch: (*Set).drawTokens},
	})
}

// counted is change, followed by a new count of the counted labels.
func counted(change func(*Set, *data.Batch)) func(*Set, *data.Batch) {
	return func(s *Set, b *data.Batch) {
		change(s, b)
		b.Counted = countTrue(b.Counts)
	}
}

func countTrue(counts []bool) (n int) {
	for _, c := range counts {
		if c {
			n++
		}
	}
	return n
}

// pad fills every sequence up to the context with EOS, and lets the padding count in the loss.
func (s *Set) pad(b *data.Batch) {
	from, context, eos := *b, s.env.Text.Train.Context(), s.env.Text.Tok.EOS()
	to := data.Batch{Bytes: from.Bytes}
	for _, span := range from.Spans {
		lo, hi := span.Start, span.Start+span.Len
		span.Start = len(to.Tokens)
		to.Tokens, to.Labels = append(to.Tokens, from.Tokens[lo:hi]...), append(to.Labels, from.Labels[lo:hi]...)
		to.Counts = append(to.Counts, from.Counts[lo:hi]...)
		for ; span.Len < context; span.Len++ {
			to.Tokens, to.Labels, to.Counts = append(to.Tokens, eos), append(to.Labels, eos), append(to.Counts, true)
		}
		to.Spans = append(to.Spans, span)
	}
	*b = to
}

// loseEOS leaves the EOS out of the loss, as if it were a padding token.
func (s *Set) loseEOS(b *data.Batch) {
	for i, label := range b.Labels {
		b.Counts[i] = b.Counts[i] && label != s.env.Text.Tok.EOS()
	}
}

// pack joins neighbours into sequences of at most the context, so that documents see each other.
func (s *Set) pack(b *data.Batch) {
	var joined []data.Span
	for _, span := range b.Spans {
		if n := len(joined); n > 0 && joined[n-1].Len+span.Len <= s.env.Text.Train.Context() {
			joined[n-1].Len += span.Len
			continue
		}
		joined = append(joined, span)
	}
	b.Spans = joined
}

// readOneParagraph reads the first sequence of the training part in place of each.
func (s *Set) readOneParagraph(b *data.Batch) {
	n := len(b.Spans)
	b.Reset()
	for range n {
		s.env.Text.Train.Read(b, 0)
	}
}

func (s *Set) shuffleLabels(b *data.Batch) {
	perm := rng.New(s.env.Seed, rng.Probe).Perm(uint64(len(b.Labels)))
	labels := slices.Clone(b.Labels)
	for i := range labels {
		b.Labels[i] = labels[perm.At(uint64(i))]
	}
}

func (s *Set) drawTokens(b *data.Batch) {
	key, vocab := rng.New(s.env.Seed, rng.Probe), uint64(s.env.Info.Arch.Vocab)
	for i := range b.Tokens {
		x, y := key.Block(uint64(i))
		b.Tokens[i], b.Labels[i] = int32(x%vocab), int32(y%vocab)
	}
}

// meanOfMeans gives every pass the same weight, whatever its number of labels.
func (s *Set) meanOfMeans(in engine.Input) float64 {
	return 1 / (float64(s.passes) * float64(max(1, countTrue(in.Counts))))
}

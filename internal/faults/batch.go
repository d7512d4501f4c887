package faults

import "gimbal/internal/data"

const (
	paragraph   = 64       // tokens of the repeated text
	mostCounted = 32 << 20 // most labels of the training part that are counted to find the rarest token
)

// Source wraps the source of a run's batches. At each batch it begins the faults that are due and changes the batch for
// those that act on it. It leaves batches without counted labels alone.
func (s *Set) Source(next data.Source) data.Source {
	if s.none() {
		return next
	}
	return func(step int64, b *data.Batch, cur data.Cursor) data.Cursor {
		cur = next(step, b, cur)
		s.stage = between
		if len(b.Spans) > 0 && b.Counted > 0 {
			s.begin(step, cur.Batch, b)
		}
		return cur
	}
}

// begin makes b, the batch with the given number, the one in progress.
func (s *Set) begin(step, batch int64, b *data.Batch) {
	s.batch, s.stage = batch, drawn
	for i := range s.faults {
		f := &s.faults[i]
		if f.Begun == 0 && step >= f.step && !f.disk {
			f.Begun = batch
			s.env.Note("planted %s at step %d", f.Spec, step)
		}
		if f.batch != nil && f.on(batch) {
			f.batch(s, b)
		}
	}
	for i := range s.faults {
		if f := &s.faults[i]; f.scale != nil && f.on(batch) {
			s.passes = len(data.SplitMicro(nil, b, s.env.MicroTokens))
		}
	}
}

// poison overwrites the batch with the rarest token of the training part.
func (s *Set) poison(b *data.Batch) {
	if s.rarest < 0 {
		s.rarest = s.findRarest()
	}
	for i := range b.Tokens {
		b.Tokens[i], b.Labels[i] = s.rarest, s.rarest
	}
}

// findRarest returns the rarest token that occurs at the beginning of the training part, the first of several.
func (s *Set) findRarest() int32 {
	counts := make([]int64, s.env.Info.Arch.Vocab)
	left := mostCounted
	for ids := range s.env.Text.Train.CountedLabels() {
		ids = ids[:min(left, len(ids))]
		for _, id := range ids {
			counts[id]++
		}
		if left -= len(ids); left == 0 {
			break
		}
	}
	rarest := int32(-1)
	for id, n := range counts {
		if n > 0 && (rarest < 0 || n < counts[rarest]) {
			rarest = int32(id)
		}
	}
	return rarest
}

// repeat overwrites the batch with one paragraph of the training part, over and over, like a damaged corpus. Each
// sequence begins at another place in it.
func (s *Set) repeat(b *data.Batch) {
	var unit data.Batch
	s.env.Text.Train.Read(&unit, 0)
	text := unit.Labels[:min(paragraph, len(unit.Labels))]
	for k, span := range b.Spans {
		for i := range span.Len {
			b.Labels[span.Start+i] = text[(7*k+i)%len(text)]
			if i > 0 {
				b.Tokens[span.Start+i] = b.Labels[span.Start+i-1]
			}
		}
	}
}

package data

import (
	"fmt"

	"gimbal/internal/corpus"
	"gimbal/internal/rng"
)

// Cursor is a place in the endless stream of batches, and all of it that has to be saved. The zero Cursor is the start.
type Cursor struct {
	Batch int64 // batches given out
	Seq   int64 // sequences consumed; epoch = Seq / Sequences()
}

// Loader fills batches from a split. Next is a pure function of its cursor (and of Skip).
type Loader struct {
	// Skip, if not nil, reports the sequences to skip (quarantine). Its Span has Start 0.
	Skip func(Span) bool

	split  *Split
	order  rng.Key
	budget int
	n      int64
	mix    *mixture // nil: every sequence once an epoch
}

// NewLoader returns a loader of batches of at most budget inputs. Epoch e visits all sequences in the order of a
// permutation keyed by (seed, rng.Order, e); with weights see mixture. It fails with *Error if the budget is smaller
// than the context, or the split smaller than the budget.
func NewLoader(sp *Split, seed uint64, budget int) (*Loader, error) {
	if sp.set.pairs && int64(budget) < sp.most {
		return nil, &corpus.Error{What: fmt.Sprintf("train.batch_tokens is %d, less than a pair of %d tokens", budget,
			sp.most), Advice: fmt.Sprintf("raise it to at least %d, or lower train.context", sp.most)}
	}
	if budget < sp.Context() {
		return nil, &corpus.Error{
			What:   fmt.Sprintf("train.batch_tokens is %d, less than train.context %d", budget, sp.context),
			Advice: fmt.Sprintf("raise train.batch_tokens to at least %d, or lower train.context", sp.context),
		}
	}
	if sp.sums.Labels < int64(budget) {
		const small = "the corpus is smaller than one batch: %s to train on, train.batch_tokens is %d"
		e := &corpus.Error{What: fmt.Sprintf(small, count(sp.sums.Labels, "label"), budget), Advice: "add text"}
		if sp.sums.Labels >= sp.context {
			e.Advice = fmt.Sprintf("add text, or lower train.batch_tokens to at most %d", sp.sums.Labels)
		} else if sp.sums.Labels > 0 {
			e.Advice = fmt.Sprintf("add text, or lower train.context and train.batch_tokens to at most %d", sp.sums.Labels)
		}
		return nil, e
	}
	if sp.sums.Counted == 0 {
		return nil, &corpus.Error{What: "no trainable tokens: there is no answer of an assistant",
			Advice: "add conversations with answers, or text"}
	}
	l := &Loader{split: sp, order: rng.New(seed, rng.Order), budget: budget, n: sp.Sequences()}
	var err error
	l.mix, err = newMixture(sp)
	return l, err
}

// at returns the sequence at a place of an epoch, whose permutation is perm.
func (l *Loader) at(epoch, place int64, perm rng.Perm) int64 {
	slot := int64(perm.At(uint64(place)))
	if l.mix == nil {
		return slot
	}
	return l.mix.at(l.order, epoch, slot)
}

// Epoch returns how many epochs have been consumed at cur: the sequences consumed, divided by those of the split.
func (l *Loader) Epoch(cur Cursor) int64 { return cur.Seq / l.n }

// Next overwrites b with the batch at cur and returns the cursor after it.
//
// A batch takes sequences in order until the next does not fit the budget; that one opens the next batch. It skips
// sequences of which nothing counts, and goes on across the end of an epoch. If every sequence of a whole epoch is
// skipped, the batch is empty or short. Nothing is allocated once b has room. Safe for concurrent use with different
// batches if Skip is.
func (l *Loader) Next(b *Batch, cur Cursor) Cursor {
	b.Reset()
	epoch := int64(-1)
	var perm rng.Perm
	for skipped := int64(0); skipped < l.n; cur.Seq++ {
		if e := l.Epoch(cur); e != epoch {
			epoch = e
			perm = l.order.Sub(uint64(epoch)).Perm(uint64(l.n))
		}
		doc, lo, hi := l.split.locate(l.at(epoch, cur.Seq%l.n, perm))
		if l.split.set.counted(doc, lo, hi) == 0 || l.Skip != nil && l.Skip(l.split.span(doc, lo, hi)) {
			skipped++
			continue
		}
		if len(b.Tokens)+int(l.split.size(doc, lo, hi)) > l.budget {
			break
		}
		skipped = 0
		l.split.read(b, doc, lo, hi)
	}
	cur.Batch++
	return cur
}

// Source overwrites b with the batch of a step and returns the cursor after it. Planted faults wrap one.
type Source func(step int64, b *Batch, cur Cursor) Cursor

// Source returns the loader as a source of batches.
func (l *Loader) Source() Source {
	return func(_ int64, b *Batch, cur Cursor) Cursor { return l.Next(b, cur) }
}

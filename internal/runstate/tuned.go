package runstate

import (
	"context"
	"gimbal/internal/evaluate"
	"gimbal/internal/judge"
	"gimbal/internal/runlog"
)

// Before is what weights from elsewhere could do at step 0.
type Before struct {
	Loss   runlog.Float   `json:"loss"`             // on the sample that every evaluation scores
	Tokens int64          `json:"tokens"`           // of that sample
	Groups []runlog.Float `json:"groups,omitempty"` // its nats by groups of texts; none of preferences
	Old    runlog.Float   `json:"old"`              // on what they knew; 0: nothing is known of it
	Texts  [][]int32      `json:"texts,omitempty"`  // that they wrote, where no old text was named

	Pairs   int64        `json:"pairs,omitempty"`   // of that sample, where Loss is that of a pair
	Written runlog.Float `json:"written,omitempty"` // tokens of a text that they wrote, where there are pairs
}

// Score scores what the weights knew; the zero score where they are fresh and b is nil. At step 0 it remembers what
// they write, where no old text was named.
func (b *Before) Score(ctx context.Context, e *evaluate.Evaluator, step int64) (s evaluate.Score, err error) {
	if b == nil {
		return s, nil
	}
	if step == 0 {
		if b.Texts, err = e.Remember(ctx); err != nil {
			return s, err
		}
	}
	return e.Old(ctx, b.Texts)
}

// Compare gives to put what an evaluation says beside that of step 0, which it remembers.
func (b *Before) Compare(step int64, now, old evaluate.Score, put func(name string, v float64)) {
	if step == 0 {
		b.Loss, b.Tokens = runlog.Float(now.Objective()), now.Tokens
		if now.Pairs.Count == 0 {
			b.Groups = now.Groups()
		}
	} else if len(b.Groups) > 0 {
		if se := now.ChangeError(b.Groups); se > 0 { // not a number where there is one text, or none is finite
			put(evaluate.MetricChangeError, se)
		}
	}
	if old.Tokens == 0 {
		return
	}
	put(evaluate.MetricOld, old.Loss())
	if step == 0 {
		b.Old = runlog.Float(old.Loss())
	}
}

// Tuned is what became of weights from elsewhere, in nats per token: on the sample of every evaluation, and on what
// they knew. After is of the stable checkpoint; where that is the start, of the last evaluation.
type Tuned struct {
	Before, After       float64
	ChangeError         float64 // standard error of their difference; 0: unknown
	Tokens              int64
	OldBefore, OldAfter float64

	// Of preferences: held-out pairs, the share in which the right answer is preferred, and Before and After per pair.
	Pairs                         int64
	AccuracyBefore, AccuracyAfter float64
}

// Tuned is nil where nothing was evaluated since step 0.
func (s *State) Tuned(marked map[string]int64) *Tuned {
	b, h := s.Before, s.History
	if b == nil || len(h) < 2 {
		return nil
	}
	after := h[len(h)-1]
	for _, p := range h[1:] {
		if step, ok := marked[MarkStable]; ok && p.Step == step {
			after = p
		}
	}
	measured := func(p judge.Point, name string) float64 { return p.Metrics[name].Value }
	return &Tuned{Before: float64(b.Loss), After: after.Loss, Tokens: b.Tokens, OldBefore: float64(b.Old),
		ChangeError: measured(after, evaluate.MetricChangeError), OldAfter: measured(after, evaluate.MetricOld),
		Pairs: b.Pairs, AccuracyBefore: measured(h[0], evaluate.MetricAccuracy),
		AccuracyAfter: measured(after, evaluate.MetricAccuracy)}
}

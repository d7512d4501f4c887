package plan

import (
	"math"
	"strings"
)

// Expected is the loss that a run is expected to reach, in nats per token of its last evaluation. Zero: nothing is.
type Expected struct {
	Value, Low, High float64
}

// The law of short runs of small models, fitted to the runs of bench/minutes and to default runs: between the unigram
// loss and lawFloor of the n-gram loss n, the share that is left to learn is (tokens/begin)^-lawPower, with begin =
// lawTokens·e^(lawSpread·n). Twelve of those 16 runs lie within 1 % of it, two more within 3 %, one at 5 % and one at
// 10 %.
const (
	lawFloor  = 0.6845
	lawPower  = 0.4385
	lawTokens = 13_356
	lawSpread = 0.4593
	lawRange  = 0.06 // of the loss, in which a run is expected
	lawLeast  = 3    // in begins: the fewest tokens of a run that it was fitted to
	lawMost   = 100  // and more than the most
	lawSize   = 3e6  // parameters, more than the largest model that it was fitted to
	lawEpochs = 2    // the n-grams of texts that are seen more often know too little: the law expects too much
	lawBatch  = 2048 // tokens of a step that it was fitted to; half and twice as many are near enough
)

// Expect returns what the run is expected to reach, given the losses of n-grams and of unigrams on the text that is
// held out. It is zero for runs of other kinds than those that the law was fitted to: large models or batches, weights
// from elsewhere, conversations, AdamW, a rate that somebody chose, and texts that are seen often.
func (p *Plan) Expect(ngram, unigram float64) Expected {
	c := p.Config
	from := strings.HasPrefix(c.Origin("model.layers"), "from ")
	batch := c.Train.BatchTokens
	if c.Optim.Kind != "muon" || c.Optim.LR.Name != "auto" || from || p.Params > lawSize || batch < lawBatch/2 ||
		batch > 2*lawBatch ||
		p.Text.Epochs > lawEpochs || p.Text.Census.Conversations > 0 {
		return Expected{}
	}
	loss, ok := law(float64(p.Tokens()), ngram, unigram)
	if !ok {
		return Expected{}
	}
	return Expected{loss, loss * (1 - lawRange), loss * (1 + lawRange)}
}

// law returns the loss after so many tokens. ok is false where it says nothing.
func law(tokens, ngram, unigram float64) (loss float64, ok bool) {
	begins := tokens / (lawTokens * math.Exp(lawSpread*ngram))
	if !(ngram > 0 && unigram > ngram && begins >= lawLeast && begins <= lawMost) {
		return 0, false
	}
	floor := lawFloor * ngram
	return floor + (unigram-floor)*math.Pow(begins, -lawPower), true
}

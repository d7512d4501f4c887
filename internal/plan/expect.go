package plan

import (
	"math"
	"strings"
)

// Expected is the loss that a run is expected to reach, in nats per token of its last evaluation. Zero: nothing is.
type Expected struct {
	Value, Low, High float64
}

// The law of what small models learn in short runs, fitted in bench/minutes: the share of what lies between the unigram
// loss and a floor, lawFloor times the n-gram loss, that is still to be learned falls with the power lawPower of the
// tokens, from lawTokens times the power lawVocab of the vocabulary on.
const (
	lawFloor  = 0.8
	lawPower  = 0.58
	lawTokens = 13_000
	lawVocab  = 0.237
	lawRange  = 0.12 // of what is to be learned: the runs that it was fitted to lie within half of it
	lawSize   = 3e6  // most parameters of a model that it was fitted to
	lawLeast  = 4    // most tokens, in those from which on it falls
)

// Expect returns what the run is expected to reach, given the losses of n-grams and of unigrams on the text that is held
// out. The zero value stands for runs of other kinds than those that the law was fitted to: large models, those that
// begin with weights from elsewhere, those that see their text often, and AdamW.
func (p *Plan) Expect(ngram, unigram float64) Expected {
	c, a := p.Config, p.Spec.Arch
	begin := lawTokens * math.Pow(float64(a.Vocab), lawVocab)
	tokens := float64(p.Tokens())
	floor := lawFloor * ngram
	if !(ngram > 0 && unigram > ngram && tokens > lawLeast*begin) || p.Text.Epochs > plannedEpochs || p.Params > lawSize ||
		c.Optim.Kind != "muon" || strings.HasPrefix(c.Origin("model.layers"), "from ") || p.Text.Census.Conversations > 0 {
		return Expected{}
	}
	share := math.Pow(tokens/begin, -lawPower)
	at := func(share float64) float64 { return floor + (unigram-floor)*share }
	return Expected{at(share), at(share * (1 - lawRange)), at(share * (1 + lawRange))}
}

package runlog

import "math"

// Baseline is the n-gram losses on the validation part that the last evaluation scores.
type Baseline struct {
	Order       int   `json:"order"`
	Loss        Float `json:"loss"` // nats per token
	Bits        Float `json:"bits_per_byte"`
	Unigram     Float `json:"unigram_loss"`
	UnigramBits Float `json:"unigram_bits_per_byte"`
	TrainTokens int64 `json:"train_tokens"` // counted
	Tokens      int64 `json:"tokens"`       // scored

	Sample       Float `json:"sample_loss,omitempty"` // nats per token on the sample that every evaluation scores
	SampleTokens int64 `json:"sample_tokens,omitempty"`
}

// Of is the loss on so many scored tokens: those of the whole, beyond which a model may score part of one more pass, or
// those of the sample; NaN where it is unknown.
func (b Baseline) Of(tokens int64) Float {
	switch {
	case tokens >= b.Tokens:
		return b.Loss
	case tokens == b.SampleTokens:
		return b.Sample
	}
	return Float(math.NaN())
}

// Floats converts numbers for a record.
func Floats(list []float64) []Float {
	out := make([]Float, len(list))
	for i, v := range list {
		out[i] = Float(v)
	}
	return out
}

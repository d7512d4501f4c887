package runlog

// Baseline is the n-gram losses on the validation part that the last evaluation scores.
type Baseline struct {
	Order       int   `json:"order"`
	Loss        Float `json:"loss"` // nats per token
	Bits        Float `json:"bits_per_byte"`
	Unigram     Float `json:"unigram_loss"`
	UnigramBits Float `json:"unigram_bits_per_byte"`
	TrainTokens int64 `json:"train_tokens"` // counted
	Tokens      int64 `json:"tokens"`       // scored
}

// Floats converts numbers for a record.
func Floats(list []float64) []Float {
	out := make([]Float, len(list))
	for i, v := range list {
		out[i] = Float(v)
	}
	return out
}

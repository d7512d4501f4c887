package plan

// Expected is the loss that a run is expected to reach, in nats per token of its last evaluation. Zero: nothing is.
type Expected struct {
	Value, Low, High float64
}

// Expect returns what the run is expected to reach.
func (p *Plan) Expect(ngram, unigram float64) (e Expected) { return e }

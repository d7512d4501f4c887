package runlog

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Baseline is the n-gram losses on the validation tokens that the last evaluation scores.
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

// Eval is an evaluation. Metrics are written beside the other fields under their own names, such as rep3, rep3_lo and
// rep3_hi. A metric must not have the name of a field.
type Eval struct {
	Kind string `json:"kind"` // "eval"
	At
	ValLoss      Float            `json:"val_loss"`      // nats per token
	BitsPerByte  Float            `json:"bits_per_byte"` // Σ nats / (ln 2 · bytes spelled): compares across tokenizers
	BaselineLoss Float            `json:"baseline_loss"` // nats per token of the best n-gram model on the same tokens
	Metrics      map[string]Float `json:"-"`
}

// evalFields is Eval without its methods.
type evalFields Eval

// evalKeys are the keys that are not metrics.
var evalKeys = []string{"kind", "step", "batch", "attempt", "time", "val_loss", "bits_per_byte", "baseline_loss"}

// MarshalJSON implements json.Marshaler. Metrics come last, sorted by name.
func (e Eval) MarshalJSON() ([]byte, error) {
	data, err := json.Marshal(evalFields(e))
	if err != nil || len(e.Metrics) == 0 {
		return data, err
	}
	for _, name := range evalKeys {
		if _, ok := e.Metrics[name]; ok {
			return nil, fmt.Errorf("runlog: a metric must not be called %q", name)
		}
	}
	metrics, err := json.Marshal(e.Metrics)
	if err != nil {
		return nil, err
	}
	return append(append(data[:len(data)-1], ','), metrics[1:]...), nil // two objects become one
}

// UnmarshalJSON implements json.Unmarshaler. It ignores keys that are neither fields nor numbers.
func (e *Eval) UnmarshalJSON(data []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, (*evalFields)(e)); err != nil {
		return err
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	e.Metrics = nil
	for name, raw := range all {
		var v Float
		if slices.Contains(evalKeys, name) || v.UnmarshalJSON(raw) != nil {
			continue
		}
		if e.Metrics == nil {
			e.Metrics = map[string]Float{}
		}
		e.Metrics[name] = v
	}
	return nil
}

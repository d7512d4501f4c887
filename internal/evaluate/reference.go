package evaluate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"

	"gimbal/internal/data"
	"gimbal/internal/engine"
)

// Reference is what a model finds of the pairs that are trained and validated on, before step 1. It never changes.
type Reference struct {
	Format   string    `json:"format"`                // set by Encode
	Data     string    `json:"data_sha256"`           // of tokens and documents
	Template string    `json:"template_sha256"`       // that wrote them
	Model    string    `json:"model_sha256"`          // weights of step 0
	Base     string    `json:"base_sha256,omitempty"` // beside which they are an adapter
	Numerics string    `json:"numerics"`              // as engine.Info has it
	Nats     []float64 `json:"nats"`                  // of each document; 0: it is in no pair
}

const referenceFormat = "gimbal-reference 1"

// perhapsSwapped is the share of pairs below which a model would find the preferred answers strange.
const perhapsSwapped = 0.25

// Hash is the SHA-256 of a text, in hex.
func Hash[T string | []byte](text T) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// ParseReference reads a file and returns its hash. What is broken becomes the zero Reference, which is like no other.
func ParseReference(raw []byte) (r Reference, hash string) {
	if json.Unmarshal(raw, &r) != nil || r.Format != referenceFormat {
		r = Reference{}
	}
	return r, Hash(raw)
}

// Encode returns the file of a reference, and its hash. It fails if a number is not finite.
func (r *Reference) Encode() (raw []byte, hash string, err error) {
	r.Format = referenceFormat
	raw, err = json.Marshal(r)
	return raw, Hash(raw), err
}

// Same reports whether a reference that was read is what another one would become.
func (r Reference) Same(o Reference) bool {
	r.Format, r.Nats, o.Nats = "", nil, nil
	return reflect.DeepEqual(r, o)
}

// Refer fills in the numbers of a reference, by the model as it is, and says in a sentence what it finds. tell is told
// how far it is.
func (e *Evaluator) Refer(ctx context.Context, r *Reference, tell func(format string, args ...any)) (string, error) {
	text := e.opt.Text
	r.Nats = make([]float64, text.Set.Documents())
	var b data.Batch
	likelier := 0.0 // pairs of which the preferred answer is likelier, by the token
	flush := func() (err error) {
		e.passes = data.SplitMicro(e.passes[:0], &b, e.opt.MicroTokens)
		if e.nats, err = engine.SequenceNats(ctx, e.opt.Engine, e.nats[:0], e.passes); err != nil {
			return err
		}
		var token [2]float64
		for i, s := range b.Spans {
			r.Nats[s.Index] = e.nats[i]
			in := engine.SequenceInput(&b, s)
			token[i%2] = e.nats[i] / float64(data.Micro{Counts: in.Counts}.CountedLabels())
			if i%2 == 1 && token[0] < token[1] {
				likelier++
			}
		}
		b.Reset()
		return ctx.Err()
	}
	done, all := 0, text.Train.Sequences()+text.Val.Sequences()
	for _, part := range []*data.Split{text.Train, text.Val} {
		for i := range part.Sequences() {
			if part.Read(&b, i); len(b.Tokens) >= e.opt.MicroTokens {
				if err := flush(); err != nil {
					return "", err
				}
			}
			if done++; done%100 == 0 {
				tell("reference of the preferences: %d of %d pairs", done, all)
			}
		}
	}
	if err := flush(); err != nil {
		return "", err
	}
	likelier /= float64(all)
	told := fmt.Sprintf("before step 1, the model finds the chosen answer likelier, by the token, in %.0f %% of pairs",
		100*likelier)
	if likelier < perhapsSwapped {
		told = "warning: " + told + ": perhaps chosen and rejected are swapped"
	}
	return told, nil
}

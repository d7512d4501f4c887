package config

import (
	"cmp"
	"fmt"
)

// Arch is the resolved architecture of a decoder: every choice made, nothing left automatic.
type Arch struct {
	Shape     string  // qwen3, llama, mistral, qwen2 or gpt2: the Hugging Face family it is saved as
	Layers    int     // blocks
	Width     int     // channels of the residual stream
	Heads     int     // query heads
	KVHeads   int     // key and value heads; divides Heads
	HeadSize  int     // channels of one head; even
	MLP       int     // channels of the hidden layer
	Vocab     int     // token ids
	Context   int     // longest sequence
	Positions int     // longest sequence that users of the weights may ask for, where it is more than Context
	Window    int     // mistral: keys that a query sees, at least Context; 0: all
	Norm      string  // rms or layer
	NormEps   float64 // added to the mean square or variance
	Position  string  // rope or learned
	RopeTheta float64 // base of the rotary frequencies; 0 with learned positions
	RopeScale RopeScale
	QKNorm    bool    // RMSNorm on each head of q and k
	QKVBias   bool    // bias on q, k, v
	Bias      bool    // bias on the attention output and the MLP (and, with layer norm, on norms)
	MLPKind   string  // swiglu or gelu
	Tie       bool    // the head is the embedding
	Dropout   float64 // share of dropped channels, embedding output and residual branches
}

// RopeScale stretches the slow rotary frequencies for contexts longer than the first training's, as Llama 3 does. The
// zero value changes nothing.
type RopeScale struct {
	Factor    float64 // divides the frequencies of long waves; 0: no scaling
	Low, High float64 // waves longer than Original/Low are long; those shorter than Original/High do not change
	Original  int     // context of the first training
}

// Params counts the parameters: all of them, and those that are multiplied for every token. These are the matrices of
// the blocks and the head, tied or not, without the embedding look-up, position table, norms and biases. 6·multiplied
// is the usual count of operations per token.
func (a Arch) Params() (total, multiplied int64) {
	w, q, kv := int64(a.Width), int64(a.Heads*a.HeadSize), int64(a.KVHeads*a.HeadSize)
	mlp, vocab, layers := int64(a.MLP), int64(a.Vocab), int64(a.Layers)

	block := w*(q+2*kv) + q*w
	if a.MLPKind == "swiglu" {
		block += 3 * w * mlp
	} else {
		block += 2 * w * mlp
	}
	multiplied = layers*block + vocab*w

	norm := w
	if a.Norm == "layer" {
		norm = 2 * w
	}
	extra := 2 * norm
	if a.QKNorm {
		extra += 2 * int64(a.HeadSize)
	}
	if a.QKVBias {
		extra += q + 2*kv
	}
	if a.Bias {
		extra += w + w + mlp // attention output, MLP output, MLP hidden
		if a.MLPKind == "swiglu" {
			extra += mlp
		}
	}
	total = multiplied + layers*extra + norm
	if !a.Tie {
		total += vocab * w
	}
	if a.Position == "learned" {
		total += int64(a.Context) * w
	}
	return total, multiplied
}

// Arch returns the architecture that c describes for a vocabulary of vocab ids. docs/config.md has the rules for
// automatic values. It returns an *Error if layers or width have no value, or if the parts do not fit together.
func (c *Config) Arch(vocab int) (Arch, error) {
	faults := c.cross(nil, nil)
	for _, k := range []string{"model.layers", "model.width"} {
		if c.Auto(k) {
			faults = append(faults, Fault{Key: k, Text: "has no value; set it or model.preset"})
		}
	}
	if vocab < 1 || vocab > maxVocab {
		text := fmt.Sprintf("%d is outside the range from 1 to %d", vocab, maxVocab)
		faults = append(faults, Fault{Key: "tokenizer.vocab_size", Text: text})
	}
	if len(faults) > 0 {
		return Arch{}, &Error{faults}
	}
	return c.resolve(vocab), nil
}

// Constants of the Hugging Face families.
const (
	epsRMS     = 1e-6 // Qwen3, Qwen2
	epsLayer   = 1e-5 // GPT-2
	thetaShort = 1e4  // Su et al. 2021, arXiv:2104.09864
	thetaLong  = 1e6  // Qwen3, whose contexts are long
	longest    = 4096 // context up to which thetaShort turns slowly enough
)

// resolve fills in every automatic value but layers and width. The parts need not be checked.
func (c *Config) resolve(vocab int) Arch {
	m := c.Model
	a := Arch{
		Shape: m.Shape, Layers: m.Layers, Width: m.Width, Heads: m.Heads, KVHeads: m.KVHeads, HeadSize: m.HeadSize,
		MLP: m.MLP, Vocab: vocab, Context: c.Train.Context, Tie: m.Tie, Dropout: m.Dropout,
		Norm: "rms", NormEps: epsRMS, Position: "rope", RopeTheta: thetaShort, MLPKind: "swiglu",
	}
	if a.Context > longest {
		a.RopeTheta = thetaLong
	}
	gpt2 := m.Shape == "gpt2"
	switch m.Shape {
	case "gpt2":
		a.Norm, a.NormEps, a.Position, a.RopeTheta, a.MLPKind = "layer", epsLayer, "learned", 0, "gelu"
		a.QKVBias, a.Bias = true, true
	case "qwen3":
		a.QKNorm = true
	case "qwen2":
		a.QKVBias = true
	}
	if a.Heads == 0 {
		a.Heads = max(1, a.Width/cmp.Or(a.HeadSize, 64))
	}
	if a.HeadSize == 0 {
		a.HeadSize = a.Width / a.Heads
	}
	if a.KVHeads == 0 {
		a.KVHeads = 1
		if half := a.Heads / 2; gpt2 {
			a.KVHeads = a.Heads
		} else if half >= 1 && a.Heads%half == 0 {
			a.KVHeads = half
		}
	}
	switch {
	case a.MLP != 0:
	case gpt2:
		a.MLP = 4 * a.Width
	default:
		a.MLP = (8*a.Width + 3*64 - 1) / (3 * 64) * 64
	}
	return a
}

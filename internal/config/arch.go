package config

import "fmt"

// Arch is the resolved architecture of a decoder: every choice made, nothing left automatic.
type Arch struct {
	Shape     string  // qwen3, llama, qwen2 or gpt2: the Hugging Face family it is saved as
	Layers    int     // blocks
	Width     int     // channels of the residual stream
	Heads     int     // query heads
	KVHeads   int     // key and value heads; divides Heads
	HeadSize  int     // channels of one head; even
	MLP       int     // channels of the hidden layer
	Vocab     int     // token ids
	Context   int     // longest sequence
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

// RopeScale stretches the slow rotary frequencies, for contexts longer than those first trained on: Llama 3's rule.
// The zero value does not.
type RopeScale struct {
	Factor    float64 // by which frequencies of long wavelength are divided; 0: none are
	Low, High float64 // waves longer than Original/Low are long, those shorter than Original/High stay as they are
	Original  int     // context first trained on
}

// Params counts the parameters: all of them, and those that enter a multiply for every token.
//
// multiplied holds the matrices of the blocks and the head once (whether tied or not); the embedding look-up,
// position table, norms and biases are outside it. 6·multiplied is the usual count of operations per token.
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

// Arch returns the architecture that c describes for a vocabulary of vocab ids.
//
// What is automatic becomes: heads max(1, width/64), or width/head_size where that is given; head size width/heads;
// key and value heads half of the heads where that divides them, else 1, and all of them in the gpt2 shape; hidden
// channels 8/3 of the width rounded up to a multiple of 64, and 4 times the width in the gpt2 shape.
// Returns an *Error if the layers or the width are undecided, or if the parts do not fit one another.
func (c *Config) Arch(vocab int) (Arch, error) {
	faults := c.cross(nil, nil)
	for _, k := range []string{"model.layers", "model.width"} {
		if c.Auto(k) {
			faults = append(faults, Fault{Key: k, Text: "is not decided; set it or model.preset"})
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

// Sizes that the shapes have in common with their Hugging Face families.
const (
	epsRMS     = 1e-6 // Qwen3, Qwen2
	epsLayer   = 1e-5 // GPT-2
	thetaShort = 1e4  // Su et al. 2021, arXiv:2104.09864
	thetaLong  = 1e6  // Qwen3, whose contexts are long
	longest    = 4096 // context up to which thetaShort turns slowly enough
)

// resolve decides everything automatic but the layers and the width. It may be asked before the parts are checked.
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
		size := 64
		if a.HeadSize != 0 {
			size = a.HeadSize
		}
		a.Heads = max(1, a.Width/size)
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
	if a.MLP == 0 {
		if gpt2 {
			a.MLP = 4 * a.Width
		} else {
			a.MLP = (8*a.Width + 3*64 - 1) / (3 * 64) * 64
		}
	}
	return a
}

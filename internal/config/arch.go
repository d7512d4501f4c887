package config

import (
	"cmp"
	"fmt"
	"math"
)

// Arch is the resolved architecture of a decoder: every choice made, nothing left automatic.
type Arch struct {
	Shape     string  // the Hugging Face family that it is saved as, see Shapes
	Layers    int     // blocks
	Width     int     // channels of the residual stream
	Heads     int     // query heads
	KVHeads   int     // key and value heads; divides Heads
	HeadSize  int     // channels of one head; even
	MLP       int     // channels of the hidden layer
	Vocab     int     // token ids
	Context   int     // longest sequence
	Positions int     // longest sequence that users of the weights may ask for, where it is more than Context
	Window    int     // keys that a query of a local layer sees, its own among them; 0: no layer is local
	Norm      string  // rms or layer
	NormEps   float64 // added to the mean square or variance
	Position  string  // rope or learned
	RopeTheta float64 // base of the rotary frequencies; 0 with learned positions
	RopeScale RopeScale
	QKNorm    bool    // RMSNorm on each head of q and k
	QKVBias   bool    // bias on q, k, v
	Bias      bool    // bias on the attention output and the MLP (and, with layer norm, on norms)
	MLPKind   string  // swiglu, geglu (GELU in its tanh form), gelu (the same), gelu-exact or relu
	Tie       bool    // the head is the embedding
	Dropout   float64 // share of dropped channels, embedding output and residual branches
	Variant
}

// Variant is what some families do otherwise than Llama and GPT-2. The zero value is a decoder like these.
type Variant struct {
	Pattern    string  // letters of the layers in turn: Full, Local, Plain; "": Local where Window is not 0, else Full
	Norms      string  // of each half of a block: "": before it, after: on what it adds, both
	UnitGain   bool    // norms multiply by 1 + weight
	NoGain     bool    // norms have neither gain nor bias
	QKWide     bool    // QK-norm is over all heads together, with a gain for each channel
	Parallel   bool    // both halves of a block read its input, and it is the sum of all three
	SharedNorm bool    // of halves in parallel: they read one norm
	HeadBias   bool    // the head has a bias
	Places     int     // rows of the table of learned positions before that of the first one
	Rotary     int     // channels of a head that RoPE turns, from the first on; 0: all
	LocalTheta float64 // base of the rotary frequencies of local layers, unscaled; 0: as of the other layers
	QueryScale float64 // scores are q·k/√QueryScale; 0: HeadSize
	ScoreCap   float64 // scores become cap·tanh(score/cap); 0: they stay
	LogitCap   float64 // logits likewise
	EmbedScale bool    // embeddings are multiplied by √Width

	EmbedFactor    float64 // embeddings are multiplied by it; 0: 1
	ScoreFactor    float64 // scores are q·k·ScoreFactor; 0: as QueryScale says
	ResidualFactor float64 // what a half of a block adds is multiplied by it; 0: 1
	LogitDivisor   float64 // logits are divided by it, before they are capped; 0: 1
}

// Letters of Variant.Pattern.
const (
	Full  = 'f' // sees all keys
	Local = 'l' // sees Window keys
	Plain = 'n' // sees all keys, without RoPE
)

// Layer is what may differ between the layers of a decoder.
type Layer struct {
	Window int     // keys that a query sees; 0: all
	Theta  float64 // base of the rotary frequencies; 0: no RoPE
	Scale  RopeScale
}

// Kind returns the letter of layer i.
func (a Arch) Kind(i int) byte {
	switch {
	case a.Pattern != "":
		return a.Pattern[i%len(a.Pattern)]
	case a.Window > 0:
		return Local
	}
	return Full
}

// Layer returns what layer i does.
func (a Arch) Layer(i int) Layer {
	l := Layer{Theta: a.RopeTheta, Scale: a.RopeScale}
	switch a.Kind(i) {
	case Plain:
		return Layer{}
	case Local:
		if a.Window < a.Context {
			l.Window = a.Window
		}
		if a.LocalTheta != 0 {
			l.Theta, l.Scale = a.LocalTheta, RopeScale{}
		}
	}
	return l
}

// EmbedGain is what embeddings are multiplied by.
func (a Arch) EmbedGain() float64 {
	if a.EmbedScale {
		return math.Sqrt(float64(a.Width))
	}
	return cmp.Or(a.EmbedFactor, 1)
}

// ScoreGain is what the products of queries and keys are multiplied by.
func (a Arch) ScoreGain() float64 {
	return cmp.Or(a.ScoreFactor, 1/math.Sqrt(cmp.Or(a.QueryScale, float64(a.HeadSize))))
}

// Gated reports whether the MLP multiplies one half of its hidden layer by the activation of the other.
func (a Arch) Gated() bool { return a.MLPKind == "swiglu" || a.MLPKind == "geglu" }

// RotarySize is the channels of a head that RoPE turns.
func (a Arch) RotarySize() int { return cmp.Or(a.Rotary, a.HeadSize) }

// RopeScale stretches rotary frequencies for contexts longer than the first training's. The zero value changes
// nothing.
type RopeScale struct {
	Kind      string  // "", llama3, linear, dynamic, yarn or longrope
	Factor    float64 // divides frequencies: all (linear), those of long waves (llama3, yarn), none (dynamic)
	Low, High float64 // turns within Original: waves with fewer than Low are long, with more than High they stay
	Original  int     // context of the first training; longrope: Context is at most this
	Gain      float64 // yarn, longrope: multiplies cosines and sines
	Exact     bool    // yarn: channels where the ramp begins and ends are not rounded
	Short     string  // longrope: divisors of all frequencies within Original, a JSON list
	Long      string  // longrope: those beyond it, which are only kept
}

// Params counts the parameters: all of them, and those that are multiplied for every token. These are the matrices of
// the blocks and the head, tied or not, without the embedding look-up, position table, norms and biases. 6·multiplied
// is the usual count of operations per token.
func (a Arch) Params() (total, multiplied int64) {
	w, q, kv := int64(a.Width), int64(a.Heads*a.HeadSize), int64(a.KVHeads*a.HeadSize)
	mlp, vocab, layers := int64(a.MLP), int64(a.Vocab), int64(a.Layers)

	block := w*(q+2*kv) + q*w
	if a.Gated() {
		block += 3 * w * mlp
	} else {
		block += 2 * w * mlp
	}
	multiplied = layers*block + vocab*w

	norm := w
	if a.Norm == "layer" {
		norm = 2 * w
	}
	if a.NoGain {
		norm = 0
	}
	extra := 2 * norm
	if a.SharedNorm {
		extra = norm
	}
	if a.Norms == "both" {
		extra *= 2
	}
	switch {
	case a.QKWide:
		extra += q + kv
	case a.QKNorm:
		extra += 2 * int64(a.HeadSize)
	}
	if a.QKVBias {
		extra += q + 2*kv
	}
	if a.Bias {
		extra += w + w + mlp // attention output, MLP output, MLP hidden
		if a.Gated() {
			extra += mlp
		}
	}
	total = multiplied + layers*extra + norm
	if !a.Tie {
		total += vocab * w
	}
	if a.HeadBias {
		total += vocab
	}
	if a.Position == "learned" {
		total += int64(a.Context+a.Places) * w
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
		NormEps: epsRMS, RopeTheta: thetaShort,
	}
	if a.Context > longest {
		a.RopeTheta = thetaLong
	}
	f := families[m.Shape]
	if f.Norm == "layer" {
		a.NormEps = epsLayer
	}
	if a.Heads == 0 {
		a.Heads = max(1, a.Width/cmp.Or(a.HeadSize, 64))
	}
	if a.HeadSize == 0 {
		a.HeadSize = a.Width / a.Heads
	}
	if a.KVHeads == 0 {
		a.KVHeads = 1
		if half := a.Heads / 2; f.ownKV {
			a.KVHeads = a.Heads
		} else if half >= 1 && a.Heads%half == 0 {
			a.KVHeads = half
		}
	}
	switch {
	case a.MLP != 0:
	case !f.Gated():
		a.MLP = 4 * a.Width
	default:
		a.MLP = (8*a.Width + 3*64 - 1) / (3 * 64) * 64
	}
	if f.usual != nil {
		f.usual(&a)
	}
	return a.inFamily(f)
}

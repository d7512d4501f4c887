// Package engine is what trains and runs a model, whatever the hardware: an interface, and its implementation on CPUs.
//
// The calls of one training step, in their order:
//
//	e.Discard()
//	acc.Gradient(e, batch, step)                   // passes of a batch under one denominator
//	report, err := e.Propose(ctx, proposal)        // what the update would be; changes nothing
//	applied, err := e.Commit(update)               // the only call that changes parameters
//
// A step that is refused is a Commit that is not called. A rewind is a Set.
//
// An engine owns parameters, gradients and the optimizer's slots, wherever they are. What it returns are numbers: sums
// are float64, and a value is fetched only where it is wanted, because on a device every fetch waits for the device.
package engine

import (
	"context"

	"gimbal/internal/config"
	"gimbal/internal/generate"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/rng"
	"gimbal/internal/safetensors"
)

// Opener makes engines of one kind of hardware. Several engines of one opener share it, one call at a time.
type Opener interface {
	// Hardware says what there is.
	Hardware() Hardware
	// Estimate is the memory that Open would take.
	Estimate(Spec) Memory
	// Open allocates an engine with all parameters zero: Init or Set give them values.
	Open(Spec) (Engine, error)
	// SelfTest compares the multiplies of spec's size and precision with plain Go. It returns the first difference, or
	// "" where every element agrees.
	SelfTest(spec Spec) (difference string)
	// Close gives everything back. Its engines must not be used afterwards.
	Close()
}

// Hardware is what a plan needs to know of the machine.
type Hardware struct {
	Name       string // tier of the kernels, such as avx2
	Workers    int
	BF16       string // the instruction that multiplies bf16; empty: none
	FasterBF16 bool   // it is faster than fp32
	Free       int64  // bytes of memory that can still be taken; 0: unknown
	Warning    string // what is wrong with it; empty: nothing
}

// Spec says which engine to open.
type Spec struct {
	Arch          config.Arch
	MicroTokens   int           // most positions of one pass
	Checkpointing string        // none, attention or block
	Mode          string        // fp32 or bf16
	Optim         optim.Options // of AdamW
	Forward       bool          // only passes without Gradient: no gradients of optimizer slots are allocated
}

// Memory is the bytes of an engine.
type Memory struct {
	Model int64 // parameters, gradients and activations
	Slots int64 // of the optimizer
}

// Engine is a decoder with its gradients and its optimizer. Not safe for concurrent use.
type Engine interface {
	// Info describes the engine. It does not change.
	Info() Info
	// Init draws fresh parameters from a seed and clears slots and gradients.
	Init(seed uint64) error
	// Get returns parameters and slots, as a checkpoint holds them. It fails with a *NonFiniteError where one of them is
	// not finite: such values are nothing to come back to. The result may share memory with the engine, and is valid
	// until its next call.
	Get() (Snapshot, error)
	// Set overwrites parameters and slots, and clears the gradients. slots nil leaves the slots as they are: params may
	// be those of another run. Names and shapes are checked before anything is overwritten.
	Set(params, slots Tensors) error
	// Pass runs sequences through the model and returns what is wanted of them. Slices in the result are valid until the
	// next call.
	Pass(ctx context.Context, in Input, want Want) (Values, error)
	// Propose says what an update with the gradients so far would be. It changes neither parameters nor slots nor
	// gradients.
	Propose(ctx context.Context, p Proposal) (Report, error)
	// Commit makes the update and returns the rate that it was made with.
	Commit(u Update) (lr float64, err error)
	// Discard clears the gradients, and what Propose and Inspect know of passes.
	Discard()
	// Inspect looks for numbers that are not finite, or absurd, in parameters, gradients and the last passes.
	Inspect() (Inspection, error)
	// Decoder returns a decoder that writes with the parameters as they are at each call of its Refresh.
	Decoder(rows, capacity int) (generate.Decoder, error)
	Close() error
}

// Info is what an engine is.
type Info struct {
	Arch     config.Arch
	Tensors  []Tensor // in the order of every list by tensor
	Mode     string   // fp32 or bf16
	Numerics string   // hardware and precision: runs with the same have the same bits
}

// Tensor is one trained tensor.
type Tensor struct {
	Name  string
	Kind  string // embed, attn, mlp, norm or head
	Block int    // -1: outside of the blocks
	Shape []int
}

// Len is the number of elements.
func (t Tensor) Len() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= int64(d)
	}
	return n
}

// Snapshot is what training changes, as a checkpoint holds it.
type Snapshot struct {
	Params []safetensors.Entry // by their Hugging Face names
	Slots  []safetensors.Entry // exp_avg.NAME and exp_avg_sq.NAME, PyTorch's names of the moments
}

// Tensors is where parameters or slots are read from: a safetensors file, the shards of a model, or safetensors.Memory.
type Tensors interface {
	Tensors() []safetensors.Tensor
	Lookup(name string) (safetensors.Tensor, bool)
	ReadF32(dst []float32, name string) error
}

// Input is the sequences of one pass, which lie end to end.
type Input struct {
	Tokens  []int32   // (N) what is read
	Labels  []int32   // (N) the token that follows each
	Counts  []bool    // (N) whether a position's loss counts
	Bounds  []int32   // (S+1) sequence s is positions Bounds[s] to Bounds[s+1]
	Dropout []rng.Key // (S) the key of each sequence's masks; nil: nothing is dropped
	Scale   float64   // with Gradient: what is added is the gradient of Scale times the summed nats
}

// Want is a set of what a pass shall do or return.
type Want uint8

// What may be wanted.
const (
	Gradient Want = 1 << iota // add to the gradients
	Nats                      // Values.Nats
	PerToken                  // Values.TokenNats and Values.TokenLogZ
	Probe                     // Values.Probe: of one sequence of at most ProbeTokens positions, without Gradient
)

// ProbeTokens is the most positions of a pass with Probe.
const ProbeTokens = 256

// Values is what a pass returns.
type Values struct {
	Nats      float64   // summed over the counted positions
	TokenNats []float64 // (N) zero where a position does not count
	TokenLogZ []float64 // (N) logarithm of the sum of exponentials of the logits
	Probe     *ProbeStats
}

// ProbeStats says how a model computes one sequence.
type ProbeStats struct {
	Stream   []Stream  // (L+1) before each block and after the last
	Entropy  []float64 // (L·H) of attention, as a share of the most that is possible
	ScoreMax []float64 // (L·H) largest attention score
	Dead     []float64 // (L) share of units of the MLP that are silent at all positions
	LogZ     float64   // mean logarithm of the sum of exponentials of the logits
	LogitMax float64
}

// Stream describes the residual stream at one place.
type Stream struct {
	RMS  float64
	Kept float64 // share of the stream before the block that is in the one after it; 1 for the embedding
	Peak float64 // largest size over the median size of an element
}

// Proposal asks about an update.
type Proposal struct {
	Step   int64   // number of the update, from 1
	LR     float64 // rate that it would have
	Clip   float64 // largest global norm of the gradient
	Scale  float64 // of the passes: Report.Loss is Scale times their nats
	Detail Detail
}

// Detail is a set of what costs more than a look at every step may.
type Detail uint8

// Details of a report.
const (
	Norms       Detail = 1 << iota // Report.Norms
	TensorStats                    // Report.Tensors and Report.UpdateMedian
	Hashes                         // Report.Hashes
	NoUpdate                       // leaves Report.UpdateRatio out: only loss and norm are wanted
)

// Report is what an update would be.
type Report struct {
	Loss        float64 // Scale times the nats of all passes since Discard
	GradNorm    float64 // global, before clipping
	ClipScale   float64 // factor that brings the norm down to Clip; 1 where the norm is not finite
	LR          float64 // of the update that is described: that of the proposal, unless a planted fault changes it
	UpdateRatio float64 // median over matrices of RMS(Δw)/RMS(w), from a sample; 0 where the norm is not finite

	Norms        []float64     // by tensor
	Tensors      []TensorState // by tensor
	UpdateMedian float64       // as UpdateRatio, from all elements
	Hashes       []uint64      // of each tensor's gradient: equal bits have equal hashes
}

// TensorState is the gradient of a tensor and the update that would be made of it.
type TensorState struct {
	Grad   optim.TensorGrad
	Update optim.TensorUpdate
}

// Update is an update to make.
type Update struct {
	Step    int64
	LR      float64
	Scale   float64   // the gradient is multiplied by it
	Factors []float64 // by tensor: the gradient is multiplied by it first; nil: 1
}

// Inspection is the first numbers that are not finite, or absurd.
type Inspection struct {
	Pass     int  // the first pass since Discard whose nats are not finite; -1: none
	Found    bool // a block's output is the first that is not finite in that pass
	Block    int  // which; -1: the embedding's
	Gradient *Element
	Weight   *Element // not finite, or larger than any weight of a model that still computes
}

// Element is one number of a tensor.
type Element struct {
	Tensor string
	Index  int
	Value  float64
}

// WritingRows is how many texts of length positions are written at once: all of them, where the memory of their keys
// and values is small.
func WritingRows(a config.Arch, texts, length int) int {
	const (
		most  = 128
		few   = 16 // whatever the memory
		bytes = 256 << 20
	)
	rows := max(1, min(most, texts))
	for rows > few && model.CacheBytes(a, rows, length) > bytes {
		rows = max(few, rows/2)
	}
	return rows
}

// WritingBytes is the memory of the keys and values of WritingRows.
func WritingBytes(a config.Arch, texts, length int) int64 {
	return model.CacheBytes(a, WritingRows(a, texts, length), length)
}

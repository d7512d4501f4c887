// Package engine trains and runs a model, whatever the hardware: an interface, and its implementation on CPUs.
//
// The calls of one training step, in their order:
//
//	e.Discard()
//	acc.Gradient(ctx, e, batch, step)              // passes of a batch under one denominator
//	report, err := e.Propose(ctx, proposal)        // what the update would be; changes nothing
//	applied, err := e.Commit(update)               // the only call that changes parameters
//
// To refuse a step, do not call Commit. To rewind, call Set.
//
// An engine owns parameters, gradients and the optimizer's slots, wherever they are. It returns numbers; sums are
// float64. A value is fetched only if it is wanted, because every fetch from a device waits for the device.
package engine

import (
	"context"

	"gimbal/internal/config"
	"gimbal/internal/generate"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/param"
	"gimbal/internal/rng"
	"gimbal/internal/safetensors"
)

// Opener makes engines on one kind of hardware. Its engines share the hardware, one call at a time.
type Opener interface {
	// Hardware describes the machine.
	Hardware() Hardware
	// Estimate returns the memory that Open would take.
	Estimate(Spec) Memory
	// Open allocates an engine with all parameters zero: Init or Set give them values. It fails if the architecture or
	// an option makes no sense.
	Open(Spec) (Engine, error)
	// SelfTest compares the multiplies of spec's size and precision with plain Go. It returns the first difference, or
	// "" where every element agrees.
	SelfTest(spec Spec) (difference string)
	// Close gives everything back. Its engines must not be used afterwards.
	Close()
}

// Hardware is what a plan needs to know of the machine.
type Hardware struct {
	Name       string // tier of the kernels, such as avx2, or what the devices are
	Device     string // platform of the devices, such as cuda; empty: the CPUs
	Attention  string // how devices compute it: plain, blocks or cudnn; empty: not yet chosen, or on CPUs
	Workers    int    // threads, or devices
	BF16       string // the instruction that multiplies bf16; empty: none
	FasterBF16 bool   // bf16 is faster than fp32
	Free       int64  // bytes of memory that can still be allocated; 0: unknown
	Warning    string // what is wrong with the machine; empty: nothing
}

// Spec says which engine to open.
type Spec struct {
	Arch          config.Arch
	MicroTokens   int    // most positions of one pass
	Checkpointing string // none, attention or block
	Mode          string // fp32 or bf16
	Optim         optim.Options
	Adapter       param.Adapter // what is trained, with Rank above 0; else all parameters are
	Forward       bool          // only passes without Gradient: no gradients and no slots are allocated
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
	// Get returns parameters and slots, as a checkpoint holds them. It fails if one of them is not finite. The result
	// may share memory with the engine, and is valid until the next call.
	Get() (Snapshot, error)
	// Set overwrites parameters and slots, and clears the gradients. It checks names and shapes before it overwrites
	// anything, and fails if a weight is not finite. If slots is nil the slots stay as they are: params may be those of
	// another run. An engine with an adapter takes the weights beside it, or the adapter, as the names say.
	Set(params, slots *safetensors.File) error
	// Pass runs sequences through the model and returns the values that are wanted. Slices in the result are valid
	// until the next call.
	Pass(ctx context.Context, in Input, want Want) (Values, error)
	// Propose describes the update that the gradients so far would make. It changes nothing.
	Propose(ctx context.Context, p Proposal) (Report, error)
	// Commit makes the update and returns its learning rate. It is the only call of a step that changes parameters.
	Commit(u Update) (lr float64, err error)
	// Discard clears the gradients, and forgets the passes for Propose and Inspect.
	Discard()
	// Inspect looks for numbers that are not finite, or absurd, in parameters, gradients and the last passes.
	Inspect() (Inspection, error)
	// Decoder returns a decoder of so many rows. Its Refresh takes the engine's parameters as they are.
	Decoder(rows, capacity int) (generate.Decoder, error)
	Close() error
}

// Info describes an engine.
type Info struct {
	Arch     config.Arch
	Tensors  []Tensor // every list by tensor has this order
	Mode     string   // fp32 or bf16
	Numerics string   // hardware and precision: where they are the same, runs have the same bits
}

// Tensor is one trained tensor.
type Tensor struct {
	Name  string
	Kind  string // embed, attn, mlp, norm or head
	Block int    // -1: outside of the blocks
	Shape []int
	Waits bool // its gradient is zero until another tensor has moved: A of an adapter, at the first step
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
	Slots  []safetensors.Entry // SLOT.NAME with PyTorch's names of slots: exp_avg, exp_avg_sq, momentum_buffer
}

// Input is the sequences of one pass, end to end.
type Input struct {
	Tokens  []int32   // (N) what is read
	Labels  []int32   // (N) the token that follows each
	Counts  []bool    // (N) whether a position's loss counts
	Bounds  []int32   // (S+1) sequence s is positions Bounds[s] to Bounds[s+1]
	Weights []float64 // (N) a factor on the nats of each position in the gradient; nil: 1
	Dropout []rng.Key // (S) the key of each sequence's masks; nil: nothing is dropped
	Scale   float64   // with Gradient: the pass adds the gradient of Scale times the weighted sum of nats
}

// Want is the set of what a pass does and returns.
type Want uint8

// What may be wanted.
const (
	Gradient Want = 1 << iota // add to the gradients
	Nats                      // Values.Nats
	PerToken                  // Values.TokenNats and Values.TokenLogZ
	Probe                     // Values.Probe: of one sequence of at most ProbeTokens positions, without Gradient
)

// ProbeTokens is the most positions of a pass with Probe.
const ProbeTokens = model.ProbeTokens

// Values is what a pass returns.
type Values struct {
	Nats      float64   // summed over the counted positions
	TokenNats []float64 // (N) zero where a position does not count
	TokenLogZ []float64 // (N) logarithm of the sum of exponentials of the logits
	Probe     *ProbeStats
}

// ProbeStats describes how a model computes one sequence.
type ProbeStats = model.ProbeStats

// Proposal is a question about an update.
type Proposal struct {
	Step   int64   // number of the update, from 1
	LR     float64 // of the update
	Clip   float64 // largest global norm of the gradient
	Scale  float64 // of the passes: Report.Loss is Scale times their nats
	Detail Detail
}

// Detail is a set of details that cost too much for every step.
type Detail uint8

// Details of a report.
const (
	Norms       Detail = 1 << iota // Report.Norms
	TensorStats                    // Report.Tensors and Report.UpdateMedian
	Hashes                         // Report.Hashes
	NoUpdate                       // no Report.UpdateRatio: only loss and norm are wanted
)

// Report describes an update before it is made.
type Report struct {
	Loss        float64 // Scale times the nats of all passes since Discard
	GradNorm    float64 // global, before clipping
	ClipScale   float64 // factor that brings the norm down to Clip; 1 where the norm is not finite
	LR          float64 // that of the proposal, unless a planted fault changes it
	UpdateRatio float64 // median over matrices of RMS(Δw)/RMS(w), from a sample; 0 where the norm is not finite

	Norms        []float64     // by tensor
	Tensors      []TensorState // by tensor
	UpdateMedian float64       // as UpdateRatio, from all elements
	Hashes       []uint64      // of each tensor's gradient: equal bits have equal hashes
}

// TensorState is the gradient of a tensor and the update that would be made of it.
type TensorState = optim.TensorState

// Update is an update to make.
type Update struct {
	Step    int64
	LR      float64
	Scale   float64   // factor on the gradient
	Factors []float64 // by tensor: applied to the gradient before Scale; nil: 1
}

// Inspection holds the first numbers that are not finite, or absurd.
type Inspection struct {
	Pass     int      // the first pass since Discard whose nats are not finite; -1: none
	Found    bool     // the output of a block is not finite in that pass
	Block    int      // the first such block; -1: the embedding
	Gradient *Element // not finite; nil: none
	Weight   *Element // not finite, or larger than any weight of a model that still computes; nil: none
}

// Element is one number of a tensor.
type Element struct {
	Tensor string
	Index  int
	Value  float64
}

// DecoderRows returns how many of the texts of length positions to decode at once, and the bytes of their keys and
// values. All texts are decoded at once where that memory is small.
func DecoderRows(a config.Arch, texts, length int) (rows int, bytes int64) {
	const (
		most  = 128
		few   = 16 // whatever the memory
		limit = 256 << 20
	)
	rows = max(1, min(most, texts))
	for rows > few && model.CacheBytes(a, rows, length) > limit {
		rows = max(few, rows/2)
	}
	return rows, model.CacheBytes(a, rows, length)
}

// Package runlog is the schema of log.jsonl, the record of a run: what each line may hold, a writer that only appends,
// and a reader that copes with what crashes leave behind.
//
// A run writes with OpenWriter and Writer.Write. Everyone else calls Read, usually followed by Effective, which drops
// what a resume or a rewind has replaced, and All, which picks one kind of record.
//
// Each line is one JSON object with a kind. A resume adds lines and erases none. Numbers that JSON does not have are
// the strings "NaN", "+Inf" and "-Inf". The format is specified in docs/format/log.md.
//
// The package decides nothing and computes no statistics. It imports durable only.
package runlog

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// At says where and when a record was written. Every record has it.
type At struct {
	Step    int64     `json:"step"`    // updates done; the first is 1
	Batch   int64     `json:"batch"`   // cursor into the data; it also advances when a batch is skipped
	Attempt int64     `json:"attempt"` // 1 for the start, and one more with each resume
	Time    time.Time `json:"time,omitzero"`
}

// types are the types of records, by their kind.
var types = map[string]reflect.Type{
	"step": reflect.TypeFor[Step](), "refused": reflect.TypeFor[Refused](), "rewind": reflect.TypeFor[Rewind](),
	"layers": reflect.TypeFor[Layers](), "event": reflect.TypeFor[Event](), "eval": reflect.TypeFor[Eval](),
	"start": reflect.TypeFor[Start](), "resume": reflect.TypeFor[Resume](), "end": reflect.TypeFor[End](),
	"plan": reflect.TypeFor[Plan](), "probe": reflect.TypeFor[Probe](), "preflight": reflect.TypeFor[Preflight](),
}

// Step is written for every optimizer step.
type Step struct {
	Kind string `json:"kind"` // "step"
	At
	Tokens          int64  `json:"tokens"`           // labels counted in the loss, in all steps so far
	Labels          int64  `json:"labels,omitempty"` // of them, in this step
	Loss            Float  `json:"loss"`             // nats per token, or per pair
	GradNorm        Float  `json:"grad_norm"`
	LR              Float  `json:"lr"`                        // as it was applied
	LRScale         Float  `json:"lr_scale,omitempty"`        // the guard's factor in it; left out when 1
	LRPlanned       Float  `json:"lr_planned,omitempty"`      // by the schedule; left out when it is lr
	UpdateRatio     Float  `json:"update_ratio,omitempty"`    // median over matrices of RMS(Δw)/RMS(w), if measured
	ClipScale       Float  `json:"clip_scale"`                // the gradient was multiplied by it: 1 when not clipped
	ClippedTensors  int    `json:"clipped_tensors,omitempty"` // by layered clipping, before that
	TokensPerSecond Float  `json:"tokens_per_second"`
	MemoryBytes     int64  `json:"memory_bytes"`
	Injected        bool   `json:"injected,omitempty"` // a fault was planted in it
	Pairs           *Pairs `json:"pairs,omitempty"`    // what preferences came to, before the update; loss is theirs then
}

// Pairs is means over the pairs of preferences of a step.
type Pairs struct {
	Count          int64 `json:"count"`
	Margin         Float `json:"margin"`        // reward of the preferred answer less that of the other
	Accuracy       Float `json:"accuracy"`      // share with a margin above 0; one of 0 counts half
	ChosenReward   Float `json:"chosen_reward"` // beta times the log ratio to the reference
	RejectedReward Float `json:"rejected_reward"`
	ChosenTokens   Float `json:"chosen_tokens"` // that count, in an answer
	RejectedTokens Float `json:"rejected_tokens"`
}

// Planned is the learning rate of the schedule, before the guard's factor.
func (s Step) Planned() Float {
	if s.LRPlanned != 0 {
		return s.LRPlanned
	}
	return s.LR
}

// Refused is an update that the guard refused. Step is the update that was not made, Batch the batch that was used up
// for it.
type Refused struct {
	Kind string `json:"kind"` // "refused"
	At
	Labels      int64  `json:"labels,omitempty"` // counted in the loss
	Loss        Float  `json:"loss"`             // nats per token
	GradNorm    Float  `json:"grad_norm"`
	LR          Float  `json:"lr"`                     // by the schedule, without the guard's factor
	UpdateRatio Float  `json:"update_ratio,omitempty"` // as in Step
	Action      string `json:"action"`                 // "skip", "rewind" or "stop"
	Injected    bool   `json:"injected,omitempty"`     // a fault was planted in it
}

// Rewind says that the run went back to a checkpoint. Step is that of the checkpoint, Batch the cursor after the data
// that was skipped. It replaces the steps, layers and evaluations of later steps; events and refusals stay.
type Rewind struct {
	Kind string `json:"kind"` // "rewind"
	At
	From    int64 `json:"from"`    // updates that had been done
	Skipped int64 `json:"skipped"` // batches skipped, besides those already used up
}

// Layers is written at step 1 and every 100 steps: the state of each block and kind of tensor, before clipping and
// before the update of that step.
type Layers struct {
	Kind string `json:"kind"` // "layers"
	At
	Layers      []Layer     `json:"layers"`
	UpdateRatio Float       `json:"update_ratio"`         // median over the matrices of RMS(update)/RMS(weights)
	Activations Activations `json:"activations,omitzero"` // none where gradients are not finite
	Unread      int         `json:"unread"`               // tokens of the vocabulary that no batch has held
}

// Layer is one block's tensors of one kind.
type Layer struct {
	Block     int    `json:"block"`                // from 0; -1 for tensors outside the blocks
	Tensor    string `json:"tensor"`               // the kind: "attn", "mlp", "norm" (and biases), "embed", "head"
	GradMean  Float  `json:"grad_mean"`            // mean of absolute values
	GradRMS   Float  `json:"grad_rms"`             // root mean square
	GradMax   Float  `json:"grad_max"`             // largest absolute value
	WeightRMS Float  `json:"weight_rms"`           // of the weights
	UpdateRMS Float  `json:"update_rms"`           // of what the step adds to the weights
	NonFinite int64  `json:"non_finite,omitempty"` // gradient elements that are NaN or infinite; in no other number
}

// Activations are the measurements of a forward pass over one sequence of the batch.
type Activations struct {
	Tokens   int                `json:"tokens"`
	EmbedRMS Float              `json:"embed_rms"` // of the residual stream before the first block
	LogZ     Float              `json:"log_z"`     // mean logarithm of the sum of exponentials of the logits
	LogitMax Float              `json:"logit_max"`
	Blocks   []ActivationsBlock `json:"blocks"`
}

// ActivationsBlock is the part of Activations that describes one block.
type ActivationsBlock struct {
	StreamRMS Float   `json:"stream_rms"` // of the residual stream after the block
	Kept      Float   `json:"kept"`       // share of the block's input that is in its output
	Peak      Float   `json:"peak"`       // largest element of the stream over the median absolute one
	Dead      Float   `json:"dead"`       // share of MLP units that are silent at every position
	ScoreMax  Float   `json:"score_max"`  // largest attention score
	Entropy   []Float `json:"entropy"`    // of each head's attention, as a share of the largest possible
}

// Event is something that was detected.
type Event struct {
	Kind string `json:"kind"` // "event"
	At
	Code      string           `json:"code"`                // such as "E0-NONFINITE"; docs/events.md lists them
	Severity  string           `json:"severity"`            // "info", "warning" or "error"
	Action    string           `json:"action"`              // what was done about it, "none" for nothing
	Injected  bool             `json:"injected,omitempty"`  // planted on purpose
	Message   string           `json:"message,omitempty"`   // for people
	Tensor    string           `json:"tensor,omitempty"`    // the first that is affected
	Documents []string         `json:"documents,omitempty"` // "source:offset" of the text in the batch
	Numbers   map[string]Float `json:"numbers,omitempty"`   // that led to it
}

// Detail says what was seen and where: the message without the step, the tensor and the documents.
func (e Event) Detail() string {
	text := strings.TrimPrefix(e.Message, fmt.Sprintf("step %d: ", e.Step))
	if e.Tensor != "" {
		text += "; first in " + e.Tensor
	}
	if len(e.Documents) > 0 {
		text += "; documents: " + strings.Join(e.Documents, "; ")
	}
	return text
}

// String describes the event in a line: the code, what was seen, where, and what was done.
func (e Event) String() string {
	text := fmt.Sprintf("%s at step %d: %s", e.Code, e.Step, e.Detail())
	if e.Action != "" && e.Action != "none" {
		text += " → " + e.Action
	}
	if e.Injected {
		text += " (planted)"
	}
	return text
}

// Start is written when a run begins.
type Start struct {
	Kind string `json:"kind"` // "start"
	At
	Process
}

// Resume is written when a run continues from a checkpoint of Step. It replaces the records of later batches.
type Resume struct {
	Kind string `json:"kind"` // "resume"
	At
	Process
	Checkpoint string   `json:"checkpoint"`        // directory of the checkpoint
	Refused    []string `json:"refused,omitempty"` // newer checkpoints that did not verify, and why
}

// End is written when a process ends by itself.
type End struct {
	Kind string `json:"kind"` // "end"
	At
	Process
	ExitCode int `json:"exit_code"`
}

// Process is what start, resume and end record about the process.
type Process struct {
	ConfigHash string `json:"config_hash"`
	Reason     string `json:"reason"`
	Version    string `json:"version,omitempty"`
	Tier       string `json:"tier,omitempty"` // of the kernels; another tier gives other bits
	Mode       string `json:"mode,omitempty"` // numeric mode
	Workers    int    `json:"workers,omitempty"`
}

// Plan is written by each process before its first step: what it is going to do.
type Plan struct {
	Kind string `json:"kind"` // "plan"
	At
	Steps        int64           `json:"steps"`
	Parameters   int64           `json:"parameters"`
	TrainTokens  int64           `json:"train_tokens"` // labels in one epoch
	ValTokens    int64           `json:"val_tokens"`
	MemoryBytes  int64           `json:"memory_bytes"`
	BaselineLoss Float           `json:"baseline_loss"`
	UnigramLoss  Float           `json:"unigram_loss"`
	ExpectedLoss Float           `json:"expected_loss,omitempty"` // of the last evaluation; 0: nothing is expected
	ExpectedLow  Float           `json:"expected_low,omitempty"`  // least of the range that is expected
	ExpectedHigh Float           `json:"expected_high,omitempty"` // largest
	Guard        json.RawMessage `json:"guard,omitempty"`         // guard.Rules, with which its decisions can be replayed
}

// Probe is written after a range test: the curve behind a peak learning rate. Its lists have one element for each
// update of the test. The weights of the test were thrown away.
type Probe struct {
	Kind string `json:"kind"` // "probe"
	At
	LR       Float   `json:"lr"`       // the peak that was chosen
	Argmin   Float   `json:"argmin"`   // rate with the least smoothed loss
	Best     Float   `json:"best"`     // that loss, nats per token
	Planned  int64   `json:"planned"`  // updates of the whole ramp
	Diverged bool    `json:"diverged"` // the loss rose far above its least value before the ramp ended
	Message  string  `json:"message"`
	Rates    []Float `json:"rates"`
	Losses   []Float `json:"losses"`
	Smoothed []Float `json:"smoothed"`
	Seconds  Float   `json:"seconds"`
}

// Preflight is written by each process before its first step. It has every check, also those that found nothing.
type Preflight struct {
	Kind string `json:"kind"` // "preflight"
	At
	Checks  []Check `json:"checks"`
	Seconds Float   `json:"seconds"`
}

// Check is the outcome of one check of the preflight.
type Check struct {
	Code    string           `json:"code"`              // such as "P-LEAK"; docs/events.md lists them
	Result  string           `json:"result"`            // "ok", "info", "warning", "error" or "skipped"
	Message string           `json:"message"`           // what was seen, or why it was skipped
	Advice  string           `json:"advice,omitempty"`  // what to do; empty where nothing should be done
	Numbers map[string]Float `json:"numbers,omitempty"` // behind the message
}

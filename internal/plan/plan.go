// Package plan decides what a run will do before its first step: configuration, text, hardware and the speed of a
// trial go in, and one value comes out that nothing changes afterwards.
//
// [OpenText] finds and prepares what a configuration names; [Make] makes the plan. The configuration that a person
// gave is a request and is never written to: the plan holds a copy in which every key has a value and an origin, and
// the config.toml of a run is written from it.
package plan

import (
	"errors"
	"math"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/engine"
	"gimbal/internal/judge"
	"gimbal/internal/optim"
	"gimbal/internal/shards"
)

// ErrMemory says that a run would need more memory than the machine has.
var ErrMemory = errors.New("not enough memory")

// Plan is what a run will do. It is not changed once it is made.
type Plan struct {
	Config   *config.Config // every key decided, each with its origin
	Spec     engine.Spec    // of the engine, with the architecture
	Hardware engine.Hardware

	Params     int64 // parameters
	Multiplied int64 // of them, those that enter multiplies
	Trained    int64 // those of an adapter that is trained in their place; 0: there is none

	Text    Text
	Rate    Rate
	Memory  Memory
	Writing Writing

	Speed     float64       // tokens per second of a trial; 0: none was made
	Estimated time.Duration // of all steps, at that speed
	Warnings  []string      // what a person should know of these decisions
}

// Text is the numbers of what is read.
type Text struct {
	Census  shards.Census
	SplitBy string   // how the validation part was held out, in a sentence
	Train   int64    // labels of one epoch
	Val     int64    // labels of the validation part
	Epochs  float64  // passes over the training part
	Ends    int64    // documents that end in the training part
	Held    string   // files that their names hold out for validation; empty: none
	LeftOut string   // files that their names keep out of both parts; empty: none
	Pairs   [2]int64 // preferences to train on, and held out
}

// Rate is the learning rate and where it comes from.
type Rate struct {
	Schedule optim.Schedule
	Before   []optim.Schedule // those that held until a resume changed the number of steps, in their order
	Rules    []optim.Rate     // what each rule for the peak would give
	Capped   bool             // the warmup was cut to a quarter of the run
	Test     *RangeTest       // that chose the peak; nil: none did
}

// RangeTest is the range test of the rule probe.
type RangeTest struct {
	*optim.RangeTest         // nil: it was made when the run began
	LR               float64 // what it recommends; 0: nothing
	Message          string
	Seconds          float64
}

// Memory is the bytes that a run takes while it trains, without mapped files.
type Memory struct {
	engine.Memory
	Writing int64 // of the judge, and of the keys and values with which texts are written
	Copy    int64 // of weights and moments, which is saved beside training; 0: training waits for saves
}

// programBytes is what the program itself takes while it trains: code, runtime, tokenizer, buffers of files. Measured.
const programBytes = 14 << 20

// Total is all of it.
func (m Memory) Total() int64 { return m.Model + m.Slots + m.Writing + m.Copy + programBytes }

// fits reports whether it fits into free bytes; 0: nobody knows how many there are.
func (m Memory) fits(free int64) bool {
	return free == 0 || float64(m.Total()) <= MemoryShare*float64(free)
}

// Writing is what an evaluation scores and writes.
type Writing struct {
	Evaluations float64    // of the run, those at the ends of epochs not counted
	Samples     judge.Plan // what those at the end of an epoch and of the run write
	Usual       judge.Plan // what the others write: fewer prompts and samples; zero: the same
	Share       float64    // of the training time, which all writing takes
	SampleSize  int64      // tokens of the validation part that each evaluation scores
}

// RateAt is the planned rate of an update.
func (p *Plan) RateAt(step int64) float64 { return p.Rate.At(step) }

// earlySave is the step of the first save of a run.
const earlySave = 50

// SaveDue reports whether a step without an evaluation ends with a save: at equal distances where a distance was
// chosen, and before the first of these and the first evaluation at steps 50, 100, 200, 400, …, so that an early
// rewind loses little.
func (p *Plan) SaveDue(step int64) bool {
	first := evalEvery(p.Config)
	if every := p.Config.Checkpoint.Every; every > 0 {
		if step%every == 0 {
			return true
		}
		first = min(first, every)
	}
	n := step / earlySave
	return step < first && step%earlySave == 0 && n&(n-1) == 0
}

// Tokens is the most tokens that the run learns from, or the largest number there is.
func (p *Plan) Tokens() int64 {
	if t := p.Config.Train; t.Steps <= math.MaxInt64/int64(t.BatchTokens) {
		return t.Steps * int64(t.BatchTokens)
	}
	return math.MaxInt64
}

// EvalEvery is the steps between evaluations.
func (p *Plan) EvalEvery() int64 { return evalEvery(p.Config) }

// EvalDue reports whether a step ends with an evaluation: at equal distances, at the last step, at the end of each
// cycle of the learning rate, and at the end of an epoch unless there are more epochs than evaluations. whole: it is
// the end of an epoch or of the run, where Writing.Samples is written.
func (p *Plan) EvalDue(step int64, epochEnds bool) (due, whole bool) {
	c := p.Config
	epochEnds = epochEnds && p.Text.Epochs <= DefaultEvals
	whole = step == c.Train.Steps || epochEnds
	due = step == c.Train.Steps || step%evalEvery(c) == 0 || p.Rate.Schedule.EndsCycle(step) ||
		epochEnds && c.Eval.Every == 0
	return due, due && whole
}

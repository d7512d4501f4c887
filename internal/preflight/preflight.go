// Package preflight is the checks before the first step of a run: on its own plan, engine and text.
//
// [Run.Check] makes them all and says what each came to; one that finds an error refuses the run. The checks change
// nothing, not even for a moment: not the plan, not the parameters, not the optimizer's slots. They use the engine's
// gradients, and leave none. docs/guards.md describes each check by its code.
package preflight

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/engine"
	"gimbal/internal/memory"
	"gimbal/internal/plan"
	"gimbal/internal/runlog"
)

// Results of a check, in the order of their weight.
const (
	resultOK      = "ok"
	resultSkipped = "skipped"
	resultInfo    = "info"
	resultWarning = "warning"
	resultError   = "error" // the run does not begin
)

// Weights says where the weights of a run come from before its first step.
type Weights string

// Where weights come from.
const (
	Fresh Weights = "fresh"          // drawn by the seed
	Base  Weights = "another run"    // --from
	Saved Weights = "the checkpoint" // of the run itself
)

// Run is a run that is about to begin or to go on.
type Run struct {
	Plan    *plan.Plan
	Engine  engine.Engine // with the weights that the run begins with
	Opener  engine.Opener // of the engine
	Text    *data.Text
	Weights Weights
	Begun   bool   // the run goes on as it was planned
	Out     string // its directory, which may not exist yet; empty: one below rundir.Parent
}

// Check makes every check and returns what they came to. The error is a *Refusal where one of them refuses the run;
// any other is of the engine or the text, and ends the checks. The engine's gradients are cleared.
func (r *Run) Check(ctx context.Context) (*runlog.Preflight, error) {
	c, err := newChecker(r)
	if err != nil {
		return nil, err
	}
	return c.run(ctx)
}

// checker makes the checks of a run. Tests replace its functions.
type checker struct {
	*Run
	stats *data.Stats

	read  func(*data.Split, *data.Batch, int64)
	next  data.Source
	rate  func(step int64) float64
	space func(dir string) (uint64, error)
	free  func() int64
}

func newChecker(r *Run) (*checker, error) {
	train := r.Plan.Config.Train
	stats, err := r.Text.Set.Stats(train.Context)
	if err != nil {
		return nil, err
	}
	loader, err := data.NewLoader(r.Text.Train, train.Seed, train.BatchTokens)
	if err != nil {
		return nil, err
	}
	return &checker{Run: r, stats: stats, read: (*data.Split).Read, next: loader.Source(), rate: r.Plan.RateAt,
		space: durable.FreeSpace, free: memory.Free}, nil
}

// checks are all checks, each with the exit code of a run that it refuses.
var checks = []struct {
	code string
	exit int
	run  func(*checker, context.Context) finding
}{
	{"P-KERNEL", 3, (*checker).checkKernel},
	{"P-LEAK", 3, (*checker).checkLeak},
	{"P-LEAK-GRADIENT", 3, (*checker).checkGradientLeak},
	{"P-INVARIANCE", 3, (*checker).checkInvariance},
	{"P-START-LOSS", 3, (*checker).checkStartLoss},
	{"P-LABELS", 4, (*checker).checkLabels},
	{"P-EOS", 4, (*checker).checkEOS},
	{"P-OVERLAP", 4, (*checker).checkOverlap},
	{"P-DUPLICATES", 4, (*checker).checkDuplicates},
	{"P-SAMPLER", 3, (*checker).checkSampler},
	{"P-LR-TRACE", 2, (*checker).checkRates},
	{"W-WARMUP-SHARE", 2, (*checker).checkWarmupShare},
	{"P-WARMUP-SHORT", 2, (*checker).checkWarmupShort},
	{"P-RESTART-LATE", 2, (*checker).checkRestarts},
	{"P-MEMORY", 6, (*checker).checkMemory},
	{"P-DISK", 6, (*checker).checkDisk},
}

// run makes the checks; see Run.Check.
func (c *checker) run(ctx context.Context) (*runlog.Preflight, error) {
	defer c.Engine.Discard()
	began := time.Now()
	rec := &runlog.Preflight{}
	var refusal *Refusal
	for _, k := range checks {
		f := k.run(c, ctx)
		if f.err != nil {
			return nil, fmt.Errorf("preflight: %s: %w", k.code, f.err)
		}
		check := f.record(k.code)
		rec.Checks = append(rec.Checks, check)
		if f.result == resultError {
			if refusal == nil {
				refusal = &Refusal{Exit: k.exit}
			}
			refusal.Failed = append(refusal.Failed, check)
		}
	}
	rec.Seconds = runlog.Float(time.Since(began).Seconds())
	if refusal != nil {
		return rec, refusal
	}
	return rec, nil
}

// finding is what one check has to say.
type finding struct {
	result  string
	message string // what was seen, with its numbers
	advice  string // what to do; empty where nothing should be
	numbers map[string]float64
	err     error // the check could not be made
}

func found(result, format string, args ...any) finding {
	return finding{result: result, message: fmt.Sprintf(format, args...)}
}

func failed(err error) finding { return finding{err: err} }

// do says what to do about a finding.
func (f finding) do(advice string) finding { f.advice = advice; return f }

// with adds the numbers behind a finding.
func (f finding) with(numbers map[string]float64) finding { f.numbers = numbers; return f }

// record is the finding as the log has it.
func (f finding) record(code string) runlog.Check {
	check := runlog.Check{Code: code, Result: f.result, Message: f.message, Advice: f.advice}
	for name, v := range f.numbers {
		if check.Numbers == nil {
			check.Numbers = map[string]runlog.Float{}
		}
		check.Numbers[name] = runlog.Float(v)
	}
	return check
}

// Summary counts the results of a preflight, in a line for a person.
func Summary(rec *runlog.Preflight) string {
	count := map[string]int{}
	for _, c := range rec.Checks {
		count[c.Result]++
	}
	return fmt.Sprintf("preflight: %d checks, %d warnings, %d notes, %d skipped, %.1f s", len(rec.Checks),
		count[resultWarning], count[resultInfo], count[resultSkipped], float64(rec.Seconds))
}

// Events returns the warnings of a preflight as the events of a run, without their place. The share of the warmup
// belongs to the run and not to the process: it is told when the run begins, and not again when it goes on as planned.
func Events(rec *runlog.Preflight, begun bool) (events []runlog.Event) {
	for _, c := range rec.Checks {
		if c.Result != resultWarning || begun && !strings.HasPrefix(c.Code, "P-") {
			continue
		}
		message := c.Message
		if c.Advice != "" {
			message += "; " + c.Advice
		}
		events = append(events, runlog.Event{Code: c.Code, Severity: c.Result, Action: "none", Message: message,
			Numbers: c.Numbers})
	}
	return events
}

// Refusal is a run that the preflight refused before its first step.
type Refusal struct {
	Failed []runlog.Check
	Exit   int // exit code of the first of them
}

func (e *Refusal) Error() string {
	var lines []string
	for _, c := range e.Failed {
		lines = append(lines, fmt.Sprintf("%s: %s; %s", c.Code, c.Message, c.Advice))
	}
	return "the run was refused before its first step: " + strings.Join(lines, "\n  ")
}

// Package preflight checks a run before its first step: its own plan, engine and text.
//
// [Run.Check] makes all checks and returns the outcome of each. An error refuses the run. The checks change nothing,
// not even for a moment: not the plan, not the parameters, not the optimizer's slots. They use the engine's gradients
// and clear them. docs/events.md lists the checks by code.
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

// Results of a check.
const (
	resultOK      = "ok"
	resultSkipped = "skipped"
	resultInfo    = "info"
	resultWarning = "warning"
	resultError   = "error" // the run is refused
)

// Weights says where the weights of a run come from before its first step.
type Weights string

// Where weights come from.
const (
	Fresh Weights = "fresh"          // drawn by the seed
	Base  Weights = "another run"    // --from
	Saved Weights = "the checkpoint" // of the run itself
)

// Run is a run that is about to begin or to continue.
type Run struct {
	Plan    *plan.Plan
	Engine  engine.Engine // with the weights that the run begins with
	Opener  engine.Opener // of the engine
	Text    *data.Text
	Weights Weights
	Step    int64  // updates made so far
	Begun   bool   // the run continues as it was planned
	Out     string // its directory, which may not exist yet; empty: one below rundir.Parent
}

// Check makes every check and returns the outcomes. The error is a *Refusal if one of them refuses the run. Any other
// error comes from the engine or the text and ends the checks. The engine's gradients are cleared.
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
	var refusal Refusal
	for _, k := range checks {
		f := k.run(c, ctx)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if f.err != nil {
			return nil, fmt.Errorf("preflight: %s: %w", k.code, f.err)
		}
		f.Code = k.code
		rec.Checks = append(rec.Checks, f.Check)
		if f.Result == resultError {
			if refusal.Failed == nil {
				refusal.Exit = k.exit
			}
			refusal.Failed = append(refusal.Failed, f.Check)
		}
	}
	rec.Checks = append(rec.Checks, c.checkData()...)
	rec.Seconds = runlog.Float(time.Since(began).Seconds())
	if refusal.Failed != nil {
		return rec, &refusal
	}
	return rec, nil
}

// finding is the outcome of one check.
type finding struct {
	runlog.Check
	err error // the check could not be made
}

// found is an outcome with what was seen.
func found(result, format string, args ...any) finding {
	return finding{Check: runlog.Check{Result: result, Message: fmt.Sprintf(format, args...)}}
}

func failed(err error) finding { return finding{err: err} }

// do adds what to do about a finding.
func (f finding) do(advice string) finding { f.Advice = advice; return f }

// with adds the numbers behind a finding.
func (f finding) with(numbers map[string]float64) finding {
	f.Numbers = map[string]runlog.Float{}
	for name, v := range numbers {
		f.Numbers[name] = runlog.Float(v)
	}
	return f
}

// sentence is the message of a check with its advice.
func sentence(c runlog.Check) string {
	if c.Advice == "" {
		return c.Message
	}
	return c.Message + "; " + c.Advice
}

// plural writes a number with the thing that it counts.
func plural[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Summary counts the results of a preflight, in a line for a person.
func Summary(rec *runlog.Preflight) string {
	count := map[string]int{}
	for _, c := range rec.Checks {
		count[c.Result]++
	}
	return fmt.Sprintf("preflight: %s, %s, %s, %d skipped, %.1f s", plural(len(rec.Checks), "check"),
		plural(count[resultWarning], "warning"), plural(count[resultInfo], "note"), count[resultSkipped],
		float64(rec.Seconds))
}

// Events returns the warnings of a preflight as the events of a run, without their place. The share of the warmup
// belongs to the run and not to the process: it is reported when the run begins, and not again when it continues.
func Events(rec *runlog.Preflight, begun bool) (events []runlog.Event) {
	for _, c := range rec.Checks {
		if c.Result == resultWarning && (!begun || strings.HasPrefix(c.Code, "P-")) {
			events = append(events, runlog.Event{Code: c.Code, Severity: c.Result, Action: "none", Message: sentence(c),
				Numbers: c.Numbers})
		}
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
		lines = append(lines, c.Code+": "+sentence(c))
	}
	return "the run was refused before its first step: " + strings.Join(lines, "\n  ")
}

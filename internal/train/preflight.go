package train

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/model"
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

// finding is what one check has to say.
type finding struct {
	result  string
	message string // what was seen, with its numbers
	advice  string // what to do; empty where nothing should be
	numbers map[string]float64
}

func found(result, format string, args ...any) finding {
	return finding{result: result, message: fmt.Sprintf(format, args...)}
}

// do says what to do about a finding.
func (f finding) do(advice string) finding { f.advice = advice; return f }

// with adds the numbers behind a finding.
func (f finding) with(numbers map[string]float64) finding { f.numbers = numbers; return f }

// preflight is the checks of a run before its first step: on its own model, data and configuration. It changes nothing:
// gradients are cleared, nothing is updated. The functions are the trainer's own; tests put faulty ones in their place.
type preflight struct {
	*trainer
	begun bool   // the run goes on as it was planned
	out   string // directory of the run, which may not exist yet
	stats *data.Stats

	loss       func(model.Input) float64
	backward   func(model.Input, float64) float64
	accumulate func(*data.Batch) float64
	read       func(*data.Split, *data.Batch, int64)
	next       func(*data.Batch, data.Cursor) data.Cursor
	rate       func(step int64) float64
	multiply   multiplies
	space      func(dir string) (uint64, error)
	free       func() int64
}

// checks are all checks of the preflight, each with the exit code of a run that it refuses.
var checks = []struct {
	code string
	exit int
	run  func(*preflight) finding
}{
	{"P-KERNEL", 3, (*preflight).checkKernel},
	{"P-LEAK", 3, (*preflight).checkLeak},
	{"P-LEAK-GRADIENT", 3, (*preflight).checkGradientLeak},
	{"P-INVARIANCE", 3, (*preflight).checkInvariance},
	{"P-START-LOSS", 3, (*preflight).checkStartLoss},
	{"P-LABELS", 4, (*preflight).checkLabels},
	{"P-EOS", 4, (*preflight).checkEOS},
	{"P-OVERLAP", 4, (*preflight).checkOverlap},
	{"P-DUPLICATES", 4, (*preflight).checkDuplicates},
	{"P-SAMPLER", 3, (*preflight).checkSampler},
	{"P-LR-TRACE", 2, (*preflight).checkRates},
	{"W-WARMUP-SHARE", 2, (*preflight).checkWarmupShare},
	{"P-WARMUP-SHORT", 2, (*preflight).checkWarmupShort},
	{"P-RESTART-LATE", 2, (*preflight).checkRestarts},
	{"P-MEMORY", 6, (*preflight).checkMemory},
	{"P-DISK", 6, (*preflight).checkDisk},
}

func newPreflight(t *trainer, out string) (*preflight, error) {
	stats, err := t.corpus.set.Stats(t.cfg.Train.Context)
	if err != nil {
		return nil, err
	}
	return &preflight{
		trainer: t, begun: t.weights == savedWeights && !t.longer, out: out, stats: stats,
		loss: t.model.Loss, backward: t.model.Backward, accumulate: t.accumulate,
		read: (*data.Split).Read, next: t.loader.Next, rate: t.plan.rateAt,
		multiply: newMultiplies(t), space: durable.FreeSpace, free: freeMemory,
	}, nil
}

// run makes every check and returns what they came to, and a *PreflightError when one of them refuses the run.
func (p *preflight) run() (*runlog.Preflight, error) {
	began := time.Now()
	rec := &runlog.Preflight{}
	var refusal *PreflightError
	for _, c := range checks {
		f := c.run(p)
		check := runlog.Check{Code: c.code, Result: f.result, Message: f.message, Advice: f.advice}
		for name, v := range f.numbers {
			if check.Numbers == nil {
				check.Numbers = map[string]runlog.Float{}
			}
			check.Numbers[name] = runlog.Float(v)
		}
		rec.Checks = append(rec.Checks, check)
		if f.result == resultError {
			if refusal == nil {
				refusal = &PreflightError{Exit: c.exit}
			}
			refusal.Failed = append(refusal.Failed, check)
		}
	}
	clear(p.model.Grads())
	rec.Seconds = runlog.Float(time.Since(began).Seconds())
	if refusal != nil {
		return rec, refusal
	}
	return rec, nil
}

// preflight checks the run that is about to begin or to go on in the directory out, and remembers what to tell in its log.
func (t *trainer) preflight(out string) (err error) {
	if t.unchecked {
		return nil
	}
	if out == "" {
		out = "runs"
	}
	p, err := newPreflight(t, out)
	if err != nil {
		return err
	}
	if t.plan.Preflight, err = p.run(); err != nil {
		return err
	}
	count := map[string]int{}
	for _, c := range t.plan.Preflight.Checks {
		count[c.Result]++
	}
	t.hooks.note("preflight: %d checks, %d warnings, %d notes, %d skipped, %.1f s", len(checks), count[resultWarning], count[resultInfo], count[resultSkipped],
		float64(t.plan.Preflight.Seconds))
	return nil
}

// tellPreflight records every check, and every warning as an event. The share of the warmup belongs to the run and
// not to the process: it is told when the run begins.
func (t *trainer) tellPreflight() error {
	rec := t.plan.Preflight
	if rec == nil {
		return nil
	}
	rec.At = t.at()
	if err := t.log.Write(*rec); err != nil {
		return err
	}
	for _, c := range rec.Checks {
		if c.Result != resultWarning || !strings.HasPrefix(c.Code, "P-") && t.weights == savedWeights && !t.longer {
			continue
		}
		message := c.Message
		if c.Advice != "" {
			message += "; " + c.Advice
		}
		if err := t.event(runlog.Event{At: t.at(), Code: c.Code, Severity: c.Result, Action: "none", Message: message, Numbers: c.Numbers}); err != nil {
			return err
		}
	}
	return nil
}

// PreflightError is a run that the preflight refused before its first step.
type PreflightError struct {
	Failed []runlog.Check
	Exit   int // exit code of the first of them
}

func (e *PreflightError) Error() string {
	var lines []string
	for _, c := range e.Failed {
		lines = append(lines, fmt.Sprintf("%s: %s; %s", c.Code, c.Message, c.Advice))
	}
	return "the run was refused before its first step: " + strings.Join(lines, "\n  ")
}

// existing returns the nearest folder on the way to path that exists.
func existing(path string) string {
	for path = filepath.Clean(path); !exists(path); path = filepath.Dir(path) {
		if filepath.Dir(path) == path {
			break
		}
	}
	return path
}

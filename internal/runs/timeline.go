package runs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// Timeline is what happened in a run, from its log alone.
type Timeline struct {
	State     string       `json:"state"` // in a sentence
	Processes []Process    `json:"processes"`
	Plan      *PlanSummary `json:"plan,omitempty"` // of the last process
	Steps     int64        `json:"steps"`          // updates done
	Refused   int          `json:"refused"`        // updates that were not made
	Rate      []Point      `json:"rate"`           // of the learning rate: first, highest, last
	Loss      []Point      `json:"loss"`           // medians of up to lossSpan steps: first, last
	Entries   []Entry      `json:"chapters"`
	Replay    *Replay      `json:"replay"`
	Garbled   int          `json:"garbled"`           // lines that could not be parsed
	Altered   int          `json:"altered,omitempty"` // places where lines were altered, removed or put in
	Torn      bool         `json:"torn"`              // the last line is incomplete
}

// Process is one attempt: how it began and, where it left an end record, how it ended.
type Process struct {
	Attempt  int64     `json:"attempt"`
	Began    time.Time `json:"began,omitzero"`
	Step     int64     `json:"step"` // from which it continued
	Batch    int64     `json:"batch"`
	Reason   string    `json:"reason"`
	Version  string    `json:"version,omitempty"`
	Tier     string    `json:"tier,omitempty"`
	Mode     string    `json:"mode,omitempty"`
	Workers  int       `json:"workers,omitempty"`
	Refused  []string  `json:"refused,omitempty"` // checkpoints that did not verify
	End      string    `json:"end,omitempty"`     // empty: it crashed, or is running
	EndStep  int64     `json:"end_step,omitempty"`
	Ended    time.Time `json:"ended,omitzero"`
	ExitCode *int      `json:"exit_code,omitempty"`
}

// PlanSummary is what a process was going to do.
type PlanSummary struct {
	Steps        int64        `json:"steps"`
	Parameters   int64        `json:"parameters"`
	TrainTokens  int64        `json:"train_tokens"`
	BaselineLoss runlog.Float `json:"baseline_loss"`
}

// Point is a number at a step.
type Point struct {
	Step  int64        `json:"step"`
	Value runlog.Float `json:"value"`
}

// Entry is one thing that happened.
type Entry struct {
	Kind     string                  `json:"kind"` // "event", "rewind", "eval", "probe", "preflight", "resume"
	Step     int64                   `json:"step"`
	Batch    int64                   `json:"batch"`
	Attempt  int64                   `json:"attempt"`
	Code     string                  `json:"code,omitempty"`
	Severity string                  `json:"severity,omitempty"`
	Injected bool                    `json:"injected,omitempty"`
	Seen     string                  `json:"seen"`
	Done     string                  `json:"done,omitempty"`
	Numbers  map[string]runlog.Float `json:"numbers,omitempty"`
	Before   *runlog.Float           `json:"loss_before,omitempty"` // median of the steps before it
	After    *runlog.Float           `json:"loss_after,omitempty"`
	Times    int                     `json:"times"` // repetitions are one entry
	LastStep int64                   `json:"last_step"`
}

// lossSpan is how many steps the loss before and after is the median of.
const lossSpan = 50

// Why makes the timeline of the run that a person names: its directory, its name below runs/, or its log. The run may
// have crashed, be running, or be deleted except for its log.
func Why(name string) (*Timeline, error) {
	path, l := name, (*runlog.Log)(nil)
	run, err := rundir.Find(name)
	if err == nil && run != "" {
		path = filepath.Join(run, rundir.LogFile)
		l, err = readLog(run)
	} else if err == nil {
		l, err = readLogFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; name the directory of a run, or its %s", err, rundir.LogFile)
	}
	if len(l.Records) == 0 {
		return nil, unreadablef("%s holds no record of a run", path)
	}
	return NewTimeline(l), nil
}

// NewTimeline makes the timeline of a log, complete or not.
func NewTimeline(l *runlog.Log) *Timeline {
	s := &Timeline{Garbled: l.Garbled, Torn: l.Torn, Altered: l.Altered, Replay: replay(l), Rate: []Point{},
		Loss: []Point{}}
	// The entries include what a resume replaced, because it happened. Rates and losses are those of the run as it is.
	for _, rec := range l.Records {
		switch v := rec.Value.(type) {
		case runlog.Start:
			s.Processes = append(s.Processes, process(v.At, v.Process))
		case runlog.Resume:
			p := process(v.At, v.Process)
			p.Refused = v.Refused
			s.Processes = append(s.Processes, p)
		case runlog.Plan:
			s.Plan = &PlanSummary{v.Steps, v.Parameters, v.TrainTokens, v.BaselineLoss}
		case runlog.End:
			if n := len(s.Processes); n > 0 {
				p := &s.Processes[n-1]
				p.End, p.EndStep, p.Ended, p.ExitCode = v.Reason, v.Step, v.Time, &v.ExitCode
			}
		case runlog.Refused:
			s.Refused++
		}
	}
	steps := runlog.All[runlog.Step](l.Effective())
	if n := len(steps); n > 0 {
		s.Steps = steps[n-1].Step
		top := slices.MaxFunc(steps, func(a, b runlog.Step) int { return compareFloat(a.LR, b.LR) })
		for _, p := range []runlog.Step{steps[0], top, steps[n-1]} {
			s.Rate = append(s.Rate, Point{p.Step, p.LR})
		}
		s.Loss = append(s.Loss, Point{steps[0].Step, middle(steps[:min(n, lossSpan)])},
			Point{steps[n-1].Step, middle(steps[max(0, n-lossSpan):])})
	}
	s.Entries = entries(l)
	s.State = s.state()
	return s
}

// Standing returns the events that still count where a run goes on from at, how many updates were refused until then,
// and the last attempt. The checks before the first step are left out: each process makes and tells them again.
func Standing(past *runlog.Log, at runlog.At) (events []runlog.Event, refused int, attempt int64) {
	l := *past
	for _, r := range past.Records {
		attempt = max(attempt, r.At.Attempt)
	}
	l.Records = append(slices.Clip(l.Records), runlog.Record{Kind: "resume", At: at})
	for _, r := range l.Effective().Records {
		switch v := r.Value.(type) {
		case runlog.Event:
			if !strings.HasPrefix(v.Code, "P-") {
				events = append(events, v)
			}
		case runlog.Refused:
			refused++
		}
	}
	return events, refused, attempt
}

// NewlyAltered returns the event that lines behind the checkpoint are not those that were written. What was recorded
// before is not new.
func NewlyAltered(past *runlog.Log) (e runlog.Event, ok bool) {
	const code, places = "F-LOG-ALTERED", "places"
	known := 0
	for _, e := range runlog.All[runlog.Event](past) {
		if e.Code == code {
			known = int(e.Numbers[places])
		}
	}
	if past.Altered <= known {
		return e, false
	}
	return runlog.Event{Code: code, Severity: "warning", Action: "go on",
		Message: fmt.Sprintf("lines of %s behind the checkpoint were altered, removed or put in, in %s", rundir.LogFile,
			Plural(past.Altered-known, "place")),
		Numbers: map[string]runlog.Float{places: runlog.Float(past.Altered)}}, true
}

// LastEval returns the last evaluation in the log of the run in dir, nil if there is none.
func LastEval(dir string) (*runlog.Eval, error) {
	past, err := readLog(dir)
	if err != nil {
		return nil, err
	}
	evals := runlog.All[runlog.Eval](past.Effective())
	if len(evals) == 0 {
		return nil, nil
	}
	return &evals[len(evals)-1], nil
}

// Ended reports whether the run in dir has come to its end by itself: its last process says so in the log, and there
// is a report.
func Ended(dir string) bool {
	s, _ := summarize(dir) // what is wrong with the log is told elsewhere
	_, report := os.Lstat(filepath.Join(dir, rundir.ReportFile))
	return report == nil && s.end != nil && s.end.ExitCode == 0
}

// TextOf says how much text the run in dir was planned on, in a few words; empty if its log does not say.
func TextOf(dir string) string {
	l, err := readLog(dir)
	if err != nil {
		return ""
	}
	plans := runlog.All[runlog.Plan](l)
	if len(plans) == 0 {
		return ""
	}
	p := plans[len(plans)-1]
	return fmt.Sprintf(" %s to train on and %d held out", Plural(p.TrainTokens, "token"), p.ValTokens)
}

func process(at runlog.At, p runlog.Process) Process {
	return Process{Attempt: at.Attempt, Began: at.Time, Step: at.Step, Batch: at.Batch, Reason: p.Reason,
		Version: p.Version, Tier: p.Tier, Mode: p.Mode, Workers: p.Workers}
}

// state describes the state of the run.
func (s *Timeline) state() string {
	if len(s.Processes) == 0 {
		return "never began: the log has no start"
	}
	of := ""
	if s.Plan != nil {
		of = fmt.Sprintf(" of %d", s.Plan.Steps)
	}
	last := s.Processes[len(s.Processes)-1]
	if last.End == "" {
		return fmt.Sprintf("after step %d%s: no end record; it crashed, or is running", s.Steps, of)
	}
	return fmt.Sprintf("after step %d%s: %s (exit code %d)", s.Steps, of, last.End, *last.ExitCode)
}

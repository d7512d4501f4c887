// Package story tells what happened in a run from its log alone, and lets the guard judge everything in it again.
//
// Tell makes a Story of a runlog.Log, also of one that a crash cut off; Story.Write tells it in plain words. Nothing is
// read but the log, so the story of a run that is gone, or still going, can be told.
package story

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gimbal/internal/runlog"
)

// Story is what a log tells.
type Story struct {
	State     string    `json:"state"` // how it stands, in a sentence
	Processes []Process `json:"processes"`
	Plan      *Plan     `json:"plan,omitempty"` // of the last process
	Steps     int64     `json:"steps"`          // updates done
	Refused   int       `json:"refused"`        // updates that were not let through
	Rate      []Point   `json:"rate"`           // of the learning rate: first, highest, last
	Loss      []Point   `json:"loss"`           // medians of up to lossSpan steps: first, last
	Chapters  []Chapter `json:"chapters"`
	Replay    *Replay   `json:"replay"`
	Garbled   int       `json:"garbled"` // lines that are no records
	Torn      bool      `json:"torn"`    // the last line is incomplete
}

// Process is one attempt: how it began and, if it told, how it ended.
type Process struct {
	Attempt  int64     `json:"attempt"`
	Began    time.Time `json:"began,omitzero"`
	Step     int64     `json:"step"` // it went on from
	Batch    int64     `json:"batch"`
	Reason   string    `json:"reason"`
	Version  string    `json:"version,omitempty"`
	Tier     string    `json:"tier,omitempty"`
	Mode     string    `json:"mode,omitempty"`
	Workers  int       `json:"workers,omitempty"`
	Refused  []string  `json:"refused,omitempty"` // checkpoints that did not verify
	End      string    `json:"end,omitempty"`     // empty: it was cut off, or is going on
	EndStep  int64     `json:"end_step,omitempty"`
	Ended    time.Time `json:"ended,omitzero"`
	ExitCode *int      `json:"exit_code,omitempty"`
}

// Plan is what a process was going to do.
type Plan struct {
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

// Chapter is one thing that happened.
type Chapter struct {
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
	Times    int                     `json:"times"` // the same again and again is told once
	LastStep int64                   `json:"last_step"`
}

// lossSpan is how many steps the loss before and after is the median of.
const lossSpan = 50

// Tell makes the story of a log.
func Tell(l *runlog.Log) *Story {
	s := &Story{Garbled: l.Garbled, Torn: l.Torn, Replay: replay(l), Rate: []Point{}, Loss: []Point{}, Chapters: []Chapter{}}
	// What a resume took back did happen, and is told; rates and losses are those of the run as it is.
	for _, rec := range l.Records {
		switch v := rec.Value.(type) {
		case runlog.Start:
			s.Processes = append(s.Processes, process(v.At, v.Process))
		case runlog.Resume:
			p := process(v.At, v.Process)
			p.Refused = v.Refused
			s.Processes = append(s.Processes, p)
		case runlog.Plan:
			s.Plan = &Plan{v.Steps, v.Parameters, v.TrainTokens, v.BaselineLoss}
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
		s.Loss = append(s.Loss, Point{steps[0].Step, middle(steps[:min(n, lossSpan)])}, Point{steps[n-1].Step, middle(steps[max(0, n-lossSpan):])})
	}
	s.Chapters = chapters(l)
	s.State = s.state()
	return s
}

func process(at runlog.At, p runlog.Process) Process {
	return Process{Attempt: at.Attempt, Began: at.Time, Step: at.Step, Batch: at.Batch, Reason: p.Reason,
		Version: p.Version, Tier: p.Tier, Mode: p.Mode, Workers: p.Workers}
}

// state says how the run stands.
func (s *Story) state() string {
	if len(s.Processes) == 0 {
		return "never began: the log has no start"
	}
	of := ""
	if s.Plan != nil {
		of = fmt.Sprintf(" of %d", s.Plan.Steps)
	}
	last := s.Processes[len(s.Processes)-1]
	if last.End == "" {
		return fmt.Sprintf("after step %d%s: cut off, or still going; the last process left no word of its end", s.Steps, of)
	}
	return fmt.Sprintf("after step %d%s: %s (exit code %d)", s.Steps, of, last.End, *last.ExitCode)
}

// chapters tells what happened in the order of the log, with the loss before and after.
func chapters(l *runlog.Log) []Chapter {
	var all []Chapter
	var before []runlog.Step // the newest steps
	var open []int           // chapters whose steps after are still being collected
	after := map[int][]runlog.Step{}
	add := func(c Chapter, at runlog.At, effect bool) {
		c.Step, c.Batch, c.Attempt, c.Times, c.LastStep = at.Step, at.Batch, at.Attempt, 1, at.Step
		if n := len(all); n > 0 && again(&all[n-1], c) {
			return
		}
		if effect && len(before) > 0 {
			m := middle(before)
			c.Before = &m
			open = append(open, len(all))
		}
		all = append(all, c)
	}
	for _, rec := range l.Records {
		switch v := rec.Value.(type) {
		case runlog.Step:
			if before = append(before, v); len(before) > lossSpan {
				before = before[1:]
			}
			open = slices.DeleteFunc(open, func(i int) bool {
				after[i] = append(after[i], v)
				return len(after[i]) == lossSpan
			})
		case runlog.Event:
			seen := strings.TrimPrefix(v.Message, fmt.Sprintf("step %d: ", v.Step))
			if v.Tensor != "" {
				seen += "; first in " + v.Tensor
			}
			if len(v.Documents) > 0 {
				seen += "; documents: " + strings.Join(v.Documents, ", ")
			}
			add(Chapter{Kind: "event", Code: v.Code, Severity: v.Severity, Injected: v.Injected, Seen: seen, Done: v.Action, Numbers: v.Numbers},
				v.At, slices.Contains(ladder, v.Code) || strings.HasPrefix(v.Code, "A"))
		case runlog.Rewind:
			add(Chapter{Kind: "rewind", Seen: fmt.Sprintf("went back from step %d to step %d, past %d more batches", v.From, v.Step, v.Skipped)}, v.At, false)
		case runlog.Eval:
			seen := fmt.Sprintf("validation loss %.4f nats/token, %.4f bits/byte", float64(v.ValLoss), float64(v.BitsPerByte))
			if v.BaselineLoss > 0 {
				seen += fmt.Sprintf(" (n-gram baseline %.4f nats/token)", float64(v.BaselineLoss))
			}
			add(Chapter{Kind: "eval", Seen: seen}, v.At, false)
		case runlog.Probe:
			add(Chapter{Kind: "probe", Seen: v.Message}, v.At, false)
		case runlog.Preflight:
			add(Chapter{Kind: "preflight", Seen: checks(v)}, v.At, false)
		case runlog.Resume:
			seen := fmt.Sprintf("attempt %d went on from step %d", v.Attempt, v.Step)
			if len(v.Refused) > 0 {
				seen += "; refused: " + strings.Join(v.Refused, "; ")
			}
			add(Chapter{Kind: "resume", Seen: seen}, v.At, false)
			before, open = nil, nil // other steps come before it now
		}
	}
	for i, steps := range after {
		m := middle(steps)
		all[i].After = &m
	}
	return all
}

// again counts a chapter that repeats the one before it: the same code with the same done, nearly at once.
func again(last *Chapter, c Chapter) bool {
	if c.Kind != "event" || last.Kind != "event" || last.Code != c.Code || last.Done != c.Done || last.Attempt != c.Attempt || c.Batch-last.Batch > int64(last.Times) {
		return false
	}
	last.Times++
	last.LastStep = c.Step
	if after, ok := c.Numbers["scale_after"]; ok {
		last.Numbers = maps.Clone(last.Numbers)
		last.Numbers["scale_after"] = after
	}
	return true
}

// checks sums the preflight up and names what it found.
func checks(v runlog.Preflight) string {
	count := map[string]int{}
	var found []string
	for _, c := range v.Checks {
		count[c.Result]++
		if c.Result == "warning" || c.Result == "error" {
			found = append(found, fmt.Sprintf("%s: %s", c.Code, c.Message))
		}
	}
	text := fmt.Sprintf("%d checks before the first step: %d ok, %d notes, %d warnings, %d errors, %d skipped",
		len(v.Checks), count["ok"], count["info"], count["warning"], count["error"], count["skipped"])
	return strings.Join(append([]string{text}, found...), "; ")
}

// middle is the median loss of steps, of which there is at least one; NaN counts as the largest.
func middle(steps []runlog.Step) runlog.Float {
	losses := make([]runlog.Float, len(steps))
	for i, s := range steps {
		losses[i] = s.Loss
	}
	slices.SortFunc(losses, compareFloat)
	return losses[len(losses)/2]
}

// compareFloat orders numbers, NaN last.
func compareFloat(a, b runlog.Float) int {
	switch {
	case a != a && b != b:
		return 0
	case a != a:
		return 1
	case b != b:
		return -1
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

package runs

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"gimbal/internal/guard"
	"gimbal/internal/runlog"
)

// Replay is what the guard decides when it gets the recorded observations again.
type Replay struct {
	Observations int          `json:"observations"` // replayed
	Refused      int          `json:"refused"`      // of them
	Left         int          `json:"left"`         // that could not be replayed; Notes say why
	Differences  []Difference `json:"differences"`
	Notes        []string     `json:"notes,omitempty"`
}

// Difference is where a replayed decision is not the recorded one.
type Difference struct {
	Step     int64  `json:"step"`
	Batch    int64  `json:"batch"`
	Attempt  int64  `json:"attempt"`
	What     string `json:"what"`
	Recorded string `json:"recorded"`
	Replayed string `json:"replayed"`
}

// ladder are the codes of the events that guard.Next makes.
var ladder = []string{guard.CodeNonfinite, guard.CodeOutlier, guard.CodeSustained, guard.CodeDiverged, guard.CodeRate,
	guard.CodeNudge, guard.CodePeakLow, guard.CodeClipRegime, guard.CodeUpdateRatio}

// observation is what the guard saw of one batch, and what is recorded of its decision.
type observation struct {
	seen    guard.Observation
	attempt int64
	action  string
	scale   float64 // of an update that was applied
	events  []runlog.Event
	last    bool // of a process without an end record: what follows it may be missing
}

// replay gives every observation of a log to the guard again, in the order of the attempts.
//
// The state after a batch is kept where a later process went on from it. Numbers are compared to 1e-9: they are the
// same bit for bit on the machine that recorded them, and another may round logarithms another way.
func replay(l *runlog.Log) *Replay {
	r := &Replay{Differences: []Difference{}}
	states := map[int64]*guard.State{} // after the batch of a resume
	for _, rec := range runlog.All[runlog.Resume](l) {
		states[rec.Batch] = nil
	}
	var s guard.State
	known := false // s is the state before the next observation
	ruled := false // the process has said its rules
	keep := func(batch int64) {
		if _, wanted := states[batch]; wanted && known {
			kept := s
			states[batch] = &kept
		}
	}
	lose := func(format string, args ...any) {
		known = false
		r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
	}
	observations := collect(l)
	batch := int64(0) // the cursor before the next observation
	for _, rec := range l.Records {
		switch v := rec.Value.(type) {
		case runlog.Start:
			s, known, ruled, batch = guard.State{}, true, false, v.Batch
		case runlog.Resume:
			ruled, batch = false, v.Batch
			if state := states[v.Batch]; state != nil {
				s, known = *state, true
			} else if v.Batch == 0 {
				s, known = guard.State{}, true
			} else {
				lose("attempt %d went on from batch %d, to which the log does not lead", v.Attempt, v.Batch)
			}
		case runlog.Plan:
			if len(v.Guard) == 0 {
				continue
			}
			if err := json.Unmarshal(v.Guard, &s.Rules); err != nil {
				lose("the rules of the guard of attempt %d: %v", v.Attempt, err)
			}
			ruled = true
			keep(batch)
		case runlog.Rewind:
			batch = v.Batch
			keep(batch)
		case runlog.Step, runlog.Refused:
			o := observations[rec.Line]
			if known && !ruled {
				lose("attempt %d does not say the rules of its guard; an older version wrote it", o.attempt)
			}
			if known && o.seen.Batch != batch+1 {
				lose("missing from the log: %s before batch %d of attempt %d",
					plural(o.seen.Batch-batch-1, "observation"), o.seen.Batch, o.attempt)
			}
			batch = o.seen.Batch
			if !known {
				r.Left++
				continue
			}
			var d guard.Decision
			s, d = guard.Next(s, o.seen)
			r.Observations++
			if d.Action != guard.Apply {
				r.Refused++
			}
			r.Differences = append(r.Differences, differences(o, d)...)
			keep(batch)
		}
	}
	return r
}

// collect finds the observations of a log, by line, with the events of each.
func collect(l *runlog.Log) map[int]*observation {
	type key struct{ attempt, batch int64 }
	events := map[key][]runlog.Event{}
	for _, e := range runlog.All[runlog.Event](l) {
		if slices.Contains(ladder, e.Code) {
			k := key{e.Attempt, e.Batch}
			events[k] = append(events[k], e)
		}
	}
	all := map[int]*observation{}
	var last *observation
	for _, rec := range l.Records {
		var o *observation
		switch v := rec.Value.(type) {
		case runlog.Step:
			o = &observation{action: "apply", scale: 1,
				seen: observed(v.Loss, v.GradNorm, v.Planned(), v.UpdateRatio)}
			if v.LRScale != 0 {
				o.scale = float64(v.LRScale)
			}
		case runlog.Refused:
			o = &observation{action: v.Action, seen: observed(v.Loss, v.GradNorm, v.LR, v.UpdateRatio)}
		case runlog.End:
			last = nil
			continue
		case runlog.Resume:
			if last != nil {
				last.last = true
			}
			continue
		default:
			continue
		}
		o.seen.Step, o.seen.Batch, o.attempt = rec.At.Step, rec.At.Batch, rec.At.Attempt
		o.events = events[key{o.attempt, o.seen.Batch}]
		all[rec.Line] = o
		last = o
	}
	if last != nil {
		last.last = true
	}
	return all
}

func observed(loss, norm, lr, ratio runlog.Float) guard.Observation {
	return guard.Observation{Loss: float64(loss), GradNorm: float64(norm), LR: float64(lr), UpdateRatio: float64(ratio)}
}

// differences says where a decision is not the recorded one.
func differences(o *observation, d guard.Decision) (all []Difference) {
	differ := func(what, recorded, replayed string) {
		all = append(all, Difference{o.seen.Step, o.seen.Batch, o.attempt, what, recorded, replayed})
	}
	if o.action != d.Action.String() {
		differ("action", o.action, d.Action.String())
	} else if d.Action == guard.Apply && !same(o.scale, d.Scale) {
		differ("factor on the rate", fmt.Sprint(o.scale), fmt.Sprint(d.Scale))
	}
	var recorded, replayed []string
	for _, e := range o.events {
		recorded = append(recorded, e.Code)
	}
	for _, e := range d.Events {
		replayed = append(replayed, e.Code)
	}
	if o.last && len(recorded) < len(replayed) && slices.Equal(recorded, replayed[:len(recorded)]) {
		return all // the end came between the observation and its events
	}
	if !slices.Equal(recorded, replayed) {
		differ("events", orNone(recorded), orNone(replayed))
		return all
	}
	for i, e := range d.Events {
		for name, number := range e.Numbers {
			if was, ok := o.events[i].Numbers[name]; !ok {
				differ(e.Code+" "+name, "nothing", fmt.Sprint(number))
			} else if !same(float64(was), number) {
				differ(e.Code+" "+name, fmt.Sprint(float64(was)), fmt.Sprint(number))
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Difference) int { return strings.Compare(a.What, b.What) })
	return all
}

func orNone(codes []string) string {
	if len(codes) == 0 {
		return "none"
	}
	return strings.Join(codes, " ")
}

// same reports whether two numbers are one but for rounding.
func same(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b))
}

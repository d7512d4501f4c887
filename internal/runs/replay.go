package runs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"gimbal/internal/guard"
	"gimbal/internal/runlog"
)

// Replay is what the guard decides when it gets the recorded observations again.
type Replay struct {
	Observations int          `json:"observations"` // replayed
	Refused      int          `json:"refused"`      // of those, refused
	Left         int          `json:"left"`         // could not be replayed; Notes say why
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
	guard.CodeNudge, guard.CodePeakLow, guard.CodeRegain, guard.CodeClipRegime, guard.CodeUpdateRatio}

// observation is what the guard saw of one batch, and its recorded decision.
type observation struct {
	seen    guard.Observation
	attempt int64
	action  string
	scale   float64 // of an update that was applied
	events  []runlog.Event
	last    bool // of a process without an end record: its events may be missing
}

// replay gives every observation of a log to the guard again, in the order of the attempts.
//
// The state after a batch is kept if a later process continued from it. Numbers are compared to 1e-9: they are the same
// bit for bit on the machine that recorded them, and another machine may round logarithms differently.
func replay(l *runlog.Log) *Replay {
	r := &Replay{Differences: []Difference{}}
	states := map[int64]*guard.State{} // after the batch of a resume
	for _, rec := range runlog.All[runlog.Resume](l) {
		states[rec.Batch] = nil
	}
	var s guard.State
	known := false // s is the state before the next observation
	ruled := false // the rules of the process are known
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
				lose("attempt %d continued from batch %d, to which the log does not lead", v.Attempt, v.Batch)
			}
		case runlog.Plan:
			if len(v.Guard) == 0 {
				continue
			}
			if err := json.Unmarshal(v.Guard, &s.Rules); err != nil {
				lose("attempt %d: the rules of its guard cannot be read: %v", v.Attempt, err)
			}
			ruled = true
			keep(batch)
		case runlog.Rewind:
			batch = v.Batch
			keep(batch)
		case runlog.Step, runlog.Refused:
			o := observations[rec.Line]
			if known && !ruled {
				lose("attempt %d does not record the rules of its guard; an older version wrote it", o.attempt)
			}
			if known && o.seen.Batch != batch+1 {
				lose("missing from the log: %s before batch %d of attempt %d",
					Plural(o.seen.Batch-batch-1, "observation"), o.seen.Batch, o.attempt)
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

// collect finds the observations of a log, by line, each with its events.
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
	ends := func() { // without an end record
		if last != nil {
			last.last = true
		}
	}
	for _, rec := range l.Records {
		var o *observation
		switch v := rec.Value.(type) {
		case runlog.Step:
			o = &observation{action: "apply", scale: float64(cmp.Or(v.LRScale, 1)),
				seen: observed(v.Labels, v.Loss, v.GradNorm, v.Planned(), v.UpdateRatio)}
		case runlog.Refused:
			o = &observation{action: v.Action, seen: observed(v.Labels, v.Loss, v.GradNorm, v.LR, v.UpdateRatio)}
		case runlog.End:
			last = nil
		case runlog.Resume:
			ends()
		}
		if o == nil {
			continue
		}
		o.seen.Step, o.seen.Batch, o.attempt = rec.At.Step, rec.At.Batch, rec.At.Attempt
		o.events = events[key{o.attempt, o.seen.Batch}]
		all[rec.Line] = o
		last = o
	}
	ends()
	return all
}

func observed(labels int64, loss, norm, lr, ratio runlog.Float) guard.Observation {
	return guard.Observation{Labels: labels, Loss: float64(loss), GradNorm: float64(norm), LR: float64(lr),
		UpdateRatio: float64(ratio)}
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
		return all // the process ended between the observation and its events
	}
	if !slices.Equal(recorded, replayed) {
		differ("events", cmp.Or(strings.Join(recorded, " "), "none"), cmp.Or(strings.Join(replayed, " "), "none"))
		return all
	}
	for i, e := range d.Events {
		for _, name := range slices.Sorted(maps.Keys(e.Numbers)) {
			number := e.Numbers[name]
			if was, ok := o.events[i].Numbers[name]; !ok {
				differ(e.Code+" "+name, "nothing", fmt.Sprint(number))
			} else if !same(float64(was), number) {
				differ(e.Code+" "+name, fmt.Sprint(float64(was)), fmt.Sprint(number))
			}
		}
	}
	return all
}

// same reports whether two numbers are equal except for rounding.
func same(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b))
}

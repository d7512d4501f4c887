package runs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gimbal/internal/runlog"
)

// entries are what happened, in the order of the log, with the loss before and after.
func entries(l *runlog.Log) []Entry {
	all := []Entry{}
	var before []runlog.Step // the newest steps
	var open []int           // entries whose steps after are still being collected
	after := map[int][]runlog.Step{}
	add := func(c Entry, at runlog.At, effect bool) {
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
			effect := slices.Contains(ladder, v.Code) || strings.HasPrefix(v.Code, "A")
			add(Entry{Kind: "event", Code: v.Code, Severity: v.Severity, Injected: v.Injected, Seen: seen,
				Done: v.Action, Numbers: v.Numbers}, v.At, effect)
		case runlog.Rewind:
			seen := fmt.Sprintf("went back from step %d to step %d, past %d more batches", v.From, v.Step, v.Skipped)
			add(Entry{Kind: "rewind", Seen: seen}, v.At, false)
		case runlog.Eval:
			seen := fmt.Sprintf("validation loss %.4f nats/token, %.4f bits/byte", float64(v.ValLoss),
				float64(v.BitsPerByte))
			if v.BaselineLoss > 0 {
				seen += fmt.Sprintf(" (n-gram baseline %.4f nats/token)", float64(v.BaselineLoss))
			}
			add(Entry{Kind: "eval", Seen: seen}, v.At, false)
		case runlog.Probe:
			add(Entry{Kind: "probe", Seen: v.Message}, v.At, false)
		case runlog.Preflight:
			add(Entry{Kind: "preflight", Seen: checks(v)}, v.At, false)
		case runlog.Resume:
			seen := fmt.Sprintf("attempt %d went on from step %d", v.Attempt, v.Step)
			if len(v.Refused) > 0 {
				seen += "; refused: " + strings.Join(v.Refused, "; ")
			}
			add(Entry{Kind: "resume", Seen: seen}, v.At, false)
			before, open = nil, nil // other steps come before it now
		}
	}
	for i, steps := range after {
		m := middle(steps)
		all[i].After = &m
	}
	return all
}

// again adds an entry to the one before it where it repeats it: the same code and action, nearly at once.
func again(last *Entry, c Entry) bool {
	if c.Kind != "event" || last.Kind != "event" || last.Code != c.Code || last.Done != c.Done ||
		last.Attempt != c.Attempt || c.Batch-last.Batch > int64(last.Times) {
		return false
	}
	last.Times++
	last.LastStep = c.Step
	if after, ok := c.Numbers["scale_after"]; ok {
		numbers := map[string]runlog.Float{"scale_after": after}
		maps.Copy(numbers, last.Numbers)
		numbers["scale_after"] = after
		last.Numbers = numbers
	}
	return true
}

// checks is the preflight in a sentence, and what it found.
func checks(v runlog.Preflight) string {
	count := map[string]int{}
	var found []string
	for _, c := range v.Checks {
		count[c.Result]++
		if c.Result == "warning" || c.Result == "error" {
			found = append(found, fmt.Sprintf("%s: %s", c.Code, c.Message))
		}
	}
	text := fmt.Sprintf("%s before the first step: %d ok, %s, %s, %s, %d skipped", plural(len(v.Checks), "check"),
		count["ok"], plural(count["info"], "note"), plural(count["warning"], "warning"),
		plural(count["error"], "error"), count["skipped"])
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

package runs

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gimbal/internal/runlog"
)

// entries are what happened, in the order of the log, with the loss before and after.
func entries(l *runlog.Log) []Entry {
	all := []Entry{}
	var before []runlog.Step // those that count, so far
	var open []int           // entries whose steps after are still being collected
	after := map[int][]runlog.Step{}
	add := func(e Entry, at runlog.At, effect bool) {
		e.Step, e.Batch, e.Attempt, e.Times, e.LastStep = at.Step, at.Batch, at.Attempt, 1, at.Step
		if n := len(all); n > 0 && all[n-1].repeats(e) {
			return
		}
		if effect && len(before) > 0 {
			m := middle(before[max(0, len(before)-lossSpan):])
			e.Before = &m
			open = append(open, len(all))
		}
		all = append(all, e)
	}
	for _, rec := range l.Records {
		seen := ""
		switch v := rec.Value.(type) {
		case runlog.Step:
			for n := len(before); n > 0 && before[n-1].Step >= v.Step; n-- { // of a resume that the log lacks
				before = before[:n-1]
			}
			before = append(before, v)
			open = slices.DeleteFunc(open, func(i int) bool {
				after[i] = append(after[i], v)
				return len(after[i]) == lossSpan
			})
			continue
		case runlog.Event:
			effect := slices.Contains(ladder, v.Code) || strings.HasPrefix(v.Code, "A")
			add(Entry{Kind: "event", Code: v.Code, Severity: v.Severity, Injected: v.Injected, Seen: v.Detail(),
				Done: v.Action, Numbers: v.Numbers}, v.At, effect)
			continue
		case runlog.Rewind:
			before = slices.DeleteFunc(before, func(s runlog.Step) bool { return s.Step > v.Step })
			seen = fmt.Sprintf("went back from step %d to step %d; more batches skipped: %d", v.From, v.Step, v.Skipped)
		case runlog.Eval:
			seen = fmt.Sprintf("validation loss %.4f nats/token, %.4f bits/byte", float64(v.ValLoss),
				float64(v.BitsPerByte))
			if v.BaselineLoss > 0 {
				seen += fmt.Sprintf(" (n-gram baseline %.4f nats/token)", float64(v.BaselineLoss))
			}
		case runlog.Probe:
			seen = v.Message
		case runlog.Preflight:
			seen = checks(v)
		case runlog.Resume:
			seen = fmt.Sprintf("attempt %d continued from step %d", v.Attempt, v.Step)
			if len(v.Refused) > 0 {
				seen += "; refused: " + strings.Join(v.Refused, "; ")
			}
			before = slices.DeleteFunc(before, func(s runlog.Step) bool {
				return v.Batch > 0 && s.Batch > v.Batch || v.Batch == 0 && s.Step > v.Step
			})
			open = nil // other steps come after it now
		default:
			continue
		}
		add(Entry{Kind: rec.Kind, Seen: seen}, rec.At, false)
	}
	for i, steps := range after {
		m := middle(steps)
		all[i].After = &m
	}
	return all
}

// repeats reports whether next repeats the entry: the same code and action, almost at once. It is then added to it.
func (e *Entry) repeats(next Entry) bool {
	if next.Kind != "event" || e.Kind != "event" || e.Code != next.Code || e.Done != next.Done ||
		e.Attempt != next.Attempt || next.Batch-e.Batch > int64(e.Times) {
		return false
	}
	e.Times++
	e.LastStep = next.Step
	if after, ok := next.Numbers["scale_after"]; ok {
		numbers := map[string]runlog.Float{}
		maps.Copy(numbers, e.Numbers)
		numbers["scale_after"] = after
		e.Numbers = numbers
	}
	return true
}

// checks is the preflight in a sentence, with its warnings and errors.
func checks(v runlog.Preflight) string {
	count := map[string]int{}
	var found []string
	for _, c := range v.Checks {
		count[c.Result]++
		if c.Result == "warning" || c.Result == "error" {
			found = append(found, c.Code+": "+c.Message)
		}
	}
	text := fmt.Sprintf("%s before the first step: %d ok, %s, %s, %s, %d skipped", Plural(len(v.Checks), "check"),
		count["ok"], Plural(count["info"], "note"), Plural(count["warning"], "warning"),
		Plural(count["error"], "error"), count["skipped"])
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
	if a != a || b != b {
		return cmp.Compare(b, a)
	}
	return cmp.Compare(a, b)
}

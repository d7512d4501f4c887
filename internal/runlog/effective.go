package runlog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ofProcess reports whether records of a kind describe a process and not a step.
func ofProcess(kind string) bool {
	return slices.Contains([]string{"start", "resume", "end", "plan", "probe", "preflight"}, kind)
}

// ofStep reports whether records of a kind hold the result of a step: there is one for each step.
func ofStep(kind string) bool { return kind == "step" || kind == "layers" || kind == "eval" }

// after reports whether a record was written for what comes after the checkpoint that at describes. The batch decides,
// because it only ever grows, while a rewind sets the step back. Records without a batch are compared by step.
func after(r Record, at At) bool {
	if at.Batch > 0 {
		return r.At.Batch > at.Batch
	}
	return r.At.Step > at.Step
}

// Effective returns the log as if the run had never been interrupted: of each step only the last attempt. A resume
// drops everything that was written for later batches, and a rewind the results of later steps. Records about
// processes all stay.
func (l *Log) Effective() *Log {
	type key struct {
		kind        string
		step, batch int64
	}
	var kept []Record
	for _, r := range l.Records {
		switch r.Kind {
		case "resume":
			kept = slices.DeleteFunc(kept, func(k Record) bool { return !ofProcess(k.Kind) && after(k, r.At) })
		case "rewind":
			kept = slices.DeleteFunc(kept, func(k Record) bool { return ofStep(k.Kind) && k.At.Step > r.At.Step })
		}
		kept = append(kept, r)
	}
	// A resume may be missing from the log, so the last attempt at each step is looked for too.
	lastLine, attempt := map[key]int{}, map[key]int64{}
	for _, r := range kept {
		lastLine[key{kind: r.Kind, step: r.At.Step}] = r.Line
		k := key{r.Kind, r.At.Step, r.At.Batch}
		attempt[k] = max(attempt[k], r.At.Attempt)
	}
	kept = slices.DeleteFunc(kept, func(r Record) bool {
		switch {
		case ofProcess(r.Kind):
			return false
		case ofStep(r.Kind):
			return r.Line != lastLine[key{kind: r.Kind, step: r.At.Step}]
		case r.Kind == "event": // it belongs to the attempt at its batch that was recorded
			step, refused := key{"step", r.At.Step, r.At.Batch}, key{"refused", r.At.Step, r.At.Batch}
			return r.At.Attempt < max(attempt[step], attempt[refused])
		}
		return r.At.Attempt < attempt[key{r.Kind, r.At.Step, r.At.Batch}]
	})
	return &Log{Records: kept, Garbled: l.Garbled, Torn: l.Torn, Altered: l.Altered}
}

// varies reports whether a field may differ between two identical runs: time, speed, memory, the attempt, and the sum
// that follows from them.
func varies(field string) bool {
	return field == "time" || field == "sum" || field == "attempt" || field == "seconds" ||
		strings.HasSuffix(field, "_seconds") ||
		strings.HasSuffix(field, "_per_second") || strings.HasPrefix(field, "memory_")
}

// Identical returns nil if two logs describe the same training, and otherwise an error that names the first
// difference.
//
// It compares the effective records, without those about processes, and without events about files (F-) and preflight
// (P-), which belong to a process too. Fields that hold time, speed, memory, the attempt or the sum are left out (see
// varies). All other fields must have the same text, which for numbers means the same bits.
func Identical(a, b *Log) error {
	as, bs := training(a), training(b)
	kinds := slices.AppendSeq(slices.Collect(maps.Keys(as)), maps.Keys(bs))
	slices.Sort(kinds)
	for _, kind := range slices.Compact(kinds) {
		as, bs := as[kind], bs[kind]
		for i := range min(len(as), len(bs)) {
			if err := sameRecord(as[i], bs[i]); err != nil {
				return err
			}
		}
		which, rest := "first", as[min(len(as), len(bs)):]
		if len(bs) > len(as) {
			which, rest = "second", bs[len(as):]
		}
		if len(rest) > 0 {
			return fmt.Errorf("runlog: %s of step %d (line %d) is only in the %s log",
				kind, rest[0].At.Step, rest[0].Line, which)
		}
	}
	return nil
}

// training returns the records to compare by kind, each kind in the order of steps.
func training(l *Log) map[string][]Record {
	kinds := map[string][]Record{}
	for _, r := range l.Effective().Records {
		e, _ := r.Value.(Event)
		if !ofProcess(r.Kind) && !strings.HasPrefix(e.Code, "F-") && !strings.HasPrefix(e.Code, "P-") {
			kinds[r.Kind] = append(kinds[r.Kind], r)
		}
	}
	for _, list := range kinds {
		slices.SortStableFunc(list, func(a, b Record) int {
			return cmp.Or(cmp.Compare(a.At.Batch, b.At.Batch), cmp.Compare(a.At.Step, b.At.Step))
		})
	}
	return kinds
}

// sameRecord compares two records of one kind field by field.
func sameRecord(a, b Record) error {
	where := fmt.Sprintf("%s of step %d (lines %d and %d)", a.Kind, a.At.Step, a.Line, b.Line)
	if a.At.Step != b.At.Step {
		return fmt.Errorf("runlog: %s: the second log has step %d there", where, b.At.Step)
	}
	var as, bs map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(a.Raw, &as), json.Unmarshal(b.Raw, &bs)); err != nil {
		return fmt.Errorf("runlog: %s: %w", where, err)
	}
	fields := maps.Clone(as)
	maps.Copy(fields, bs)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if !varies(field) && !bytes.Equal(as[field], bs[field]) {
			return fmt.Errorf("runlog: %s: %s is %s in the first log and %s in the second",
				where, field, cmp.Or(string(as[field]), "nothing"), cmp.Or(string(bs[field]), "nothing"))
		}
	}
	return nil
}

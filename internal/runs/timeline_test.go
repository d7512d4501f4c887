package runs

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/guard"
	"gimbal/internal/runlog"
)

func text(t *testing.T, s *Timeline) string {
	var b bytes.Buffer
	if err := s.Write(&b, "runs/x"); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// spike, poison and nan are faults of one batch.
func spike(o *guard.Observation) { o.Loss *= 5; o.GradNorm *= 100 }
func nan(o *guard.Observation)   { o.GradNorm = math.NaN() }

func TestQuietRun(t *testing.T) {
	s := NewTimeline(newRun(t, rules, nil).train(400, 1e9).end().log(0))
	if s.State != "after step 400 of 400: done (exit code 0)" || s.Steps != 400 || s.Refused != 0 ||
		len(s.Replay.Differences) != 0 || s.Replay.Observations != 400 || s.Replay.Left != 0 ||
		len(s.Replay.Notes) != 0 {
		t.Errorf("%+v\n%+v", s, s.Replay)
	}
	got := text(t, s)
	for _, want := range []string{"done (exit code 0)", "attempt 1 from the beginning", "highest 0.001 at step 20",
		"0 updates refused", "400 decisions, 0 updates refused: all as recorded"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestEverythingIsReplayed: a run with every rung of the ladder, killed and resumed, before and after a rewind.
func TestEverythingIsReplayed(t *testing.T) {
	faults := map[int64]func(o *guard.Observation){110: nan, 180: spike, 240: spike, 242: spike, 243: spike}
	whole := newRun(t, rules, faults).train(400, 1e9).end()
	if whole.rewinds != 1 {
		t.Fatalf("%d rewinds", whole.rewinds)
	}
	killed := newRun(t, rules, faults).train(400, 120).resume().train(400, 241).resume().train(400, 280).resume().
		train(400, 1e9).end()
	for name, n := range map[string]*run{"whole": whole, "killed": killed} {
		s := NewTimeline(n.log(0))
		if len(s.Replay.Differences) != 0 || s.Replay.Left != 0 || len(s.Replay.Notes) != 0 ||
			s.Replay.Refused != s.Refused || s.Refused < 5 {
			t.Errorf("%s: %+v", name, s.Replay)
		}
		got := text(t, s)
		for _, want := range []string{"E0-NONFINITE", "E1-OUTLIER", "E2-SUSTAINED", "went back from step",
			"(factor on the rate 1 → 0.5)", "nats/token"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", name, want, got)
			}
		}
	}
	if n := len(NewTimeline(killed.log(0)).Processes); n != 4 {
		t.Errorf("%d processes", n)
	}
}

// TestEffect: the loss before and after an event is that of the updates around it.
func TestEffect(t *testing.T) {
	n := newRun(t, rules, map[int64]func(o *guard.Observation){300: spike}).train(400, 1e9)
	s := NewTimeline(n.log(0))
	i := 0
	for s.Entries[i].Code != guard.CodeOutlier {
		i++
	}
	c := s.Entries[i]
	if c.Step != 300 || c.Before == nil || c.After == nil || math.Abs(float64(*c.Before)-2.02) > 0.02 ||
		math.Abs(float64(*c.After)-2.01) > 0.02 {
		t.Errorf("%+v, %v before, %v after", c, *c.Before, *c.After)
	}
}

// TestEffectOfARunThatWasKilled: steps that were made again count once, so the loss before is that of the whole run.
func TestEffectOfARunThatWasKilled(t *testing.T) {
	faults := map[int64]func(o *guard.Observation){300: spike}
	outlier := func(n *run) Entry {
		all := NewTimeline(n.log(0)).Entries
		return all[slices.IndexFunc(all, func(e Entry) bool { return e.Code == guard.CodeOutlier })]
	}
	whole := outlier(newRun(t, rules, faults).train(400, 1e9))
	for _, at := range []int64{270, 299} {
		killed := outlier(newRun(t, rules, faults).train(400, at).resume().train(400, 1e9))
		if killed.Before == nil || *killed.Before != *whole.Before {
			t.Errorf("killed after batch %d: %v before, want %v", at, killed.Before, *whole.Before)
		}
	}
}

// TestCutOff: at every byte of the last lines a crash leaves a log that can be read, without a difference.
func TestCutOff(t *testing.T) {
	n := newRun(t, rules, map[int64]func(o *guard.Observation){110: spike, 112: spike, 114: spike}).train(400, 114)
	for cut := 0; cut < 4000; cut += 7 {
		s := NewTimeline(n.log(cut))
		if !strings.Contains(s.State, "it crashed, or is running") || len(s.Replay.Differences) != 0 ||
			s.Replay.Left != 0 {
			t.Fatalf("cut by %d: %s %+v", cut, s.State, s.Replay)
		}
		if got := text(t, s); s.Torn != strings.Contains(got, "the last line is incomplete") {
			t.Fatalf("cut by %d: torn %v\n%s", cut, s.Torn, got)
		}
	}
}

// TestDifferences: what is altered in a log is found, where it is.
func TestDifferences(t *testing.T) {
	faults := map[int64]func(o *guard.Observation){110: spike}
	tests := []struct {
		name   string
		change func(lines []string) []string
		what   string
	}{
		{"another action", replace(`"kind":"refused"`, `"action":"skip"`, `"action":"stop"`),
			"action recorded as stop, replayed as skip"},
		{"another loss", replace(`"step":100,`, `"loss":2`, `"loss":9`), "action recorded as apply, replayed as skip"},
		{"another factor", replace(`"step":115,`, `"lr_scale":0.5`, `"lr_scale":0.25`),
			"factor on the rate recorded as 0.25, replayed as 0.5"},
		{"another code", replace(`"code":"E1-OUTLIER"`, `E1-OUTLIER`, `E0-NONFINITE`),
			"events recorded as E0-NONFINITE, replayed as E1-OUTLIER"},
		{"another number", replace(`"code":"E1-OUTLIER"`, `"scale_after":0.5`, `"scale_after":0.75`),
			"E1-OUTLIER scale_after recorded as 0.75, replayed as 0.5"},
		{"no event", func(lines []string) []string { return without(lines, `"code":"E1-OUTLIER"`) },
			"events recorded as none, replayed as E1-OUTLIER"},
	}
	for _, tt := range tests {
		n := newRun(t, rules, faults).train(130, 1e9).end()
		before := strings.Join(n.lines, "\n")
		if n.lines = tt.change(n.lines); strings.Join(n.lines, "\n") == before {
			t.Fatalf("%s: nothing was changed", tt.name)
		}
		if got := text(t, NewTimeline(n.log(0))); !strings.Contains(got, tt.what) {
			t.Errorf("%s: no %q in\n%s", tt.name, tt.what, got)
		}
	}
}

func replace(line, old, new string) func([]string) []string {
	return func(lines []string) []string {
		for i, l := range lines {
			if strings.Contains(l, line) && strings.Contains(l, old) {
				lines[i] = strings.Replace(l, old, new, 1)
				return lines
			}
		}
		return lines
	}
}

func without(lines []string, part string) []string {
	var kept []string
	for _, l := range lines {
		if !strings.Contains(l, part) {
			kept = append(kept, l)
		}
	}
	return kept
}

// TestGaps: what is missing is named, and the rest is replayed as far as it can be.
func TestGaps(t *testing.T) {
	make := func() *run { return newRun(t, rules, nil).train(120, 1e9).resume().train(200, 1e9).end() }
	tests := []struct {
		name, without string
		observations  int
		left          int
		note          string
	}{
		{"nothing", "nothing", 220, 0, ""},
		{"a step before the checkpoint", `"step":30,`, 29, 190, "1 observation before batch 31"},
		{"a step after it", `"step":110,`, 109 + 9, 10 + 90, "1 observation before batch 111"},
		{"the rules", `"guard":`, 0, 220, "an older version"},
		{"the checkpoint's step", `"step":100,"batch":100,"attempt":1`, 99, 120, "to which the log does not lead"},
	}
	for _, tt := range tests {
		n := make()
		n.lines = without(n.lines, tt.without)
		s := NewTimeline(n.log(0))
		r := s.Replay
		if r.Observations != tt.observations || r.Left != tt.left || len(r.Differences) != 0 ||
			tt.note != "" && !strings.Contains(strings.Join(r.Notes, "\n"), tt.note) {
			t.Errorf("%s: %d replayed, %d left, %v, %v", tt.name, r.Observations, r.Left, r.Notes, r.Differences)
		}
	}
}

// TestAnyLog: whatever the numbers, the kinds and the order of the lines of a log are, it can be read and printed.
func TestAnyLog(t *testing.T) {
	faults := map[int64]func(o *guard.Observation){20: spike, 30: nan}
	n := newRun(t, rules, faults).train(40, 1e9).resume().train(50, 1e9)
	numbers := regexp.MustCompile(`:-?[0-9][0-9.e+-]*`)
	values := []string{"0", "-1", "1", "3", "1e300", "-1e300", "9223372036854775807", `"NaN"`, `"-Inf"`, "null", "{}"}
	lines := n.lines
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		n.lines = slices.Clone(lines)
		for range 1 + r.IntN(20) {
			i, j := r.IntN(len(n.lines)), r.IntN(len(n.lines))
			switch r.IntN(3) {
			case 0:
				n.lines[i], n.lines[j] = n.lines[j], n.lines[i]
			case 1:
				n.lines[i] = numbers.ReplaceAllStringFunc(n.lines[i], func(old string) string {
					if r.IntN(4) > 0 {
						return old
					}
					return ":" + values[r.IntN(len(values))]
				})
			case 2:
				n.lines = slices.Delete(n.lines, i, i+1)
			}
		}
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Fatalf("seed %d: %v in\n%s", seed, p, strings.Join(n.lines, "\n"))
				}
			}()
			text(t, NewTimeline(n.log(0)))
		}()
	}
	// The same event twice, the first without numbers.
	event := runlog.Event{Kind: "event", At: runlog.At{Attempt: 1}, Code: "W-X"}
	again := event
	again.Numbers = map[string]runlog.Float{"scale_after": 0.5}
	l := &runlog.Log{Records: []runlog.Record{{Kind: "event", Value: event}, {Kind: "event", Value: again}}}
	if got := NewTimeline(l).Entries; len(got) != 1 || got[0].Times != 2 || got[0].Numbers["scale_after"] != 0.5 {
		t.Errorf("%+v", got)
	}
}

// TestEscapes: what a log of somebody else says does not reach the terminal as it is.
func TestEscapes(t *testing.T) {
	l := &runlog.Log{Records: []runlog.Record{
		{Kind: "event", Value: runlog.Event{Kind: "event", Code: "W-X", Message: "\x1b[2Jgone", Tensor: "a\u202eb"}}}}
	if got := text(t, NewTimeline(l)); !strings.Contains(got, `\u001b[2Jgone; first in a\u202eb`) {
		t.Errorf("%q", got)
	}
}

func TestEmptyLog(t *testing.T) {
	s := NewTimeline(&runlog.Log{})
	if got := text(t, s); !strings.Contains(got, "never began") || !strings.Contains(got, "nothing to compare") {
		t.Error(got)
	}
	if _, err := json.Marshal(s); err != nil {
		t.Error(err)
	}
}

// TestRepetition: the same event at every step makes one entry, with its number.
func TestRepetition(t *testing.T) {
	observing := rules
	observing.Act = false
	faults := map[int64]func(o *guard.Observation){}
	for b := int64(100); b < 130; b += 1 {
		faults[b] = func(o *guard.Observation) { o.UpdateRatio = 0.2 }
	}
	s := NewTimeline(newRun(t, observing, faults).train(200, 1e9).end().log(0))
	events := 0
	for _, c := range s.Entries {
		if c.Kind == "event" {
			events += c.Times
		}
	}
	if len(s.Entries) >= events || events < 30 || len(s.Replay.Differences) != 0 {
		t.Errorf("%d entries for %d events", len(s.Entries), events)
	}
}

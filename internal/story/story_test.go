package story

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/durable"
	"gimbal/internal/guard"
	"gimbal/internal/runlog"
)

// rules are those of the runs here.
var rules = guard.Rules{Act: true, Steps: 400, Warmup: 20, LossLimit: 8, Clip: 1, MaxRate: 1e-3, MaxScale: 1.331}

// run writes a log as the trainer does: a loss, a guard, and checkpoints every 50 steps.
type run struct {
	t       *testing.T
	rules   guard.Rules
	lines   []string // of the log
	at      runlog.At
	state   guard.State
	faults  map[int64]func(o *guard.Observation) // by batch
	saved   []checkpoint
	rewinds int
}

type checkpoint struct {
	at    runlog.At
	state guard.State
}

func newRun(t *testing.T, r guard.Rules, faults map[int64]func(o *guard.Observation)) *run {
	n := &run{t: t, rules: r, faults: faults, at: runlog.At{Attempt: 1}, state: guard.New(r)}
	n.write(runlog.Start{Kind: "start", At: n.at, Process: runlog.Process{Reason: "new run", Tier: "generic", Mode: "fp32"}})
	n.plan()
	n.saved = []checkpoint{{n.at, n.state}}
	return n
}

func (n *run) write(record any) {
	data, err := json.Marshal(record)
	if err != nil {
		n.t.Fatal(err)
	}
	n.lines = append(n.lines, string(data))
}

func (n *run) plan() {
	data, err := json.Marshal(n.rules)
	if err != nil {
		n.t.Fatal(err)
	}
	n.write(runlog.Plan{Kind: "plan", At: n.at, Steps: n.rules.Steps, Parameters: 1000, TrainTokens: 5000, BaselineLoss: 2, Guard: data})
}

// observation is what batch after the cursor gives: the same whenever it is asked.
func (n *run) observation() guard.Observation {
	r := rand.New(rand.NewPCG(uint64(n.at.Batch), 3))
	step := n.at.Step + 1
	o := guard.Observation{Step: step, Batch: n.at.Batch + 1, LR: 1e-3 * min(1, float64(step)/20),
		Loss: (2 + 2*math.Exp(-float64(step)/60)) * (1 + 0.01*r.NormFloat64()), GradNorm: math.Exp(0.1 * r.NormFloat64()), UpdateRatio: 0.01}
	if f := n.faults[o.Batch]; f != nil {
		f(&o)
	}
	return o
}

// train goes on to a step, or a batch, whichever comes first.
func (n *run) train(step, batch int64) *run {
	for n.at.Step < step && n.at.Batch < batch {
		o := n.observation()
		var d guard.Decision
		n.state, d = guard.Next(n.state, o)
		at := n.at
		at.Step, at.Batch = o.Step, o.Batch
		if d.Action != guard.Apply {
			n.write(runlog.Refused{Kind: "refused", At: at, Loss: runlog.Float(o.Loss), GradNorm: runlog.Float(o.GradNorm), LR: runlog.Float(o.LR),
				UpdateRatio: runlog.Float(o.UpdateRatio), Action: d.Action.String()})
		}
		for _, e := range d.Events {
			numbers := map[string]runlog.Float{}
			for k, v := range e.Numbers {
				numbers[k] = runlog.Float(v)
			}
			n.write(runlog.Event{Kind: "event", At: at, Code: e.Code, Severity: e.Severity, Action: e.Action, Message: e.Message, Numbers: numbers})
		}
		n.at.Batch = o.Batch
		switch d.Action {
		case guard.Stop:
			n.write(runlog.End{Kind: "end", At: n.at, Process: runlog.Process{Reason: "stopped"}, ExitCode: 3})
			return n
		case guard.Rewind:
			c := n.saved[len(n.saved)-1]
			from := n.at.Step
			n.at.Step, n.at.Batch = c.at.Step, n.at.Batch+10
			n.write(runlog.Rewind{Kind: "rewind", At: n.at, From: from, Skipped: 10})
			n.rewinds++
		case guard.Apply:
			n.at.Step = o.Step
			s := runlog.Step{Kind: "step", At: n.at, Loss: runlog.Float(o.Loss), GradNorm: runlog.Float(o.GradNorm), LR: runlog.Float(o.LR * d.Scale),
				UpdateRatio: runlog.Float(o.UpdateRatio), ClipScale: 1}
			if d.Scale != 1 {
				s.LRScale, s.LRPlanned = runlog.Float(d.Scale), runlog.Float(o.LR)
			}
			n.write(s)
			if n.at.Step%50 == 0 {
				n.saved = append(n.saved, checkpoint{n.at, n.state})
			}
		}
	}
	return n
}

// kill ends the process without a word, and resume begins the next from the newest checkpoint.
func (n *run) resume() *run {
	c := n.saved[len(n.saved)-1]
	attempt := n.at.Attempt + 1
	n.at, n.state = c.at, c.state
	n.at.Attempt = attempt
	n.state.Rules = n.rules
	n.write(runlog.Resume{Kind: "resume", At: n.at, Process: runlog.Process{Reason: "continue"}})
	n.plan()
	return n
}

func (n *run) end() *run {
	n.write(runlog.End{Kind: "end", At: n.at, Process: runlog.Process{Reason: "done"}})
	return n
}

// log is what is read of the lines, the last of them cut by some bytes.
func (n *run) log(cut int) *runlog.Log {
	text := strings.Join(n.lines, "\n") + "\n"
	path := filepath.Join(n.t.TempDir(), "log.jsonl")
	if err := os.WriteFile(path, []byte(text[:len(text)-cut]), 0o666); err != nil {
		n.t.Fatal(err)
	}
	l, err := runlog.Read(durable.OS, path)
	if err != nil {
		n.t.Fatal(err)
	}
	return l
}

func text(t *testing.T, s *Story) string {
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
	s := Tell(newRun(t, rules, nil).train(400, 1e9).end().log(0))
	if s.State != "after step 400 of 400: done (exit code 0)" || s.Steps != 400 || s.Refused != 0 || len(s.Replay.Differences) != 0 ||
		s.Replay.Observations != 400 || s.Replay.Left != 0 || len(s.Replay.Notes) != 0 {
		t.Errorf("%+v\n%+v", s, s.Replay)
	}
	got := text(t, s)
	for _, want := range []string{"done (exit code 0)", "attempt 1 from the beginning", "highest 0.001 at step 20", "0 updates refused", "400 observations judged again, 0 of them refused: every decision is the recorded one"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestEverythingIsJudgedAgain: a run with every rung of the ladder, killed and resumed, before and after a rewind.
func TestEverythingIsJudgedAgain(t *testing.T) {
	faults := map[int64]func(o *guard.Observation){110: nan, 180: spike, 240: spike, 242: spike, 243: spike}
	whole := newRun(t, rules, faults).train(400, 1e9).end()
	if whole.rewinds != 1 {
		t.Fatalf("%d rewinds", whole.rewinds)
	}
	killed := newRun(t, rules, faults).train(400, 120).resume().train(400, 241).resume().train(400, 280).resume().train(400, 1e9).end()
	for name, n := range map[string]*run{"whole": whole, "killed": killed} {
		s := Tell(n.log(0))
		if len(s.Replay.Differences) != 0 || s.Replay.Left != 0 || len(s.Replay.Notes) != 0 || s.Replay.Refused != s.Refused || s.Refused < 5 {
			t.Errorf("%s: %+v", name, s.Replay)
		}
		got := text(t, s)
		for _, want := range []string{"E0-NONFINITE", "E1-OUTLIER", "E2-SUSTAINED", "went back from step", "(factor on the rate 1 → 0.5)", "nats/token"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", name, want, got)
			}
		}
	}
	if n := len(Tell(killed.log(0)).Processes); n != 4 {
		t.Errorf("%d processes", n)
	}
}

// TestEffect: the loss before and after an event is that of the updates around it.
func TestEffect(t *testing.T) {
	n := newRun(t, rules, map[int64]func(o *guard.Observation){300: spike}).train(400, 1e9)
	s := Tell(n.log(0))
	i := 0
	for s.Chapters[i].Code != guard.CodeOutlier {
		i++
	}
	c := s.Chapters[i]
	if c.Step != 300 || c.Before == nil || c.After == nil || math.Abs(float64(*c.Before)-2.02) > 0.02 || math.Abs(float64(*c.After)-2.01) > 0.02 {
		t.Errorf("%+v, %v before, %v after", c, *c.Before, *c.After)
	}
}

// TestCutOff: at every byte of the last lines a crash leaves a log whose story can be told, without a difference.
func TestCutOff(t *testing.T) {
	n := newRun(t, rules, map[int64]func(o *guard.Observation){110: spike, 112: spike, 114: spike}).train(400, 114)
	for cut := 0; cut < 4000; cut += 7 {
		s := Tell(n.log(cut))
		if !strings.Contains(s.State, "cut off, or still going") || len(s.Replay.Differences) != 0 || s.Replay.Left != 0 {
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
		{"another action", replace(`"kind":"refused"`, `"action":"skip"`, `"action":"stop"`), "action is recorded as stop and judged again as skip"},
		{"another loss", replace(`"step":100,`, `"loss":2`, `"loss":9`), "action is recorded as apply and judged again as skip"},
		{"another factor", replace(`"step":115,`, `"lr_scale":0.5`, `"lr_scale":0.25`), "factor on the rate is recorded as 0.25 and judged again as 0.5"},
		{"another code", replace(`"code":"E1-OUTLIER"`, `E1-OUTLIER`, `E0-NONFINITE`), "events is recorded as E0-NONFINITE and judged again as E1-OUTLIER"},
		{"another number", replace(`"code":"E1-OUTLIER"`, `"scale_after":0.5`, `"scale_after":0.75`), "E1-OUTLIER scale_after is recorded as 0.75 and judged again as 0.5"},
		{"no event", func(lines []string) []string { return without(lines, `"code":"E1-OUTLIER"`) }, "events is recorded as none and judged again as E1-OUTLIER"},
	}
	for _, tt := range tests {
		n := newRun(t, rules, faults).train(130, 1e9).end()
		before := strings.Join(n.lines, "\n")
		if n.lines = tt.change(n.lines); strings.Join(n.lines, "\n") == before {
			t.Fatalf("%s: nothing was changed", tt.name)
		}
		if got := text(t, Tell(n.log(0))); !strings.Contains(got, tt.what) {
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

// TestGaps: what is missing is said, and judged again as far as it can be.
func TestGaps(t *testing.T) {
	make := func() *run { return newRun(t, rules, nil).train(120, 1e9).resume().train(200, 1e9).end() }
	tests := []struct {
		name, without string
		observations  int
		left          int
		note          string
	}{
		{"nothing", "nothing", 220, 0, ""},
		{"a step before the checkpoint", `"step":30,`, 29, 190, "1 observations before batch 31"},
		{"a step after it", `"step":110,`, 109 + 9, 10 + 90, "1 observations before batch 111"},
		{"the rules", `"guard":`, 0, 220, "an older version"},
		{"the checkpoint's step", `"step":100,"batch":100,"attempt":1`, 99, 120, "to which the log does not lead"},
	}
	for _, tt := range tests {
		n := make()
		n.lines = without(n.lines, tt.without)
		s := Tell(n.log(0))
		r := s.Replay
		if r.Observations != tt.observations || r.Left != tt.left || len(r.Differences) != 0 || tt.note != "" && !strings.Contains(strings.Join(r.Notes, "\n"), tt.note) {
			t.Errorf("%s: %d judged, %d left, %v, %v", tt.name, r.Observations, r.Left, r.Notes, r.Differences)
		}
	}
}

func TestNothingToTell(t *testing.T) {
	s := Tell(&runlog.Log{})
	if got := text(t, s); !strings.Contains(got, "never began") || !strings.Contains(got, "nothing to compare") {
		t.Error(got)
	}
	if _, err := json.Marshal(s); err != nil {
		t.Error(err)
	}
}

// TestRepetition: the same event at every step is told once, with its number.
func TestRepetition(t *testing.T) {
	observing := rules
	observing.Act = false
	faults := map[int64]func(o *guard.Observation){}
	for b := int64(100); b < 130; b += 1 {
		faults[b] = func(o *guard.Observation) { o.UpdateRatio = 0.2 }
	}
	s := Tell(newRun(t, observing, faults).train(200, 1e9).end().log(0))
	events := 0
	for _, c := range s.Chapters {
		if c.Kind == "event" {
			events += c.Times
		}
	}
	if len(s.Chapters) >= events || events < 30 || len(s.Replay.Differences) != 0 {
		t.Errorf("%d chapters for %d events", len(s.Chapters), events)
	}
}

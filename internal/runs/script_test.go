package runs

import (
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
	saved   []saved
	rewinds int
}

type saved struct {
	at    runlog.At
	state guard.State
}

func newRun(t *testing.T, r guard.Rules, faults map[int64]func(o *guard.Observation)) *run {
	n := &run{t: t, rules: r, faults: faults, at: runlog.At{Attempt: 1}, state: guard.New(r)}
	n.write(runlog.Start{Kind: "start", At: n.at,
		Process: runlog.Process{Reason: "new run", Tier: "generic", Mode: "fp32"}})
	n.plan()
	n.saved = []saved{{n.at, n.state}}
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
	n.write(runlog.Plan{Kind: "plan", At: n.at, Steps: n.rules.Steps, Parameters: 1000, TrainTokens: 5000,
		BaselineLoss: 2, Guard: data})
}

// observation is what batch after the cursor gives: the same whenever it is asked.
func (n *run) observation() guard.Observation {
	r := rand.New(rand.NewPCG(uint64(n.at.Batch), 3))
	step := n.at.Step + 1
	o := guard.Observation{Step: step, Batch: n.at.Batch + 1, LR: 1e-3 * min(1, float64(step)/20),
		Loss:     (2 + 2*math.Exp(-float64(step)/60)) * (1 + 0.01*r.NormFloat64()),
		GradNorm: math.Exp(0.1 * r.NormFloat64()), UpdateRatio: 0.01}
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
			n.write(runlog.Refused{Kind: "refused", At: at, Loss: runlog.Float(o.Loss),
				GradNorm: runlog.Float(o.GradNorm), LR: runlog.Float(o.LR), UpdateRatio: runlog.Float(o.UpdateRatio),
				Action: d.Action.String()})
		}
		for _, e := range d.Events {
			numbers := map[string]runlog.Float{}
			for k, v := range e.Numbers {
				numbers[k] = runlog.Float(v)
			}
			n.write(runlog.Event{Kind: "event", At: at, Code: e.Code, Severity: e.Severity, Action: e.Action,
				Message: e.Message, Numbers: numbers})
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
			s := runlog.Step{Kind: "step", At: n.at, Loss: runlog.Float(o.Loss), GradNorm: runlog.Float(o.GradNorm),
				LR: runlog.Float(o.LR * d.Scale), UpdateRatio: runlog.Float(o.UpdateRatio), ClipScale: 1}
			if d.Scale != 1 {
				s.LRScale, s.LRPlanned = runlog.Float(d.Scale), runlog.Float(o.LR)
			}
			n.write(s)
			if n.at.Step%50 == 0 {
				n.saved = append(n.saved, saved{n.at, n.state})
			}
		}
	}
	return n
}

// resume begins the next process from the newest checkpoint; the one before left no end record.
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

package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/device"
	"gimbal/internal/durable"
	"gimbal/internal/engine"
	"gimbal/internal/exit"
	"gimbal/internal/generate"
	"gimbal/internal/guard"
	"gimbal/internal/model"
	"gimbal/internal/nn"
	"gimbal/internal/par"
	"gimbal/internal/param"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runstate"
	"gimbal/internal/safetensors"
)

// scripted is an engine whose losses and norms are written down. Its parameters count what was done to them: every
// update adds one, so that a checkpoint says how many it has seen.
type scripted struct {
	loss, norm func(step, batch int64) float64 // of the update that is proposed; batches are counted from 1
	lost       error                           // what every call fails with once it is set
	wrong      func(gradient bool) bool        // whether a pass panics; nil: none does
	losses     []int                           // calls at which the device is lost, until an engine is opened again

	info          engine.Info
	params, slots []safetensors.Entry
	batches       int64 // gradients begun
	passes        int   // of the gradient in progress
	commits       []int64
	calls         int
}

// call returns the error of the call in progress.
func (o *scripted) call() error {
	if o.calls++; slices.Contains(o.losses, o.calls) {
		o.lost = fmt.Errorf("call %d: %w", o.calls, device.ErrLost)
	}
	return o.lost
}

// opens opens a scripted engine, always the same.
type opens struct{ *scripted }

func (o opens) Hardware() engine.Hardware          { return engine.Hardware{Name: "scripted", Workers: 1} }
func (o opens) Estimate(engine.Spec) engine.Memory { return engine.Memory{} }
func (o opens) SelfTest(engine.Spec) string        { return "" }
func (o opens) Close()                             {}

func (o opens) Open(spec engine.Spec) (engine.Engine, error) {
	o.params, o.slots = nil, nil
	if errors.Is(o.lost, device.ErrLost) {
		o.lost = nil // by a new process
	}
	o.info = engine.Info{Arch: spec.Arch, Mode: "fp32", Numerics: "scripted"}
	views, _ := param.Layout(spec.Arch)
	for _, v := range views {
		o.info.Tensors = append(o.info.Tensors, engine.Tensor{Name: v.Name, Kind: "attn", Block: v.Block, Shape: v.Shape})
		o.params = append(o.params, safetensors.Entry{Name: v.Name, Shape: v.Shape, Data: make([]float32, v.Len())})
		for _, slot := range []string{"exp_avg.", "exp_avg_sq."} {
			o.slots = append(o.slots, safetensors.Entry{Name: slot + v.Name, Shape: v.Shape, Data: make([]float32, v.Len())})
		}
	}
	return o.scripted, nil
}

func (o *scripted) Info() engine.Info { return o.info }
func (o *scripted) Init(uint64) error { return o.call() }
func (o *scripted) Close() error      { return nil }
func (o *scripted) Get() (engine.Snapshot, error) {
	return engine.Snapshot{Params: o.params, Slots: o.slots}, o.call()
}

func (o *scripted) Set(params, slots *safetensors.File) error {
	for _, e := range o.params {
		if err := params.ReadF32(e.Data, e.Name); err != nil {
			return err
		}
	}
	return o.call()
}

func (o *scripted) Discard() { o.passes = 0 }

func (o *scripted) Pass(_ context.Context, in engine.Input, want engine.Want) (v engine.Values, err error) {
	if o.wrong != nil && o.wrong(want&engine.Gradient != 0) {
		panic("planted")
	}
	if want&engine.Gradient != 0 {
		if o.passes == 0 {
			o.batches++
		}
		o.passes++
	}
	v.Nats = float64(len(in.Labels))
	if want&engine.PerToken != 0 {
		v.TokenNats = slices.Repeat([]float64{1}, len(in.Labels))
	}
	if want&engine.Probe != 0 {
		l, h := o.info.Arch.Layers, o.info.Arch.Layers*o.info.Arch.Heads
		v.Probe = &engine.ProbeStats{Stream: slices.Repeat([]model.StreamStats{{RMS: 1, Kept: 1, Peak: 1}}, l+1),
			Heads: slices.Repeat([]nn.HeadFocus{{Entropy: 0.5, Logit: 1}}, h), Dead: make([]float64, l)}
	}
	return v, o.call()
}

func (o *scripted) Propose(_ context.Context, p engine.Proposal) (engine.Report, error) {
	r := engine.Report{Loss: o.loss(p.Step, o.batches), GradNorm: o.norm(p.Step, o.batches), ClipScale: 1, LR: p.LR,
		UpdateRatio: 1e-3}
	if p.Detail&engine.TensorStats != 0 {
		r.Tensors = make([]engine.TensorState, len(o.info.Tensors))
		for i := range r.Tensors {
			g, u := &r.Tensors[i].Grad, &r.Tensors[i].Update
			g.MeanAbs, g.RMS, g.Max, u.RMS, u.WeightRMS = 1e-3, 1e-3, 1e-3, 1e-5, 1e-2
		}
	}
	return r, o.call()
}

func (o *scripted) Commit(u engine.Update) (float64, error) {
	o.commits = append(o.commits, u.Step)
	o.params[0].Data[0]++
	return u.LR, o.call()
}

func (o *scripted) Inspect() (engine.Inspection, error) {
	return engine.Inspection{Pass: -1, Gradient: &engine.Element{Tensor: o.info.Tensors[0].Name, Index: 3}}, nil
}

func (o *scripted) Decoder(rows, capacity int) (generate.Decoder, error) {
	return &scriptedDecoder{vocab: o.info.Arch.Vocab, capacity: capacity, rows: make([]int, rows), pool: par.New(1)}, nil
}

// scriptedDecoder finds every token as likely as the others.
type scriptedDecoder struct {
	vocab, capacity int
	rows            []int
	pool            *par.Pool
}

func (d *scriptedDecoder) Refresh()            {}
func (d *scriptedDecoder) Vocab() int          { return d.vocab }
func (d *scriptedDecoder) Rows() int           { return len(d.rows) }
func (d *scriptedDecoder) Capacity() int       { return d.capacity }
func (d *scriptedDecoder) Len(row int) int     { return d.rows[row] }
func (d *scriptedDecoder) Truncate(row, n int) { d.rows[row] = n }
func (d *scriptedDecoder) Pool() *par.Pool     { return d.pool }
func (d *scriptedDecoder) Decode(_ context.Context, _, rows []int32, logits []float32) error {
	clear(logits)
	for _, r := range rows {
		d.rows[r]++
	}
	return nil
}

// falling is a calm run: a loss that falls, with a little noise.
func falling(step, batch int64) float64 {
	return 5 - float64(step)/200 + 0.01*math.Sin(float64(7*batch))
}

func steady(_, batch int64) float64 { return 1 + 0.05*math.Sin(float64(3*batch)) }

// script runs a script of losses and norms for so many steps.
func script(t *testing.T, o *scripted, settings ...string) (dir string, err error) {
	t.Helper()
	if o.norm == nil {
		o.norm = steady
	}
	dir = filepath.Join(t.TempDir(), "run")
	all := append([]string{"train.steps=200", "eval.every=1000", "checkpoint.every=25", "numeric.mode=fp32",
		"judge.early_stop=off"}, settings...)
	_, err = Run(context.Background(), tiny(t, all...), Options{Out: dir, seams: seams{opener: opens{o}, unchecked: true}})
	return dir, err
}

// updates is how many updates the parameters of a checkpoint have seen.
func updates(t *testing.T, dir string, step int64) float32 {
	t.Helper()
	c, err := checkpoint.Open(durable.OS, filepath.Join(rundir.CheckpointsOf(dir), checkpoint.StepName(step)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first := c.Model().Tensors()[0]
	for _, tensor := range c.Model().Tensors() {
		if strings.Contains(tensor.Name, "embed") {
			first = tensor
		}
	}
	data := make([]float32, first.Len())
	if err := c.Model().ReadF32(data, first.Name); err != nil {
		t.Fatal(err)
	}
	return data[0]
}

func TestScriptedCalmRun(t *testing.T) {
	o := &scripted{loss: falling}
	dir, err := script(t, o)
	if err != nil {
		t.Fatal(err)
	}
	if got := codes(t, dir); len(got) > 0 {
		t.Errorf("events %v", got)
	}
	if len(o.commits) != 200 || updates(t, dir, 200) != 200 {
		t.Errorf("%d commits, %v updates in the checkpoint", len(o.commits), updates(t, dir, 200))
	}
	l := readLog(t, dir)
	if s := runlog.All[runlog.Step](l); len(s) != 200 || float64(s[99].Loss) != falling(100, 100) ||
		float64(s[99].GradNorm) != steady(100, 100) {
		t.Errorf("%d steps, the hundredth %+v", len(s), s[99])
	}
	if n := len(runlog.All[runlog.Eval](l)); n != 1 {
		t.Errorf("%d evaluations", n)
	}
}

// A loss that is not finite is never committed, and the batch is passed over.
func TestScriptedNonfinite(t *testing.T) {
	o := &scripted{loss: func(step, batch int64) float64 {
		if batch == 90 {
			return math.NaN()
		}
		return falling(step, batch)
	}}
	dir, err := script(t, o)
	if err != nil {
		t.Fatal(err)
	}
	l := readLog(t, dir)
	refused := runlog.All[runlog.Refused](l)
	if len(refused) != 1 || refused[0].Step != 90 || refused[0].Action != "skip" || len(o.commits) != 200 {
		t.Errorf("refused %+v, %d commits", refused, len(o.commits))
	}
	events := runlog.All[runlog.Event](l)
	i := slices.IndexFunc(events, func(e runlog.Event) bool { return e.Code == guard.CodeNonfinite })
	if i < 0 || events[i].Tensor == "" || len(events[i].Documents) == 0 {
		t.Errorf("events %+v", events)
	}
	if s := runlog.All[runlog.Step](l); s[89].LRScale != 0.5 || s[89].Batch <= 90 {
		t.Errorf("the step after it: %+v", s[89])
	}
}

// A loss that stays high takes the run back to its newest healthy checkpoint: parameters, steps and evaluations are
// those of then, and the data behind the bad batches is read.
func TestScriptedRewind(t *testing.T) {
	o := &scripted{loss: func(step, batch int64) float64 {
		if batch >= 110 && batch < 135 {
			return 9 + 0.1*float64(batch-110)
		}
		return falling(step, batch)
	}}
	dir, err := script(t, o)
	if err != nil {
		t.Fatal(err)
	}
	l := readLog(t, dir)
	rewinds := runlog.All[runlog.Rewind](l)
	if len(rewinds) != 1 || rewinds[0].Step != 100 || rewinds[0].From < 100 || rewinds[0].Skipped < leastSkipped {
		t.Fatalf("rewinds %+v", rewinds)
	}
	if got := updates(t, dir, 200); got != 200 {
		t.Errorf("%v updates in the last checkpoint: the parameters did not go back", got)
	}
	s, err := runstate.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Model.Close()
	if s.State.Rewinds != 1 || s.State.Batch <= 200+rewinds[0].Skipped {
		t.Errorf("state: %d rewinds, batch %d", s.State.Rewinds, s.State.Batch)
	}
}

// badAt is falling, but for the 20 batches that follow each of some steps.
func badAt(steps ...int64) func(step, batch int64) float64 {
	until := int64(0)
	return func(step, batch int64) float64 {
		if len(steps) > 0 && step == steps[0] {
			steps, until = steps[1:], batch+20
		}
		if batch < until {
			return 9 + 0.1*float64(until-batch)
		}
		return falling(step, batch)
	}
}

// What comes back after every rewind ends the run, with what was saved before it intact.
func TestScriptedDivergence(t *testing.T) {
	o := &scripted{loss: badAt(80, 150, 220)}
	dir, err := script(t, o, "train.steps=260")
	var stop *StopError
	if !errors.As(err, &stop) || stop.Code != guard.CodeDiverged || exit.Of(err) != 3 {
		t.Fatalf("error %v", err)
	}
	if n := len(runlog.All[runlog.Rewind](readLog(t, dir))); n != 2 {
		t.Errorf("%d rewinds", n)
	}
	if _, err := os.Stat(filepath.Join(dir, rundir.PostMortemFile)); err != nil {
		t.Error(err)
	}
	path, _, err := checkpoint.NewestHealthy(durable.OS, rundir.CheckpointsOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	var step int64
	if _, err := fmt.Sscanf(filepath.Base(path), "step-%d", &step); err != nil || updates(t, dir, step) != float32(step) {
		t.Errorf("%s has seen %v updates; %v", path, updates(t, dir, step), err)
	}
}

// A guard that only observes commits everything.
func TestScriptedObserve(t *testing.T) {
	o := &scripted{loss: badAt(80)}
	dir, err := script(t, o, "guard.mode=observe")
	if err != nil || len(o.commits) != 200 {
		t.Errorf("%v, %d commits", err, len(o.commits))
	}
	l := readLog(t, dir)
	if len(runlog.All[runlog.Refused](l)) != 0 || !slices.ContainsFunc(runlog.All[runlog.Event](l),
		func(e runlog.Event) bool {
			return e.Code == guard.CodeSustained && strings.HasPrefix(e.Action, "none; would")
		}) {
		t.Errorf("events %+v", runlog.All[runlog.Event](l))
	}
}

// An engine that is lost ends the run with its name, and what was saved is whole.
func TestScriptedLoss(t *testing.T) {
	o := &scripted{}
	o.loss = func(step, batch int64) float64 {
		if step == 57 {
			o.lost = errors.New("device 0 is gone")
		}
		return falling(step, batch)
	}
	dir, err := script(t, o)
	if err == nil || !strings.Contains(err.Error(), "device 0 is gone") {
		t.Fatalf("error %v", err)
	}
	if ends := runlog.All[runlog.End](readLog(t, dir)); len(ends) != 1 || !strings.HasPrefix(ends[0].Reason, "failed: ") {
		t.Errorf("end %+v", ends)
	}
	o.lost, o.loss, o.commits = nil, falling, nil
	if _, err := Resume(context.Background(), dir, ResumeOptions{seams: seams{opener: opens{o},
		unchecked: true}}); err != nil {
		t.Fatal(err)
	}
	if updates(t, dir, 200) != 200 || o.commits[0] != 51 {
		t.Errorf("%v updates, the first commit is %d", updates(t, dir, 200), o.commits[0])
	}
}

// An evaluation that an interrupt ends is made when the run goes on, and the run is the same.
func TestEvaluationIsMadeUpFor(t *testing.T) {
	settings := []string{"train.steps=60", "eval.every=20", "checkpoint.every=60"}
	whole, err := script(t, &scripted{loss: falling}, settings...)
	if err != nil {
		t.Fatal(err)
	}
	o := &scripted{loss: falling, norm: steady}
	dir := filepath.Join(t.TempDir(), "run")
	with := seams{opener: opens{o}, unchecked: true}
	cfg, err := rundir.Config(whole)
	if err != nil {
		t.Fatal(err)
	}
	interruptAfter(t, dir, 40, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{Out: dir, Hooks: h, seams: with})
		return err
	})
	if n := len(runlog.All[runlog.Eval](readLog(t, dir))); n != 1 {
		t.Fatalf("%d evaluations before the interrupt: it came too late to test anything", n)
	}
	if _, err := Resume(context.Background(), dir, ResumeOptions{seams: with}); err != nil {
		t.Fatal(err)
	}
	sameRun(t, whole, dir, 60)
	if got, want := fmt.Sprint(marksOf(t, dir)), fmt.Sprint(marksOf(t, whole)); got != want {
		t.Errorf("marks %s, want %s", got, want)
	}
}

func marksOf(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	m, err := checkpoint.Marks(durable.OS, rundir.CheckpointsOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

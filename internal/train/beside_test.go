package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/durable/crash"
	"gimbal/internal/judge"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/safetensors"
)

// gated is a disk on which the checkpoint of a step is not written before the gate is open.
type gated struct {
	durable.FS
	step int64
	gate chan struct{}
}

func (g gated) Create(name string) (durable.File, error) {
	if strings.Contains(name, fmt.Sprintf("%s%d-", durable.TempPrefix, g.step)) {
		select {
		case <-g.gate:
		case <-time.After(time.Minute):
			return nil, errors.New("training did not go on beside the save")
		}
	}
	return g.FS.Create(name)
}

// Training goes on while a save is under way: what is saved is the run at its step, and the run is the same.
func TestSaveBesideTraining(t *testing.T) {
	settings := []string{"train.steps=60", "eval.every=60", "checkpoint.every=20", "checkpoint.keep=9"}
	whole, err := script(t, &scripted{loss: falling}, settings...)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := rundir.Config(whole)
	if err != nil {
		t.Fatal(err)
	}
	gate, dir := make(chan struct{}), filepath.Join(t.TempDir(), "run")
	_, err = Run(context.Background(), cfg, Options{Out: dir,
		seams: seams{opener: opens{&scripted{loss: falling, norm: steady}}, unchecked: true,
			fs: gated{durable.OS, 20, gate}},
		Hooks: Hooks{Step: func(rec runlog.Step, _ float64) {
			if rec.Step == 33 {
				close(gate)
			}
		}}})
	if err != nil || len(codes(t, dir)) > 0 {
		t.Fatalf("%v, %v", err, codes(t, dir))
	}
	sameRun(t, whole, dir, 60)
	if got := updates(t, dir, 20); got != 20 {
		t.Errorf("%v updates in the checkpoint of step 20", got)
	}
	c, err := checkpoint.Open(durable.OS, filepath.Join(rundir.CheckpointsOf(dir), checkpoint.StepName(20)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var s state
	if err := rundir.ReadState(c, &s); err != nil || s.Step != 20 || s.Log.Bytes == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := rundir.Verify(dir, c); err != nil {
		t.Errorf("the log does not begin as it was when step 20 was saved: %v", err)
	}
}

// sluggish is a disk that takes a while for each file of a checkpoint.
type sluggish struct {
	durable.FS
	takes time.Duration
	full  []string // of these checkpoints none can be written
}

func (s sluggish) Create(name string) (durable.File, error) {
	if strings.Contains(name, rundir.Checkpoints) {
		time.Sleep(s.takes)
		if slices.ContainsFunc(s.full, func(part string) bool { return strings.Contains(name, part) }) {
			return nil, durable.ErrNoSpace
		}
	}
	return s.FS.Create(name)
}

// A rewind, an early end and a failing disk do the same whether saves are slow or not.
func TestSlowSaves(t *testing.T) {
	bad := func() *scripted {
		return &scripted{norm: steady, loss: func(step, batch int64) float64 {
			if batch >= 110 && batch < 135 {
				return 9 + 0.1*float64(batch-110)
			}
			return falling(step, batch)
		}}
	}
	for name, c := range map[string]struct {
		settings []string
		make     func() *scripted
		full     []string
		events   int // about files
	}{
		"rewind":                         {make: bad},
		"rewind past a save that failed": {make: bad, full: []string{".tmp-100-"}, events: 2},
		"two failures in a row": {make: func() *scripted { return &scripted{loss: falling, norm: steady} },
			full: []string{".tmp-50-", ".tmp-75-"}, events: 2},
		"divergence": {make: func() *scripted { return &scripted{loss: badAt(80, 150, 160), norm: steady} },
			settings: []string{"checkpoint.every=10"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tiny(t, append([]string{"train.steps=200", "eval.every=1000", "checkpoint.every=25",
				"numeric.mode=fp32", "judge.early_stop=off"}, c.settings...)...)
			run := func(fs durable.FS) (derived, *runlog.Log, string) {
				dir := filepath.Join(t.TempDir(), "run")
				_, err := Run(context.Background(), cfg, Options{Out: dir,
					seams: seams{opener: opens{c.make()}, unchecked: true, fs: fs}})
				d := derivedOf(t, dir)
				d.report = strings.ReplaceAll(d.report, filepath.Dir(dir), "")
				return d, readLog(t, dir), fmt.Sprintf("%T", err)
			}
			want, wantLog, wantErr := run(sluggish{durable.OS, 0, c.full})
			got, log, err := run(sluggish{durable.OS, 2 * time.Millisecond, c.full})
			if !reflect.DeepEqual(got, want) || err != wantErr {
				t.Errorf("slow: %+v, %v; fast: %+v, %v", got, err, want, wantErr)
			}
			if err := runlog.Identical(wantLog, log); err != nil {
				t.Error(err)
			}
			n := 0
			for _, e := range runlog.All[runlog.Event](log) {
				if strings.HasPrefix(e.Code, "F-") {
					n++
				}
			}
			if n != c.events {
				t.Errorf("%d events about files, want %d", n, c.events)
			}
		})
	}
}

// working is a disk during whose every operation the trainer appends to its log.
type working struct {
	durable.FS
	log  *runlog.Writer
	step *int64
}

func (w working) append() {
	*w.step++
	_ = w.log.Write(runlog.Step{At: runlog.At{Step: *w.step, Batch: *w.step}}) // the disk may have stopped
}

func (w working) Create(name string) (durable.File, error) { w.append(); return w.FS.Create(name) }
func (w working) Rename(from, to string) error             { w.append(); return w.FS.Rename(from, to) }
func (w working) SyncDir(name string) error                { w.append(); return w.FS.SyncDir(name) }
func (w working) RemoveAll(name string) error              { w.append(); return w.FS.RemoveAll(name) }

// Power is lost at every operation of a save, while training appends to the log, or one operation fails: the log has
// all that the newest checkpoint binds, marks name only whole checkpoints, and the next save leaves nothing behind.
func TestSaveBesideTrainingCrash(t *testing.T) {
	cfg := &config.Config{Checkpoint: config.Checkpoint{Keep: 1}, Judge: config.Judge{Select: "loss"}}
	const dir = "run"
	begin := func(fsys durable.FS, s *store, log *runlog.Writer, step int64) *saving {
		st := state{Version: rundir.StateVersion, Step: step, Anchor: step, Log: log.Written(),
			History: []judge.Point{{Step: step, Loss: 1 / float64(step)}}}
		st.name(func(at int64) bool { return at == step }, cfg.Judge.Select)
		raw, err := json.Marshal(&st)
		if err != nil {
			t.Fatal(err)
		}
		return &saving{at: runlog.At{Step: step}, state: st, cfg: cfg, log: log, fs: fsys, done: make(chan struct{}),
			snapshot: &checkpoint.Snapshot{Step: step, Files: map[string][]byte{rundir.StateFile: raw},
				Model: []safetensors.Entry{{Name: "w", Shape: []int{2}, Data: []float32{float32(step), 1}}}}}
	}
	open := func(fsys durable.FS) (*store, *runlog.Writer, *int64) {
		log, err := runlog.OpenWriter(fsys, filepath.Join(dir, rundir.LogFile))
		if err != nil {
			t.Fatal(err)
		}
		step := int64(0)
		return &store{fs: working{fsys, log, &step}, dir: dir}, log, &step
	}
	setup := func() *crash.FS {
		fsys := crash.New()
		if err := durable.Mkdir(fsys, dir); err != nil {
			t.Fatal(err)
		}
		s, log, _ := open(fsys)
		p := begin(s.fs, s, log, 5)
		if p.write(s); p.err != nil {
			t.Fatal(p.err)
		}
		return fsys.Clone(100, 0)
	}
	save := func(fsys *crash.FS, disturb func()) error {
		s, log, _ := open(fsys)
		if err := log.Write(runlog.Step{At: runlog.At{Step: 7}}); err != nil {
			t.Fatal(err)
		}
		p := begin(s.fs, s, log, 10)
		disturb()
		p.write(s)
		return p.err
	}
	check := func(fsys *crash.FS, what string) (newest int64) {
		t.Helper()
		path, _, err := checkpoint.Newest(fsys, rundir.CheckpointsOf(dir))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		c, err := checkpoint.Open(fsys, path)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer c.Close()
		var st state
		if err := rundir.ReadState(c, &st); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		f, err := fsys.Open(filepath.Join(dir, rundir.LogFile))
		if err == nil {
			err = st.Log.Check(f)
		}
		if err != nil {
			t.Fatalf("%s: step %d is there, but its log is not: %v", what, st.Step, err)
		}
		marks, err := checkpoint.Marks(fsys, rundir.CheckpointsOf(dir))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for name, step := range marks {
			c, err := checkpoint.Open(fsys, filepath.Join(rundir.CheckpointsOf(dir), checkpoint.StepName(step)))
			if err != nil {
				t.Fatalf("%s: %s is step %d: %v", what, name, step, err)
			}
			c.Close()
		}
		return st.Step
	}
	whole := setup()
	if err := save(whole, func() {}); err != nil || check(whole, "undisturbed") != 10 {
		t.Fatal(err)
	}
	before := setup()
	first := before.Ops()
	if err := save(before, func() { first = before.Ops() }); err != nil {
		t.Fatal(err)
	}
	ops, old := before.Ops()-first, 0
	for k := range ops + 1 {
		fsys := setup()
		if err := save(fsys, func() { fsys.StopAt(k) }); (err == nil) != (k == ops) {
			t.Fatalf("stopped after %d of %d: %v", k, ops, err)
		}
		for seed, percent := range []int{0, 50, 50, 50, 100} {
			after := fsys.Clone(percent, uint64(10*k+seed))
			if check(after, fmt.Sprintf("stopped after %d of %d, %d %% kept", k, ops, percent)) == 5 {
				old++
			}
			if err := save(after, func() {}); err != nil || check(after, "saved again") != 10 {
				t.Fatalf("saved again after %d: %v", k, err)
			}
			entries, _ := after.ReadDir(rundir.CheckpointsOf(dir))
			if len(entries) != 2 { // the checkpoint and the marks
				t.Fatalf("stopped after %d: %v is left", k, entries)
			}
		}
	}
	if ops < 60 || old < 60 {
		t.Errorf("%d operations, %d times the old one was the newest", ops, old)
	}
	t.Logf("%d operations, %d times the old one was the newest of %d", ops, old, 5*(ops+1))
	for k := 1; k <= ops; k++ {
		for _, cause := range []error{errors.New("input/output error"), durable.ErrNoSpace} {
			fsys := setup()
			what := fmt.Sprintf("operation %d of %d: %v", k, ops, cause)
			if err := save(fsys, func() { fsys.FailAt(k, cause) }); err != nil && !errors.Is(err, cause) {
				t.Errorf("%s: %v", what, err)
			}
			check(fsys, what)
			check(fsys.Clone(0, uint64(k)), what)
		}
	}
}

// A program that is wrong while it saves ends the run as it would anywhere else.
func TestSaveBesideTrainingPanics(t *testing.T) {
	defer func() {
		if v := recover(); v != "wrong" {
			t.Errorf("the run goes on, and ends with %v", v)
		}
	}()
	_, err := Run(context.Background(), tiny(t, "train.steps=60", "checkpoint.every=20"), Options{
		Out: filepath.Join(t.TempDir(), "run"),
		seams: seams{opener: opens{&scripted{loss: falling, norm: steady}}, unchecked: true,
			fs: panicking{durable.OS}}})
	t.Error(err)
}

// panicking is a disk whose code is wrong for the checkpoint of step 20.
type panicking struct{ durable.FS }

func (p panicking) Create(name string) (durable.File, error) {
	if strings.Contains(name, durable.TempPrefix+"20-") {
		panic("wrong")
	}
	return p.FS.Create(name)
}

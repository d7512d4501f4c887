package runstate

import (
	"encoding/json"
	"errors"
	"fmt"
	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/durable/crash"
	"gimbal/internal/judge"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/safetensors"
	"path/filepath"
	"testing"
)

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
	begin := func(fsys durable.FS, s *Store, log *runlog.Writer, step int64) *Save {
		st := State{Version: rundir.StateVersion, Step: step, Anchor: step, Log: log.Written(),
			History: []judge.Point{{Step: step, Loss: 1 / float64(step)}}}
		st.Name(func(at int64) bool { return at == step }, cfg.Judge.Select)
		raw, err := json.Marshal(&st)
		if err != nil {
			t.Fatal(err)
		}
		return &Save{At: runlog.At{Step: step}, State: st, Config: cfg, Log: log, FS: fsys,
			Snapshot: &checkpoint.Snapshot{Step: step, Files: map[string][]byte{rundir.StateFile: raw},
				Model: []safetensors.Entry{{Name: "w", Shape: []int{2}, Data: []float32{float32(step), 1}}}}}
	}
	open := func(fsys durable.FS) (*Store, *runlog.Writer, *int64) {
		log, err := runlog.OpenWriter(fsys, filepath.Join(dir, rundir.LogFile))
		if err != nil {
			t.Fatal(err)
		}
		step := int64(0)
		return &Store{FS: working{fsys, log, &step}, Dir: dir}, log, &step
	}
	setup := func() *crash.FS {
		fsys := crash.New()
		if err := durable.Mkdir(fsys, dir); err != nil {
			t.Fatal(err)
		}
		s, log, _ := open(fsys)
		p := begin(s.FS, s, log, 5)
		if s.Begin(p, false); p.Err != nil {
			t.Fatal(p.Err)
		}
		return fsys.Clone(100, 0)
	}
	save := func(fsys *crash.FS, disturb func()) error {
		s, log, _ := open(fsys)
		if err := log.Write(runlog.Step{At: runlog.At{Step: 7}}); err != nil {
			t.Fatal(err)
		}
		p := begin(s.FS, s, log, 10)
		disturb()
		s.Begin(p, false)
		return p.Err
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
		var st State
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

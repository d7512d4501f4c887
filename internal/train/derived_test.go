package train

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/engine"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runstate"
	"gimbal/internal/testseed"
)

// mortal is a disk that a process can change so many times; then the process counts as killed.
type mortal struct {
	durable.FS
	left *atomic.Int64
}

var errKilled = errors.New("killed")

// alive does something, or counts as killed.
func (m mortal) alive(do func() error) error {
	if m.left.Add(-1) < 0 {
		return errKilled
	}
	return do()
}

func (m mortal) Create(name string) (f durable.File, err error) {
	err = m.alive(func() (err error) { f, err = m.FS.Create(name); return err })
	return mortalFile{f, m}, err
}

func (m mortal) Append(name string) (f durable.File, err error) {
	err = m.alive(func() (err error) { f, err = m.FS.Append(name); return err })
	return mortalFile{f, m}, err
}

func (m mortal) Mkdir(name string) error { return m.alive(func() error { return m.FS.Mkdir(name) }) }
func (m mortal) Rename(from, to string) error {
	return m.alive(func() error { return m.FS.Rename(from, to) })
}
func (m mortal) Remove(name string) error { return m.alive(func() error { return m.FS.Remove(name) }) }
func (m mortal) RemoveAll(name string) error {
	return m.alive(func() error { return m.FS.RemoveAll(name) })
}

type mortalFile struct {
	durable.File
	m mortal
}

func (f mortalFile) Write(p []byte) (n int, err error) {
	err = f.m.alive(func() (err error) { n, err = f.File.Write(p); return err })
	return n, err
}

// valley is a scripted engine whose validation loss is lowest after so many updates.
type valley struct {
	*scripted
	lowest float64
}

func (o valley) Pass(ctx context.Context, in engine.Input, want engine.Want) (engine.Values, error) {
	v, err := o.scripted.Pass(ctx, in, want)
	v.Nats *= 1 + math.Abs(float64(o.params[0].Data[0])-o.lowest)/100
	return v, err
}

// opensValley opens a valley, always anew.
type opensValley struct {
	opens
	lowest float64
}

func (o opensValley) Open(spec engine.Spec) (engine.Engine, error) {
	_, err := o.opens.Open(spec)
	return valley{o.scripted, o.lowest}, err
}

// derived is what follows from the state and the log of a run: marks, what is kept, the report, how it ended.
type derived struct {
	marks  map[string]int64
	kept   []string
	report string
	end    string
}

// attempts are words of a report that an interrupted run has otherwise.
var attempts = regexp.MustCompile(` in attempt \d+`)

func derivedOf(t *testing.T, dir string) (d derived) {
	t.Helper()
	d.marks = marksOf(t, dir)
	infos, err := checkpoint.List(durable.OS, rundir.CheckpointsOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		d.kept = append(d.kept, filepath.Base(info.Path))
	}
	raw, _ := os.ReadFile(filepath.Join(dir, rundir.ReportFile))
	d.report = attempts.ReplaceAllString(string(raw), "")
	if ends := runlog.All[runlog.End](readLog(t, dir)); len(ends) > 0 {
		d.end = ends[len(ends)-1].Reason
	}
	return d
}

// litter lists what a killed process left in a run.
func litter(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if strings.HasPrefix(e.Name(), durable.TempPrefix) || strings.HasSuffix(e.Name(), ".old") {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// valleyRun is the configuration, and valleySeams the rest, of a run whose best checkpoint is an old one.
func valleyRun(t *testing.T) *config.Config {
	return tiny(t, "train.steps=60", "eval.every=10", "checkpoint.every=5", "checkpoint.keep=2", "numeric.mode=fp32",
		"judge.early_stop=off")
}

func valleySeams(disk durable.FS) seams {
	return seams{opener: opensValley{opens{&scripted{loss: falling, norm: steady}}, 20}, unchecked: true, fs: disk}
}

// Damaged marks fail no save, and what was lost of a finished run is made again when it is opened for writing.
func TestDerivedFilesAreMadeAgain(t *testing.T) {
	cfg, with := valleyRun(t), valleySeams(durable.OS)
	dir := filepath.Join(t.TempDir(), "run")
	damage := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Error(err)
		}
	}
	marks := filepath.Join(rundir.Checkpoints, "marks.json")
	r, err := Run(context.Background(), cfg, Options{Out: dir, seams: with, Hooks: Hooks{Step: func(s runlog.Step,
		_ float64) {
		if s.Step == 12 || s.Step == 33 {
			damage(marks, "{")
		}
	}}})
	if err != nil || r.Events > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	want := derivedOf(t, dir)
	if want.marks[runstate.MarkBest] != 20 || want.marks[runstate.MarkLast] != 60 {
		t.Fatalf("%+v", want)
	}
	damage(marks, `{"last":`)
	damage(filepath.Join(rundir.Samples, durable.TempPrefix+"x"), "")
	damage(durable.TempPrefix+"config.toml-1", "")
	if err := os.Remove(filepath.Join(dir, rundir.ReportFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(context.Background(), dir, ResumeOptions{seams: with}); err != nil {
		t.Fatal(err)
	}
	if got := derivedOf(t, dir); !reflect.DeepEqual(got, want) || len(litter(t, dir)) > 0 {
		t.Errorf("%+v, litter %v; want\n%+v", got, litter(t, dir), want)
	}
	damage(marks, "")
	if r, err := Resume(context.Background(), dir, ResumeOptions{seams: with}); err != nil ||
		r.Reason != "already done" ||
		!reflect.DeepEqual(marksOf(t, dir), want.marks) {
		t.Errorf("%+v, %v, marks %v", r, err, marksOf(t, dir))
	}
}

// Marks, report, end record, what is kept and that there is no litter follow from state and log: killed at any write, a
// run that is resumed ends with the same as one that never was.
func TestDerivedFilesAfterAKill(t *testing.T) {
	cfg := valleyRun(t)
	with := func(places int) (seams, *atomic.Int64) {
		left := &atomic.Int64{}
		left.Store(int64(places))
		return valleySeams(mortal{durable.OS, left}), left
	}
	const most = 1 << 30
	whole := filepath.Join(t.TempDir(), "run")
	on, left := with(most)
	if _, err := Run(context.Background(), cfg, Options{Out: whole, seams: on}); err != nil {
		t.Fatal(err)
	}
	want, writes := derivedOf(t, whole), most-int(left.Load())
	if want.marks["best-loss"] != 20 || want.end != "done" || len(litter(t, whole)) > 0 {
		t.Fatalf("%+v", want)
	}
	places := []int{0, 3, 7, 12, 15, writes - 1, writes - 2, writes - 3, writes - 4, writes - 6, writes - 9}
	for r := testseed.Rand(t); len(places) < 15; {
		places = append(places, r.IntN(writes))
	}
	if all, _ := strconv.Atoi(os.Getenv("GIMBAL_KILLS")); all > 0 { // every so many
		places = nil
		for at := 0; at < writes; at += all {
			places = append(places, at)
		}
	}
	for _, at := range places {
		dir := filepath.Join(t.TempDir(), "run")
		on, _ := with(at)
		if _, err := Run(context.Background(), cfg, Options{Out: dir, seams: on}); !errors.Is(err, errKilled) {
			t.Fatalf("write %d: %v", at, err)
		}
		on, _ = with(most)
		_, err := Resume(context.Background(), dir, ResumeOptions{seams: on})
		if names, _ := filepath.Glob(filepath.Join(dir, rundir.Checkpoints, "step-*")); len(names) == 0 {
			if !errors.Is(err, rundir.ErrResume) { // there is nothing to resume yet: it begins again
				t.Errorf("write %d: %v", at, err)
			}
			_, err = Run(context.Background(), cfg, Options{Out: dir, seams: on})
		}
		if err != nil {
			t.Fatalf("write %d: %v", at, err)
		}
		got := derivedOf(t, dir)
		if left := litter(t, dir); !reflect.DeepEqual(got, want) || len(left) > 0 {
			t.Fatalf("killed at write %d of %d:\n%+v\nlitter %v; want\n%+v", at, writes, got, left, want)
		}
	}
}

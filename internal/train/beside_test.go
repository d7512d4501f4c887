package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runstate"
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
	var s runstate.State
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

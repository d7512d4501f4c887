package train

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/device"
	"gimbal/internal/exit"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// smooth is a calm run whose losses do not depend on how often the engine was opened.
func smooth(step, _ int64) float64 { return 5 - float64(step)/200 + 0.01*math.Sin(float64(7*step)) }

// lossEvents returns the events of lost devices, as the log has them.
func lossEvents(t *testing.T, dir string) (events []runlog.Event) {
	t.Helper()
	for _, e := range runlog.All[runlog.Event](readLog(t, dir)) {
		if e.Code == "F-DEVICE-LOST" {
			events = append(events, e)
		}
	}
	return events
}

// plugin returns the plugin that PJRT_PLUGIN names.
func plugin(t *testing.T) string {
	t.Helper()
	list := filepath.SplitList(os.Getenv("PJRT_PLUGIN"))
	if len(list) == 0 || os.Getenv("GIMBAL_DEVICE") == "" {
		t.Skip("PJRT_PLUGIN names no plugin, or GIMBAL_DEVICE no gimbal-device")
	}
	return list[0]
}

// A device may be lost in any call of the engine: the run goes on, and becomes the one that it would have been.
func TestLostDevice(t *testing.T) {
	settings := []string{"train.steps=60", "eval.every=20", "checkpoint.every=10"}
	constant := func(int64, int64) float64 { return 1 }
	counted := &scripted{loss: smooth, norm: constant}
	whole, err := script(t, counted, settings...)
	if err != nil {
		t.Fatal(err)
	}
	first := counted.calls - 60*3 // a call after the first save; what comes before it begins no run
	for at := max(first, 30); at < counted.calls; at += 47 {
		o := &scripted{loss: smooth, norm: constant, losses: []int{at, at + 40}}
		dir, err := script(t, o, settings...)
		if err != nil {
			t.Fatalf("call %d: %v", at, err)
		}
		sameRun(t, whole, dir, 60)
		events := lossEvents(t, dir)
		if len(events) == 0 || !strings.Contains(events[0].Message, device.ErrLost.Error()) ||
			!strings.HasPrefix(events[0].Action, "go on from") {
			t.Errorf("call %d: %+v", at, events)
		}
		report, err := os.ReadFile(filepath.Join(dir, rundir.ReportFile))
		if err != nil || !strings.Contains(string(report), "F-DEVICE-LOST") {
			t.Errorf("call %d: the report does not tell it: %v", at, err)
		}
		if n := len(runlog.All[runlog.Resume](readLog(t, dir))); n != len(events) {
			t.Errorf("call %d: %d resumes after %d losses", at, n, len(events))
		}
	}
}

// A device that is lost while it is opened again counts, and is opened once more.
func TestLostWhileOpened(t *testing.T) {
	settings := []string{"train.steps=60", "eval.every=20", "checkpoint.every=10"}
	constant := func(int64, int64) float64 { return 1 }
	whole, err := script(t, &scripted{loss: smooth, norm: constant}, settings...)
	if err != nil {
		t.Fatal(err)
	}
	o := &scripted{loss: smooth, norm: constant, losses: []int{200, 201, 202}}
	dir, err := script(t, o, settings...)
	if err != nil {
		t.Fatal(err)
	}
	sameRun(t, whole, dir, 60)
	o = &scripted{loss: smooth, norm: constant, losses: []int{200, 201, 202, 203}}
	if dir, err = script(t, o, settings...); !errors.Is(err, device.ErrLost) || !strings.Contains(err.Error(),
		"4 times") {
		t.Errorf("error %v", err)
	}
	if events := lossEvents(t, dir); len(events) != 1 || events[0].Action != "end" {
		t.Errorf("events %+v", events)
	}
}

// A device that is lost again and again ends the run, with an exit code of its own, and the run can be resumed.
func TestLostTooOften(t *testing.T) {
	o := &scripted{loss: smooth}
	for at := 400; at < 900; at += 60 {
		o.losses = append(o.losses, at)
	}
	dir, err := script(t, o)
	if !errors.Is(err, device.ErrLost) || exit.Of(err) != exit.Resources || !strings.Contains(err.Error(), "4 times") {
		t.Fatalf("error %v", err)
	}
	if events := lossEvents(t, dir); len(events) != mostLost+1 || events[mostLost].Action != "end" {
		t.Errorf("events %+v", events)
	}
	ends := runlog.All[runlog.End](readLog(t, dir))
	if len(ends) != 1 || ends[0].ExitCode != exit.Resources || !strings.HasPrefix(ends[0].Reason, "failed: ") {
		t.Errorf("end %+v", ends)
	}
	o.losses, o.lost = nil, nil
	if _, err := Resume(context.Background(), dir, ResumeOptions{seams: seams{opener: opens{o},
		unchecked: true}}); err != nil {
		t.Fatal(err)
	}
	if got := updates(t, dir, 200); got != 200 {
		t.Errorf("%v updates after the resume", got)
	}
}

// Losses that lie far apart do not add up, and a run goes back to a checkpoint that was healthy.
func TestLostFarApart(t *testing.T) {
	o := &scripted{norm: func(int64, int64) float64 { return 1 }}
	bad, lose := false, map[int64]bool{400: true, 900: true, 1410: true, 2000: true}
	o.loss = func(step, batch int64) float64 {
		if lose[step] {
			delete(lose, step)
			o.lost = device.ErrLost
		}
		if step == 1390 && !bad {
			bad = true
			return math.NaN() // what is saved soon after it is not healthy
		}
		return 5 - float64(step)/2000
	}
	dir, err := script(t, o, "train.steps=2100", "checkpoint.every=100")
	if err != nil {
		t.Fatal(err)
	}
	events := lossEvents(t, dir)
	if len(events) != 4 || events[2].Step != 1300 {
		t.Errorf("events %+v", events)
	}
	if got := updates(t, dir, 2100); got != 2100 {
		t.Errorf("%v updates", got)
	}
	if !bad {
		t.Error("the fault before the third loss did not come")
	}
}

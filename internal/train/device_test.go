//go:build linux

package train

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/runlog"
)

// children are the processes that this one has started and that have a name.
func children(name string) (list []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, path := range stats {
		raw, _ := os.ReadFile(path)
		var pid, parent int
		var state string
		head, rest, _ := strings.Cut(string(raw), ") ")
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil || parent != os.Getpid() || state == "Z" {
			continue
		}
		if number, command, _ := strings.Cut(head, " ("); command == name {
			if _, err := fmt.Sscan(number, &pid); err == nil {
				list = append(list, pid)
			}
		}
	}
	return list
}

// onDevice is a run of a moment on the devices of a plugin.
func onDevice(t *testing.T, device string, settings ...string) *config.Config {
	return tiny(t, append([]string{"numeric.device=" + device, "train.steps=40", "eval.every=20", "checkpoint.every=10",
		"eval.prompts=2", "eval.samples=2"}, settings...)...)
}

// A process that owns the devices and is killed in the middle of a run is replaced, and the run is the same in every
// bit. A kill of the whole run, and a resume, are the same run, too.
func TestKilledDevice(t *testing.T) {
	device, dir := plugin(t), t.TempDir()
	whole, broken, stopped := filepath.Join(dir, "whole"), filepath.Join(dir, "broken"), filepath.Join(dir, "stopped")
	unchecked := seams{unchecked: true}
	finished(t, onDevice(t, device), Options{Out: whole})
	killed := 0
	hooks := Hooks{Step: func(rec runlog.Step, _ float64) {
		if rec.Step != 25 || killed > 0 {
			return
		}
		for _, pid := range children(filepath.Base(os.Getenv("GIMBAL_DEVICE"))) {
			if syscall.Kill(pid, syscall.SIGKILL) == nil {
				killed++
			}
		}
	}}
	finished(t, onDevice(t, device), Options{Out: broken, Hooks: hooks, seams: unchecked})
	if events := lossEvents(t, broken); killed != 1 || len(events) != 1 || events[0].Step != 20 ||
		!strings.Contains(events[0].Message, "killed") {
		t.Errorf("%d processes were killed: %+v", killed, events)
	}
	sameRun(t, whole, broken, 40)

	interruptAfter(t, stopped, 23, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, onDevice(t, device), Options{Out: stopped, Hooks: h, seams: unchecked})
		return err
	})
	if _, err := Resume(t.Context(), stopped, ResumeOptions{Device: device, seams: unchecked}); err != nil {
		t.Fatal(err)
	}
	sameRun(t, whole, stopped, 40)
}

// A run moves between the CPU and a device, and says that its numbers change; what was planned for the one hardware is
// planned again for the other.
func TestMove(t *testing.T) {
	device, dir := plugin(t), filepath.Join(t.TempDir(), "run")
	unchecked := seams{unchecked: true}
	finished(t, tiny(t, "train.steps=10", "eval.prompts=2", "eval.samples=2"), Options{Out: dir, seams: unchecked})
	for i, to := range []string{device, "cpu"} {
		var notes []string
		r, err := Resume(t.Context(), dir, ResumeOptions{Steps: int64(15 + 5*i), Device: to, seams: unchecked,
			Hooks: Hooks{Note: func(text string) { notes = append(notes, text) }}})
		if err != nil || r.Step != int64(15+5*i) {
			t.Fatalf("to %s: %+v, %v", to, r, err)
		}
		if all := strings.Join(notes, "\n"); !strings.Contains(all, "its numbers will differ slightly") {
			t.Errorf("to %s: %s", to, all)
		}
	}
	resumes := runlog.All[runlog.Resume](readLog(t, dir))
	if len(resumes) != 2 || !strings.Contains(resumes[1].Reason, "it moved to cpu") {
		t.Errorf("%+v", resumes)
	}
}

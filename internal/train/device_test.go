package train

import (
<<<<<<< HEAD
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"gimbal/internal/exit"
	"gimbal/internal/runlog"
)

// plugin returns the first plugin that PJRT_PLUGIN names, with gimbal-device built beside the test. It skips the test
// where there is none, and in short tests: programs take seconds to compile.
func plugin(t *testing.T) string {
	t.Helper()
	list := filepath.SplitList(os.Getenv("PJRT_PLUGIN"))
	if len(list) == 0 || testing.Short() {
		t.Skip("PJRT_PLUGIN names no plugin, or the tests are short")
	}
	if os.Getenv("GIMBAL_DEVICE") == "" {
		path := filepath.Join(t.TempDir(), "gimbal-device")
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../cmd/gimbal-device")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Setenv("GIMBAL_DEVICE", path)
=======
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

// plugin returns the plugin that PJRT_PLUGIN names.
func plugin(t *testing.T) string {
	t.Helper()
	list := filepath.SplitList(os.Getenv("PJRT_PLUGIN"))
	if len(list) == 0 || os.Getenv("GIMBAL_DEVICE") == "" {
		t.Skip("PJRT_PLUGIN names no plugin, or GIMBAL_DEVICE no gimbal-device")
>>>>>>> choice
	}
	return list[0]
}

<<<<<<< HEAD
// losses are those of all updates.
func losses(t *testing.T, dir string) (list []float64) {
	for _, s := range runlog.All[runlog.Step](readLog(t, dir)) {
		list = append(list, float64(s.Loss))
=======
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
>>>>>>> choice
	}
	return list
}

<<<<<<< HEAD
// apart is the largest relative difference of the first n losses.
func apart(a, b []float64, n int) (most float64) {
	for i := range min(n, len(a), len(b)) {
		most = max(most, math.Abs(a[i]-b[i])/b[i])
	}
	return most
}

// A run on a device is the run on the CPU: its losses, and with every planted fault what the guard sees and does.
func TestRunOnDevice(t *testing.T) {
	device := "numeric.device=" + plugin(t)
	cache := t.TempDir()
	for _, fault := range []string{"", "nan-grad@20", "inf-grad@20", "nan-activation@30", "loss-spike@80", "poison-batch@80",
		"lr-bomb@80", "bit-flip@80", "frozen-layer@20", "cut-residual@20", "starved-init@1", "torn-checkpoint@20"} {
		t.Run(cmp.Or(fault, "none"), func(t *testing.T) {
			var events [2][]string
			var all [2][]float64
			var final [2]float64
			for i, settings := range [][]string{{device}, nil} {
				opt := Options{Workers: 1, Out: filepath.Join(t.TempDir(), "run")}
				if fault != "" {
					opt.Inject = []string{fault}
				}
				cfg := tiny(t, append([]string{"train.steps=110", "optim.lr=0.005",
					"eval.max_tokens=64"}, settings...)...)
				t.Setenv("XDG_CACHE_HOME", cache)             // programs are compiled once
				_, err := Run(context.Background(), cfg, opt) // the guard may stop it
				events[i] = append(events[i], fmt.Sprint("exit ", exit.Of(err)))
				log := readLog(t, opt.Out)
				for _, e := range runlog.All[runlog.Event](log) {
					for k, name := range e.Documents {
						e.Documents[k] = filepath.Base(name)
					}
					events[i] = append(events[i], fmt.Sprint(e.Step, e.Code, e.Severity, e.Action, e.Tensor, e.Documents))
				}
				all[i] = losses(t, opt.Out)
				if evals := runlog.All[runlog.Eval](log); len(evals) > 0 {
					final[i] = float64(evals[len(evals)-1].ValLoss)
				}
			}
			if !slices.Equal(events[0], events[1]) {
				t.Errorf("events on a device %q, on the CPU %q", events[0], events[1])
			}
			if d := apart(all[0], all[1], 50); d > 1e-4 || len(all[0]) != len(all[1]) {
				t.Errorf("%d losses on a device, %d on the CPU; of the first 50 they are %v apart", len(all[0]), len(all[1]), d)
			}
			if d := math.Abs(final[0]-final[1]) / final[1]; d > 0.01 {
				t.Errorf("a validation loss of %v, on the CPU %v", final[0], final[1])
			}
		})
=======
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
	if _, err := Resume(t.Context(), stopped, ResumeOptions{seams: unchecked}); err != nil {
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
>>>>>>> choice
	}
}

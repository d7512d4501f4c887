package runs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gimbal/internal/durable"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// TestListAsJSON pins the fields of a listed run.
func TestListAsJSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	makeRun(t, dir)
	list, err := List(dir)
	check(t, err)
	list[0].Dir, list[0].Bytes = "runs/run", 5000 // what differs from machine to machine
	got, err := json.MarshalIndent(list, "", "  ")
	check(t, err)
	want := `[
  {
    "dir": "runs/run",
    "state": "interrupted",
    "step": 20,
    "steps": 30,
    "val_loss": 2,
    "baseline_loss": 2.5,
    "events": {
      "errors": 1,
      "warnings": 1,
      "notes": 0
    },
    "bytes": 5000,
    "began": "2026-01-02T03:04:05Z",
    "wrote": "2026-01-02T03:04:31Z"
  }
]`
	if string(got) != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestStates: what the end of a log says, and a lock over all.
func TestStates(t *testing.T) {
	end := func(reason string, code int) string {
		return fmt.Sprintf(`{"kind":"end","step":20,"batch":20,"attempt":1,"reason":%q,"exit_code":%d}`, reason, code)
	}
	again := `{"kind":"resume","step":10,"batch":10,"attempt":2}`
	tests := []struct {
		name, lines  string
		state        State
		code, detail string
		step         int64
		loss         float64
	}{
		{"done", end("done", 0), Done, "", "", 20, 2},
		{"stopped by the judge", end("stopped early", 0), StoppedEarly, "", "", 20, 2},
		{"stopped by the guard", end("stopped: E3-DIVERGED", 3), Stopped, "E3-DIVERGED", "", 20, 2},
		{"out of disk", end("failed: no room\nat all", 6), Failed, "", "no room\nat all", 20, 2},
		{"another program: done", end("finished", 0), Done, "", "", 20, 2},
		{"another program: stopped", end("halted", 3), Stopped, "", "halted", 20, 2},
		{"another program: failed", end("fell over", 9), Failed, "", "fell over", 20, 2},
		{"killed after a resume", again, Crashed, "", "", 10, 3},
		{"done after a resume", again + "\n" + end("done", 0), Done, "", "", 20, 3},
		{"killed after a rewind", `{"kind":"rewind","step":10,"batch":25,"attempt":1}`, Interrupted, "", "", 10, 3},
	}
	for _, tt := range tests {
		dir := filepath.Join(t.TempDir(), "run")
		makeRun(t, dir)
		log := strings.Join(logLines(t), "\n") + "\n" + tt.lines + "\n"
		write(t, filepath.Join(dir, rundir.LogFile), log)
		r := Read(dir)
		if r.State != tt.state || r.Code != tt.code || r.Detail != tt.detail || r.Step != tt.step ||
			float64(r.Loss) != tt.loss {
			t.Errorf("%s: %+v", tt.name, r)
		}
		l, err := readLog(dir)
		check(t, err)
		evals := runlog.All[runlog.Eval](l.Effective())
		if got := evals[len(evals)-1].ValLoss; got != r.Loss {
			t.Errorf("%s: the effective log ends with a loss of %v, the list has %v", tt.name, got, r.Loss)
		}
	}
}

// TestRunning: a run is running while its lock is held, whatever else is the matter with it, and cannot be removed.
func TestRunning(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	makeRun(t, dir)
	lock, err := rundir.Lock(dir)
	check(t, err)
	check(t, os.Remove(filepath.Join(dir, rundir.ConfigFile)))
	before := tree(t, dir)
	if r := Read(dir); r.State != Running || r.Detail != "" || r.Step != 20 {
		t.Errorf("%+v", r)
	}
	if _, err := Remove(dir); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("remove: %v", err)
	}
	if after := tree(t, dir); after != before {
		t.Errorf("it was changed:\n%s", after)
	}
	check(t, lock.Unlock())
	if r := Read(dir); r.State != Interrupted {
		t.Errorf("unlocked: %+v", r)
	}
}

// TestList: order, folders, runs among folders, and what is no run.
func TestList(t *testing.T) {
	parent := t.TempDir()
	for i, name := range []string{"b-second", "a-third", "c-first"} {
		dir := filepath.Join(parent, name)
		makeRun(t, dir)
		day := began.AddDate(0, 0, map[int]int{0: 1, 1: 2, 2: 0}[i]).Format(time.DateOnly)
		log := strings.ReplaceAll(strings.Join(logLines(t), "\n"), "2026-01-02T", day+"T")
		write(t, filepath.Join(dir, rundir.LogFile), log+"\n")
	}
	check(t, os.Mkdir(filepath.Join(parent, "notes"), 0o777))
	write(t, filepath.Join(parent, "file"), "")
	other := filepath.Join(t.TempDir(), "other")
	makeRun(t, other)
	if err := os.Symlink(other, filepath.Join(parent, "link")); err != nil {
		t.Skip(err) // Windows without the right to
	}
	check(t, os.Symlink("nowhere", filepath.Join(parent, "broken link")))
	names := func(folders ...string) string {
		list, err := List(folders...)
		check(t, err)
		var all []string
		for _, r := range list {
			all = append(all, filepath.Base(r.Dir))
		}
		return strings.Join(all, " ")
	}
	if got := names(parent); got != "a-third b-second link c-first" {
		t.Error(got)
	}
	if got := names(filepath.Join(parent, "a-third"), filepath.Dir(other)); got != "a-third other" {
		t.Error(got)
	}
	if list, err := List(t.TempDir()); err != nil || list == nil || len(list) != 0 {
		t.Errorf("an empty folder: %v, %v", list, err)
	}
	_, err := List(filepath.Join(parent, "nowhere"))
	wants(t, "a folder that is not there", err, "no such file")
	t.Chdir(t.TempDir())
	makeRun(t, filepath.Join(rundir.Parent, "x"))
	if got := names(); got != "x" {
		t.Error(got)
	}
	for _, name := range []string{"x", "runs/x"} {
		if r, err := Find(name); err != nil || r.Dir != filepath.Join("runs", "x") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// TestHugeLog: of a log of a gigabyte the first part and the last are read, and it takes no gigabyte of memory.
func TestHugeLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	makeRun(t, dir)
	lines := logLines(t)
	name := filepath.Join(dir, rundir.LogFile)
	write(t, name, strings.Join(lines[:20], "\n")+"\n")
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	if err := f.Truncate(1 << 30); err != nil { // a hole, where the file system has holes
		t.Skip(err)
	}
	_, err = f.WriteAt([]byte("\n"+strings.Join(lines[20:], "\n")+"\n"), 1<<30)
	check(t, err)
	r := Read(dir)
	if r.State != Interrupted || !r.Partial || r.Step != 20 || r.Loss != 2 || r.Events != (Events{1, 1, 0}) ||
		r.Bytes < 1<<30 {
		t.Errorf("%+v", r)
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{
		"runs/näive 例":           "runs/näive 例",
		"a\x1b[31mb\nc\td":       `a\u001b[31mb\u000ac\u0009d`,
		"abc\u202egpj.exe\u2066": `abc\u202egpj.exe\u2066`,
		"\xff\x00":               `\xff\u0000`,
		"👩\u200d💻 and a\u200cb":  "👩\u200d💻 and a\u200cb",
	} {
		if got := Escape(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if got := EscapeText("a\n\tb\r\x07"); got != "a\n\tb\\u000d\\u0007" {
		t.Errorf("%q", got)
	}
	for bytes, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9940: "9.9 kB", 9960: "10 kB",
		412e6: "412 MB", 999_600_000: "1.0 GB", 1.5e12: "1.5 TB", 3e15: "3000 TB"} {
		if got := Size(bytes); got != want {
			t.Errorf("%d bytes: %s, want %s", bytes, got, want)
		}
	}
}

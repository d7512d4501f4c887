package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"gimbal"
	"gimbal/internal/durable"
	"gimbal/internal/runlog"
	"gimbal/internal/train"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gimbal": main})
}

// TestScripts pins what the command line does: testdata/*.txt, one story each.
func TestScripts(t *testing.T) {
	// Under nohup the commands would inherit that a closed terminal is ignored; a signal that is caught they do not.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangups) }) // after the scripts, which run in parallel
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "cache"))
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: commands,
	})
}

// TestEveryErrorHasItsExitCode keeps the table of the version command true, for errors as the library returns them.
func TestEveryErrorHasItsExitCode(t *testing.T) {
	t.Chdir(t.TempDir())
	fault := func(opt gimbal.TrainOptions) error { _, err := gimbal.Check(t.Context(), opt); return err }
	_, nothing := gimbal.Open("nowhere", gimbal.OpenOptions{})
	for err, want := range map[error]int{
		nil:                 0,
		io.ErrUnexpectedEOF: 1,
		usageError("words"): 2,
		gimbal.ErrExists:    2,
		fault(gimbal.TrainOptions{Set: []string{"model.width=-1"}}): 2,
		&gimbal.StopError{Err: &train.StopError{Code: "E3"}}:        3,
		fault(gimbal.TrainOptions{Data: []string{"nowhere"}}):       4,
		nothing:               5,
		gimbal.ErrLocked:      5,
		gimbal.ErrNoSpace:     6,
		gimbal.ErrMemory:      6,
		gimbal.ErrInterrupted: 75,
		errors.Join(io.EOF, gimbal.ErrInterrupted): 75,
	} {
		if got := exitCodeOf(err); got != want {
			t.Errorf("%v: exit code %d, want %d", err, got, want)
		}
	}
}

// TestKill kills a run at arbitrary moments with a signal that nothing can catch, resumes it until it is done, and
// wants the weights, the moments and the log of a run that was never killed.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	binary := filepath.Join(t.TempDir(), "gimbal")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("the quick brown fox jumps over the lazy dog, and the dog sleeps on. ", 400)), 0o666); err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	start := func(args ...string) *exec.Cmd {
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache)
		return cmd
	}
	train := func(dir string) []string {
		return []string{"train", "--data", text, "--out", dir, "--steps", "150", "--set", "tokenizer.kind=bytes", "--set",
			"model.layers=1", "--set", "model.width=32",
			"--set", "model.heads=1", "--set", "train.context=32", "--set", "train.batch_tokens=256", "--set",
			"eval.max_tokens=4", "--set", "checkpoint.every=5"}
	}
	whole, killed := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "killed")
	began := time.Now()
	if out, err := start(train(whole)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	length := time.Since(began)

	moments := []time.Duration{4, 2, 7, 3, 9, 5, 1, 8} // sixteenths of the run: spread over it, its start and its saves
	kills := 0
	for attempt := 1; ; attempt++ {
		args := []string{"resume", killed}
		if _, err := os.Stat(filepath.Join(killed, "checkpoints", "marks.json")); err != nil {
			os.RemoveAll(killed) // it was killed before its first checkpoint: there is nothing to resume
			args = train(killed)
		}
		cmd := start(args...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		var wait <-chan time.Time
		if attempt <= len(moments) {
			wait = time.After(length * moments[attempt-1] / 16)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("attempt %d: %v\n%s", attempt, err, out.String())
			}
		case <-wait:
			cmd.Process.Kill()
			<-done
			kills++
			continue
		}
		break
	}
	if kills == 0 {
		t.Error("no run was killed: the test says nothing")
	}
	t.Logf("%d kills in a run of %v", kills, length)
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		a, err := os.ReadFile(filepath.Join(whole, "checkpoints", "step-150", name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(killed, "checkpoints", "step-150", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs after %d kills", name, kills)
		}
	}
	var logs [2]*runlog.Log
	for i, dir := range []string{whole, killed} {
		var err error
		if logs[i], err = runlog.Read(durable.OS, filepath.Join(dir, "log.jsonl")); err != nil {
			t.Fatal(err)
		}
	}
	if err := runlog.Identical(logs[0], logs[1]); err != nil {
		t.Error(err)
	}
}

// TestInterrupt wants a signal to save the run and to end it with the code that says so.
func TestInterrupt(t *testing.T) {
	var stderr bytes.Buffer
	r, w := io.Pipe()
	text := filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("a stitch in time saves nine. ", 2000)), 0o666); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "gimbal") // the test binary under this name is the program
	if err := os.Link(self, bin); err != nil {
		if err := copyFile(bin, self); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(bin, "train", "-v", "--data", text, "--out", dir, "--steps", "1000000", "--set",
		"tokenizer.kind=bytes", "--set", "model.layers=1",
		"--set", "model.width=32", "--set", "model.heads=1", "--set", "train.context=32", "--set", "train.batch_tokens=256")
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+t.TempDir())
	cmd.Stderr = io.MultiWriter(&stderr, w)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // the first step is the sign that training goes on
		buf := make([]byte, 4096)
		told := false
		for {
			n, err := r.Read(buf)
			if err != nil {
				return
			}
			if !told && bytes.Contains(buf[:n], []byte("step 1/")) {
				told = true
				cmd.Process.Signal(os.Interrupt)
			}
		}
	}()
	cmd.Wait()
	w.Close()
	if got := cmd.ProcessState.ExitCode(); got != 75 {
		t.Fatalf("exit code %d\n%s", got, stderr.String())
	}
	saved, err := filepath.Glob(filepath.Join(dir, "checkpoints", "step-[1-9]*", "manifest.json")) // step-0 is the start
	if err != nil || len(saved) != 1 {
		t.Errorf("saved %v, %v\n%s", saved, err, stderr.String())
	}
}

func copyFile(dst, src string) error {
	data, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	return os.WriteFile(dst, data, 0o777)
}

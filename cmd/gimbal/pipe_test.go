//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Nobody reads what a run tells, and the pipe is full: it goes on to its end, and a signal saves it.
func TestAFullPipeHangsNothing(t *testing.T) {
	texts(t, 30)
	for name, steps := range map[string]string{"end": "40", "signal": "1000000"} {
		line := append([]string{"train", "-v", "--data", "texts", "--steps", steps, "--out", name,
			"--set", "checkpoint.every=1000000", "--set", "eval.every=1000000"}, smallest...)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := fill(w); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("gimbal", line...) // TestMain has put it there
		cmd.Stderr = w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		begun := false
		for until := time.Now().Add(time.Minute); !begun &&
			time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
			raw, _ := os.ReadFile(filepath.Join(name, "log.jsonl"))
			begun = strings.Contains(string(raw), `"kind":"step"`)
		}
		if !begun {
			t.Fatalf("%s: it never began", name)
		}
		if name == "signal" {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Fatalf("%s: it hangs", name)
		}
		want := map[string]int{"end": 0, "signal": 75}[name]
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("%s: exit code %d, want %d", name, code, want)
		}
		raw, err := os.ReadFile(filepath.Join(name, "log.jsonl"))
		if err != nil || !strings.Contains(string(raw), `"kind":"end"`) {
			t.Errorf("%s: no end record, %v", name, err)
		}
	}
}

// fill fills a pipe.
func fill(w *os.File) error {
	fd := int(w.Fd()) // which makes it wait
	err := syscall.SetNonblock(fd, true)
	for err == nil {
		_, err = syscall.Write(fd, []byte{'x'})
	}
	if err != syscall.EAGAIN {
		return err
	}
	return syscall.SetNonblock(fd, false)
}

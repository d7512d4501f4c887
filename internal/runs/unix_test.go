//go:build unix

package runs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gimbal/internal/rundir"
)

// TestPipe: no reader waits for a pipe that lies where a file should.
func TestPipe(t *testing.T) {
	for _, name := range []string{rundir.LogFile, rundir.ConfigFile, rundir.LockFile, "samples/eval-2.md"} {
		dir := filepath.Join(t.TempDir(), "run")
		makeRun(t, dir)
		check(t, os.Remove(filepath.Join(dir, name)))
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o666); err != nil {
			t.Skip(err)
		}
		list, err := List(dir)
		if err != nil || len(list) != 1 {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
		_, whyErr := Why(dir)
		_, pageErr := OpenPage(dir, 0)
		if (whyErr != nil) != (name == rundir.LogFile) || (pageErr != nil) != strings.HasPrefix(name, rundir.Samples) {
			t.Errorf("%s: why %v, review %v", name, whyErr, pageErr)
		}
	}
}

// TestForbidden: a run that may not be looked into is in the list, and the others are, too.
func TestForbidden(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("nothing is forbidden to root")
	}
	parent := t.TempDir()
	closed := filepath.Join(parent, "closed")
	makeRun(t, closed)
	makeRun(t, filepath.Join(parent, "open"))
	check(t, os.Chmod(closed, 0))
	defer os.Chmod(closed, 0o777)
	list, err := List(parent)
	if err != nil || len(list) != 2 || list[0].State != Broken || list[1].State != Interrupted ||
		list[0].Detail != "the directory: permission denied" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := Remove(closed); err == nil {
		t.Error("it was removed")
	}
}

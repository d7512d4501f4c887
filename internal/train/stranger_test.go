package train

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"gimbal/internal/durable"
	"gimbal/internal/rundir"
)

// A run of a stranger can hold links to files of its reader: what is opened for writing is refused by name, and what
// the links lead to stays as it was.
func TestLinksAreRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege there")
	}
	cfg := tiny(t)
	whole := finished(t, cfg, Options{}).Dir
	symbolic := func(mine, at string) error { return os.Symlink(mine, at) }
	for _, c := range []struct {
		name string // in the run
		link func(mine, at string) error
	}{{rundir.LockFile, symbolic}, {rundir.LockFile, os.Link}, {rundir.LogFile, symbolic}, {rundir.LogFile, os.Link},
		{rundir.Checkpoints, symbolic}, {rundir.Samples, symbolic}, {rundir.Refused, symbolic}} {
		dir, home := filepath.Join(t.TempDir(), "run"), t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		at, mine := filepath.Join(dir, c.name), filepath.Join(home, "mine")
		litter := filepath.Join(mine, durable.TempPrefix+"of-mine")
		if info, err := os.Lstat(at); err == nil && !info.IsDir() {
			litter = ""
			if err := os.Rename(at, mine); err != nil { // it holds what the run needs, so only the link is wrong
				t.Fatal(err)
			}
		} else {
			if err == nil {
				if err := os.Rename(at, mine); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(os.MkdirAll(mine, 0o777), os.WriteFile(litter, nil, 0o666)); err != nil {
				t.Fatal(err)
			}
		}
		if c.name == rundir.LockFile {
			if err := os.WriteFile(mine, []byte("my text"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.link(mine, at); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(mine)
		_, err := Resume(context.Background(), dir, ResumeOptions{Steps: 14})
		if !errors.Is(err, durable.ErrLink) && c.name != rundir.LogFile || err == nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if after, _ := os.ReadFile(mine); string(after) != string(before) {
			t.Errorf("%s: the file of its reader changed from %q to %q", c.name, before, after)
		}
		if _, err := os.Lstat(litter); litter != "" && err != nil {
			t.Errorf("%s: a foreign file was swept: %v", c.name, err)
		}
	}
}

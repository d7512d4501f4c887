//go:build unix

package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gimbal/internal/durable"
)

// Below a directory nothing is opened, listed or made through a link, and no file that has a second name.
func TestInside(t *testing.T) {
	base := t.TempDir()
	run, mine := filepath.Join(base, "run"), filepath.Join(base, "mine")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(run, "sub"), 0o777))
	must(os.Mkdir(mine, 0o777))
	for _, name := range []string{"run/file", "run/sub/file", "run/double", "mine/file"} {
		must(os.WriteFile(filepath.Join(base, name), []byte("text"), 0o666))
	}
	must(os.Link(filepath.Join(run, "double"), filepath.Join(run, "twin")))
	for name, to := range map[string]string{"out": "../mine", "leads": "../mine/file", "within": "sub", "same": "file",
		"dangling": "none"} {
		must(os.Symlink(to, filepath.Join(run, name)))
	}
	must(syscall.Mkfifo(filepath.Join(run, "pipe"), 0o666))
	must(os.Symlink("run", filepath.Join(base, "named"))) // what somebody names may be a link

	for _, dir := range []string{run, filepath.Join(base, "named")} {
		fsys := durable.Inside(dir)
		for name, want := range map[string]error{"file": nil, "sub/file": nil, "./sub/../file": nil,
			"twin": durable.ErrLink, "leads": durable.ErrLink, "same": durable.ErrLink, "dangling": durable.ErrLink,
			"out/file": durable.ErrLink, "within/file": durable.ErrLink, "none": fs.ErrNotExist,
			"none/file": fs.ErrNotExist,
			"pipe":      fs.ErrInvalid, "sub": fs.ErrInvalid, "../mine/file": fs.ErrInvalid, "..": fs.ErrInvalid} {
			is := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, want) && (want != fs.ErrInvalid || err == nil) {
					t.Errorf("%s %s: %v, want %v", what, name, err, want)
				}
			}
			begin := time.Now()
			at := dir + "/" + name
			f, err := fsys.Open(at)
			is("open", err)
			if err == nil {
				must(f.Close())
			}
			_, err = durable.ReadFile(fsys, at, 100)
			is("read", err)
			if want == durable.ErrLink {
				_, err := fsys.Stat(at)
				is("stat", err)
				_, err = fsys.Append(at)
				is("append", err)
			}
			if time.Since(begin) > 10*time.Second {
				t.Errorf("%s: it waited", name)
			}
		}
		for name, want := range map[string]error{".": nil, "sub": nil, "out": durable.ErrLink,
			"within": durable.ErrLink} {
			if _, err := fsys.ReadDir(filepath.Join(dir, name)); !errors.Is(err, want) {
				t.Errorf("list %s: %v, want %v", name, err, want)
			}
			if err := durable.WriteFile(fsys, filepath.Join(dir, name, "new"), nil); !errors.Is(err, want) {
				t.Errorf("write in %s: %v, want %v", name, err, want)
			}
		}
	}
	if left, err := os.ReadDir(mine); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// abandonedAge is how old unfinished work is that no lock tells about, when it is taken for what a killed process left.
const abandonedAge = 24 * time.Hour

var errSwept = errors.New("another process swept the folder before it was held")

// Unfinished makes a directory in dir for what will be called base, under a name that says so (TempName). SweepFree
// leaves it alone until held is closed or the process ends.
func Unfinished(fsys FS, dir, base string) (tmp string, held io.Closer, err error) {
	for range 100 {
		tmp = TempName(dir, base)
		if err = fsys.Mkdir(tmp); err != nil {
			return "", nil, err
		}
		if fsys != OS { // a test's disk knows no other process
			return tmp, io.NopCloser(nil), nil
		}
		d, oerr := os.Open(tmp)
		if err = oerr; err != nil {
			continue // swept before it was held
		}
		swept, _ := lockFile(d) // where a directory cannot be locked, its age protects it
		there, serr := os.Stat(tmp)
		if info, err := d.Stat(); !swept && err == nil && serr == nil && os.SameFile(there, info) {
			return tmp, d, nil
		}
		err = errors.Join(errSwept, serr, d.Close(), fsys.RemoveAll(tmp))
	}
	return "", nil, err
}

// SweepFree removes from dir, which others write to as well, what killed processes of this user left there under a name
// of TempName for stem; empty: for any. A directory that no process holds goes at once; what no lock tells about, when
// it is a day old.
func SweepFree(dir, stem string) error {
	left, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range left {
		at := filepath.Join(dir, e.Name())
		info, err := e.Info()
		if err != nil || !isTemp(e.Name(), stem) || !mine(info) {
			continue
		}
		errs = append(errs, sweep(at, info))
	}
	return errors.Join(errs...)
}

// sweep removes what no process holds. It has the lock until all is gone, so that nobody begins to write there
// meanwhile.
func sweep(name string, info fs.FileInfo) error {
	held, known, unlock := hold(name)
	defer unlock()
	if known && !held || !known && time.Since(info.ModTime()) > abandonedAge {
		return os.RemoveAll(name)
	}
	return nil
}

// isTemp reports whether TempName made a name for stem; empty: for any.
func isTemp(name, stem string) bool {
	rest, ok := strings.CutPrefix(name, TempPrefix)
	at := len(rest) - 2*tempBytes
	return ok && at > 1 && rest[at-1] == '-' && strings.Trim(rest[at:], "0123456789abcdef") == "" &&
		(stem == "" || rest[:at-1] == stem)
}

// InUse reports whether a process holds a directory, and whether that is known.
func InUse(dir string) (held, known bool) {
	held, known, unlock := hold(dir)
	unlock()
	return held, known
}

// hold takes the lock of a directory if it is free; unlock gives it back.
func hold(dir string) (held, known bool, unlock func()) {
	nothing := func() {}
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return false, false, nothing
	}
	d, err := os.Open(dir)
	if err != nil {
		return false, false, nothing
	}
	held, err = lockFile(d)
	return held, err == nil, func() { _ = d.Close() }
}

// Foreign reports whether what is there belongs to another user.
func Foreign(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && !mine(info)
}

// Private makes a folder that only the user can reach, or makes one that is there such a folder. It refuses one that
// is somebody else's, and one that others could have written to.
func Private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", dir)
	case !mine(info):
		return fmt.Errorf("%s is somebody else's", dir)
	case shared(info):
		return fmt.Errorf("others can write to %s: look what is in it, then chmod 700 it", dir)
	}
	if info.Mode().Perm() == 0o700 {
		return nil // on a disk that cannot be written, too
	}
	return os.Chmod(dir, 0o700)
}

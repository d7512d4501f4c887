package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Hold locks a directory of unfinished work until it is closed or the process ends, so that SweepFree leaves it alone.
// Where the system cannot lock a directory it does nothing.
func Hold(dir string) (io.Closer, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if held, err := lockFile(d); held && err == nil {
		return nil, errors.Join(&LockedError{Name: dir}, d.Close())
	}
	return d, nil
}

// SweepFree removes directories in dir that TempName named after stem and that no process holds: those that killed ones
// left. It is for a directory that others write to as well. What cannot be locked stays.
func SweepFree(dir, stem string) error {
	left, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range left {
		random, ok := strings.CutPrefix(e.Name(), TempPrefix+stem+"-")
		if !ok || !e.IsDir() || len(random) != 2*tempBytes || strings.Trim(random, "0123456789abcdef") != "" {
			continue
		}
		at := filepath.Join(dir, e.Name())
		d, err := os.Open(at)
		if err != nil {
			continue
		}
		if held, err := lockFile(d); err == nil && !held {
			errs = append(errs, os.RemoveAll(at))
		}
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

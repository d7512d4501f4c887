package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// heldAgain is how long Held waits before it tries a lock again, so that it does not take another Held for a holder.
const heldAgain = 2 * time.Millisecond

// Held tells whether a process holds the lock that Lock takes on the file name: nil where none does or there is no such
// file, a *LockedError that matches ErrLocked where one does, and another error where that cannot be found out. It
// creates and writes nothing, and does not wait for the holder.
//
// The answer may be out of date when it is used: to rely on it, take the lock. An empty lock file is free, because
// Unlock empties it. One with an owner in it, which is held or was left by a crash, is locked for some microseconds to
// find out; a Lock at that moment fails.
func Held(name string) error {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && !info.Mode().IsRegular():
		err = errors.New("not a regular file")
	case err == nil && info.Size() == 0:
		return nil
	}
	var locked *LockedError
	if err == nil {
		if locked, err = tryLock(name); locked != nil {
			time.Sleep(heldAgain)
			locked, err = tryLock(name)
		}
	}
	if err != nil {
		return fmt.Errorf("durable: test the lock %s: %w", name, err)
	}
	if locked != nil {
		return locked
	}
	return nil
}

// tryLock takes a lock and gives it back, or tells who holds it.
func tryLock(name string) (locked *LockedError, err error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0) // a network disk locks only what can be written
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil { // somebody else's, or a disk that cannot be written
		f, err = os.Open(name)
	}
	if err != nil {
		return nil, err
	}
	held, err := lockFile(f)
	if err == nil && held {
		locked = &LockedError{Name: name}
		var o owner
		if data, rerr := io.ReadAll(io.LimitReader(f, 4096)); rerr == nil && json.Unmarshal(data, &o) == nil {
			locked.PID, locked.Host, locked.Since = o.PID, o.Host, o.Since
		}
	}
	return locked, errors.Join(err, f.Close()) // closing also frees the lock
}

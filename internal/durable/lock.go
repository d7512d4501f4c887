package durable

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// ErrLocked is matched by the error of Lock when another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// LockedError says who holds a lock. The holder writes these fields into the lock file.
type LockedError struct {
	Name  string    `json:"-"`     // the lock file
	PID   int       `json:"pid"`   // of the holder; 0: unknown
	Host  string    `json:"host"`  // machine that the holder runs on
	Since time.Time `json:"since"` // when it took the lock
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d on %s (since %s)", e.PID, e.Host, e.Since.Format(time.DateTime))
	}
	return fmt.Sprintf("durable: lock %s: held by %s: wait for it or stop it; a lock ends with its process, "+
		"so a lock file that is left over does not block and need not be deleted "+
		"(on a network disk, look on the machine named)", e.Name, who)
}

// Is reports whether target is ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// FileLock is a lock that was taken. It lasts until Unlock or the end of the process.
type FileLock struct{ f *os.File }

// Lock takes the exclusive lock on the file name, creating it, without waiting. It is a lock of the operating system
// (flock, LockFileEx): it ends with its process, so there are no stale locks. A second Lock in the same process fails
// like one from another. If the lock is held, the error is a *LockedError. The directory must exist. It refuses a link
// (ErrLink).
func Lock(name string) (_ *FileLock, err error) {
	f, err := openOwn(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err == nil {
		if err = acquire(f); err == nil {
			err = writeOwner(f)
		}
		if err == nil {
			return &FileLock{f}, nil
		}
		err = errors.Join(err, f.Close()) // closing also frees the lock
	}
	if !errors.Is(err, ErrLocked) {
		wrap(&err, "lock", name)
	}
	return nil, err
}

// acquire locks f, or returns a *LockedError that says who holds it.
func acquire(f *os.File) error {
	held, err := lockFile(f)
	if err != nil || !held {
		return err
	}
	var locked LockedError
	if data, err := io.ReadAll(io.LimitReader(f, 4096)); err != nil || json.Unmarshal(data, &locked) != nil {
		locked = LockedError{} // part of it may have been read
	}
	locked.Name = f.Name()
	return &locked
}

// writeOwner replaces the content of the lock file. It only informs whoever is refused, so it is not synced.
func writeOwner(f *os.File) error {
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed host"
	}
	data, err := json.Marshal(LockedError{PID: os.Getpid(), Host: host, Since: time.Now().Round(time.Second)})
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(data, '\n'), 0)
	return err
}

// Unlock frees the lock. The file stays, empty: deleting it would let two later processes each lock a file of that
// name. A second call does nothing.
func (l *FileLock) Unlock() (err error) {
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	err = errors.Join(f.Truncate(0), f.Close())
	wrap(&err, "unlock", f.Name())
	return err
}

// heldAgain is how long Held waits before it tries a lock again, so that it does not take another Held for the holder.
const heldAgain = 2 * time.Millisecond

// Held tells whether a process holds the lock that Lock takes on the file name. It returns nil if none does or there is
// no such file, a *LockedError if one does, and another error if that cannot be found out. It creates and writes
// nothing, and does not wait for the holder.
//
// The answer may be out of date when it is used: to rely on it, take the lock. An empty lock file is free, because
// Unlock empties it. Held locks a file with content for some microseconds to find out whether its owner still runs; a
// Lock at that moment fails.
func Held(name string) error {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Mode().IsRegular() && info.Size() == 0:
		return nil
	case err == nil && !info.Mode().IsRegular():
		err = errors.New("not a regular file")
	case err == nil:
		if err = tryLock(name); errors.Is(err, ErrLocked) {
			time.Sleep(heldAgain)
			err = tryLock(name)
		}
	}
	if !errors.Is(err, ErrLocked) {
		wrap(&err, "test the lock", name)
	}
	return err
}

// tryLock takes a lock and gives it back.
func tryLock(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0) // a network disk locks only what can be written
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil { // somebody else's, or a disk that cannot be written
		f, err = os.Open(name)
	}
	if err != nil {
		return err
	}
	return cmp.Or(acquire(f), f.Close()) // closing also frees the lock
}

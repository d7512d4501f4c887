package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// ErrLocked is matched by the error of Lock when another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// LockedError tells who holds a lock. PID is 0 when the owner could not be read.
type LockedError struct {
	Name  string    // the lock file
	PID   int       // process that holds it
	Host  string    // machine that process runs on
	Since time.Time // when it took the lock
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

// owner is what the holder writes into the lock file.
type owner struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// Lock takes the exclusive lock on the file name, creating it, without waiting. It is a lock of the operating
// system (flock, LockFileEx): it vanishes with its process, however that ends, so there are no stale locks.
// A second Lock in the same process fails like one from another. When it is held, the error is a
// *LockedError and matches ErrLocked. The directory must exist.
func Lock(name string) (*FileLock, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("durable: lock %s: %w", name, mark(err))
	}
	held, err := lockFile(f)
	if err == nil && held {
		locked := &LockedError{Name: name}
		var o owner
		if data, rerr := io.ReadAll(io.LimitReader(f, 4096)); rerr == nil && json.Unmarshal(data, &o) == nil {
			locked.PID, locked.Host, locked.Since = o.PID, o.Host, o.Since
		}
		err = locked
	} else if err == nil {
		err = writeOwner(f)
	}
	if err != nil {
		err = errors.Join(err, f.Close()) // closing also frees the lock
		if errors.Is(err, ErrLocked) {
			return nil, err
		}
		return nil, fmt.Errorf("durable: lock %s: %w", name, mark(err))
	}
	return &FileLock{f}, nil
}

// writeOwner replaces the content of the lock file. It is a courtesy to whoever is refused, so it is not synced.
func writeOwner(f *os.File) error {
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed host"
	}
	data, err := json.Marshal(owner{os.Getpid(), host, time.Now().Round(time.Second)})
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(data, '\n'), 0)
	return err
}

// Unlock frees the lock. The file stays, empty: deleting it would let two later processes each lock a file
// of that name. A second call does nothing.
func (l *FileLock) Unlock() error {
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	if err := errors.Join(f.Truncate(0), f.Close()); err != nil {
		return fmt.Errorf("durable: unlock %s: %w", f.Name(), err)
	}
	return nil
}

// Package durable writes everything that must survive a crash.
//
// Most callers want WriteFile and Lock. WriteFile replaces a file so that a reader finds the old content or the new,
// never a mixture, even if the process or the machine dies. Lock keeps two processes from one run. Packages with a
// protocol of their own, such as checkpoint, use the parts: FS, File, WriteNew, Mkdir. Map and FreeSpace are helpers
// close to the system.
//
// All functions that take an FS can run on crash.FS (subpackage crash), which loses what was not synced and fails the
// operation it is told to. Tests go through every operation of a protocol with it.
//
// A failed fsync ends the attempt. The system may have dropped the pages that it could not write, and a second fsync of
// the same file would then report success for lost data. A retry must write a new file.
//
// The package hides no errors, and does not retry, cache or read configuration.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// FS is the set of file operations that protocols on disk are built from. Names are paths of the operating system. OS
// is the real file system, crash.FS the one for tests. Errors match fs.ErrNotExist, fs.ErrExist and ErrNoSpace.
type FS interface {
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Create opens a new or emptied file for reading and writing.
	Create(name string) (File, error)
	// Append opens an existing or new file for reading, and for writing at its end. OS refuses a link (ErrLink).
	Append(name string) (File, error)
	// Mkdir makes a directory and all its missing parents. It syncs nothing; see the function Mkdir.
	Mkdir(name string) error
	// Rename gives a file or directory a new name in one step, and replaces a file of that name.
	Rename(from, to string) error
	// Remove deletes a file or an empty directory.
	Remove(name string) error
	// RemoveAll deletes name and all below it; a name that does not exist is no error.
	RemoveAll(name string) error
	// ReadDir lists a directory in the order of names.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Stat describes a file. It follows symbolic links.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the names in a directory durable: what was created, renamed or removed in it.
	SyncDir(name string) error
}

// File is an open file of an FS. Close reports errors of delayed writes: check it.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.Closer
	// Sync makes the content durable. After an error the file must not be synced again but written anew.
	Sync() error
	Stat() (fs.FileInfo, error)
}

// ErrNoSpace is matched by every error that means a full disk or an exhausted quota (ENOSPC, EDQUOT; on Windows
// ERROR_DISK_FULL, ERROR_HANDLE_DISK_FULL, ERROR_DISK_QUOTA_EXCEEDED).
var ErrNoSpace = errors.New("the disk or the quota is full: free some space or raise the quota, then try again")

// OS is the file system of the operating system. Safe for concurrent use.
var OS FS = osFS{}

// mark makes an error of a full disk match ErrNoSpace.
func mark(err error) error {
	if err == nil || errors.Is(err, ErrNoSpace) {
		return err
	}
	for _, full := range diskFull {
		if errors.Is(err, full) {
			return fmt.Errorf("%w: %w", err, ErrNoSpace)
		}
	}
	return err
}

// wrap adds to an error what was done, and to which file.
func wrap(err *error, what, name string) {
	if *err != nil {
		*err = fmt.Errorf("durable: %s %s: %w", what, name, mark(*err))
	}
}

type osFS struct{}

func (osFS) open(name string, flag int) (File, error) {
	if info, err := os.Stat(name); err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeDevice) != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a file: reading it could wait forever")}
	}
	f, err := os.OpenFile(name, flag, 0o666)
	if err != nil {
		return nil, mark(err)
	}
	return osFile{f}, nil
}

func (o osFS) Open(name string) (File, error) { return o.open(name, os.O_RDONLY) }
func (o osFS) Create(name string) (File, error) {
	return o.open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}
func (o osFS) Append(name string) (File, error) {
	f, err := openOwn(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, mark(err)
	}
	return osFile{f}, nil
}
func (osFS) Mkdir(name string) error                    { return mark(os.MkdirAll(name, 0o777)) }
func (osFS) Rename(from, to string) error               { return mark(rename(from, to)) }
func (osFS) Remove(name string) error                   { return mark(os.Remove(name)) }
func (osFS) RemoveAll(name string) error                { return mark(os.RemoveAll(name)) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)      { return os.Stat(name) }
func (osFS) SyncDir(name string) error                  { return mark(syncDir(name)) }

// osFile is an os.File whose errors of a full disk match ErrNoSpace. It does not embed the os.File: ReadFrom and
// WriteString would then write past mark.
type osFile struct{ f *os.File }

func (o osFile) Read(p []byte) (int, error)              { return o.f.Read(p) }
func (o osFile) ReadAt(p []byte, off int64) (int, error) { return o.f.ReadAt(p, off) }
func (o osFile) Stat() (fs.FileInfo, error)              { return o.f.Stat() }
func (o osFile) Sync() error                             { return mark(o.f.Sync()) }
func (o osFile) Close() error                            { return mark(o.f.Close()) }
func (o osFile) Write(p []byte) (int, error) {
	n, err := o.f.Write(p)
	return n, mark(err)
}

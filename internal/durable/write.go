package durable

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// TempPrefix begins the name of everything unfinished. Sweep removes what a killed process left under such a name.
const TempPrefix = ".tmp-"

const tempBytes = 6 // of the random part of a name

// TempName returns a new name for unfinished work in dir: TempPrefix, stem and a random part, so that no two attempts
// share files.
func TempName(dir, stem string) string {
	var b [tempBytes]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return filepath.Join(dir, TempPrefix+stem+"-"+hex.EncodeToString(b[:]))
}

// WriteFile replaces the content of name by data, or creates it. See WriteWith.
func WriteFile(fsys FS, name string, data []byte) error { return WriteWith(fsys, name, Bytes(data)) }

// Bytes returns the function for WriteWith or WriteNew that writes data.
func Bytes(data []byte) func(io.Writer) error {
	return func(w io.Writer) error { _, err := w.Write(data); return err }
}

// WriteWith replaces the content of name by what fn writes, or creates it: it writes a temporary file in the same
// directory, syncs it, closes it, renames it to name, and syncs the directory.
//
// Failure: before the rename name is untouched, and the temporary file is removed. If the last sync of the directory
// fails, name holds the new content but may return to the old one after a power loss. The directory must exist.
func WriteWith(fsys FS, name string, fn func(io.Writer) error) (err error) {
	defer wrap(&err, "write", name)
	dir := filepath.Dir(name)
	tmp := TempName(dir, filepath.Base(name))
	if err = WriteNew(fsys, tmp, fn); err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err != nil {
		if rerr := fsys.Remove(tmp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = fmt.Errorf("%w (temporary file stays: %v)", err, rerr)
		}
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("sync its directory: %w", err)
	}
	return nil
}

// WriteNew creates name, writes what fn writes (buffered), syncs and closes it. It does not sync the directory: it is
// for a file of a directory that is itself made durable afterwards. After an error the file is not complete; remove
// it.
func WriteNew(fsys FS, name string, fn func(io.Writer) error) (err error) {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<15)
	if err := fn(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// ReadFile returns the content of a regular file of at most limit bytes. It never allocates much more than the file
// holds, and never waits on a pipe or device.
func ReadFile(fsys FS, name string, limit int64) (data []byte, err error) {
	defer wrap(&err, "read", name)
	info, err := fsys.Stat(name)
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if size <= limit {
		f, err := fsys.Open(name)
		if err != nil {
			return nil, err
		}
		data, err = io.ReadAll(io.LimitReader(f, limit+1)) // it may have grown since
		if err = cmp.Or(err, f.Close()); err != nil {
			return nil, err
		}
		size = int64(len(data))
	}
	if size > limit {
		return nil, fmt.Errorf("%d bytes, at most %d are expected: not the right file?", size, limit)
	}
	return data, nil
}

// Mkdir makes a directory and its missing parents, and syncs the directory that holds each new one, so that what is
// written below survives a power loss.
func Mkdir(fsys FS, name string) (err error) {
	name = filepath.Clean(name)
	defer wrap(&err, "make directory", name)
	var made []string
	for d := name; ; d = filepath.Dir(d) {
		info, err := fsys.Stat(d)
		if err == nil {
			if !info.IsDir() {
				return fmt.Errorf("%s is a file: move it away or choose another directory", d)
			}
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || d == filepath.Dir(d) {
			return err
		}
		made = append(made, d)
	}
	if len(made) == 0 {
		return nil
	}
	if err := fsys.Mkdir(name); err != nil {
		return err
	}
	for _, d := range made {
		if err := fsys.SyncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes the unfinished work (names that begin with TempPrefix) that killed processes left in dir. The caller
// must be the only writer there: hold the lock. A missing dir is no error.
func Sweep(fsys FS, dir string) (err error) {
	defer wrap(&err, "sweep", dir)
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if err == nil && strings.HasPrefix(e.Name(), TempPrefix) {
			err = fsys.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
	return err
}

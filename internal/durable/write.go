package durable

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// TempPrefix begins the name of everything unfinished. What a killed process leaves under such a name is
// litter; Sweep removes it.
const TempPrefix = ".tmp-"

// TempName returns a fresh name for unfinished work in dir: TempPrefix, stem, and a random part, so that no
// two attempts share files.
func TempName(dir, stem string) string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return filepath.Join(dir, TempPrefix+stem+"-"+hex.EncodeToString(b[:]))
}

// WriteFile replaces the content of name by data, or creates it. See WriteWith.
func WriteFile(fsys FS, name string, data []byte) error {
	return WriteWith(fsys, name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// WriteWith replaces the content of name by what fn writes, or creates it: a temporary file in the same
// directory is written, synced, closed and renamed to name, and the directory is synced.
//
// Failure: until the rename, name is untouched, and the temporary file is removed. If the error comes from
// the last sync of the directory, name holds the new content but may fall back to the old one after a
// power loss. The directory must exist.
func WriteWith(fsys FS, name string, fn func(io.Writer) error) error {
	dir := filepath.Dir(name)
	tmp := TempName(dir, filepath.Base(name))
	err := WriteNew(fsys, tmp, fn)
	if err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err != nil {
		err = fmt.Errorf("durable: write %s: %w", name, err)
		if rerr := fsys.Remove(tmp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = fmt.Errorf("%w (temporary file stays: %v)", err, rerr)
		}
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("durable: write %s: sync its directory: %w", name, err)
	}
	return nil
}

// WriteNew creates name, writes what fn writes (buffered), syncs and closes it. It neither renames nor syncs
// the directory: it is for a file of a directory that is itself made durable afterwards. After an error
// what is there is no complete file and must be removed.
func WriteNew(fsys FS, name string, fn func(io.Writer) error) (err error) {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	w := bufio.NewWriterSize(f, 1<<15)
	if err := fn(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// ReadFile returns the content of a regular file of at most limit bytes. It never allocates much more than
// the file holds, and never waits on a pipe or device.
func ReadFile(fsys FS, name string, limit int64) (data []byte, err error) {
	info, err := fsys.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("durable: read %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("durable: read %s: not a regular file", name)
	}
	tooLarge := func(n int64) error {
		return fmt.Errorf("durable: read %s: %d bytes, at most %d are expected: not the right file?", name, n, limit)
	}
	if info.Size() > limit {
		return nil, tooLarge(info.Size())
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("durable: read %s: %w", name, err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			data, err = nil, fmt.Errorf("durable: read %s: %w", name, cerr)
		}
	}()
	data, err = io.ReadAll(io.LimitReader(f, limit+1)) // it may have grown since
	if err != nil {
		return nil, fmt.Errorf("durable: read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, tooLarge(int64(len(data)))
	}
	return data, nil
}

// Mkdir makes a directory and its missing parents, and syncs the directory that holds each new one, so that
// what is written below survives a power loss.
func Mkdir(fsys FS, name string) error {
	name = filepath.Clean(name)
	var made []string
	for d := name; ; d = filepath.Dir(d) {
		info, err := fsys.Stat(d)
		if err == nil {
			if !info.IsDir() {
				return fmt.Errorf("durable: make directory %s: %s is a file: move it away or choose another directory",
					name, d)
			}
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || d == filepath.Dir(d) {
			return fmt.Errorf("durable: make directory %s: %w", name, err)
		}
		made = append(made, d)
	}
	if len(made) == 0 {
		return nil
	}
	if err := fsys.Mkdir(name); err != nil {
		return fmt.Errorf("durable: make directory %s: %w", name, err)
	}
	for _, d := range made {
		if err := fsys.SyncDir(filepath.Dir(d)); err != nil {
			return fmt.Errorf("durable: make directory %s: %w", name, err)
		}
	}
	return nil
}

// Sweep removes the unfinished work (names beginning with TempPrefix) that killed processes left in dir, and
// returns the names. The caller must be the only writer there: hold the lock. A missing dir is no error.
func Sweep(fsys FS, dir string) (removed []string, err error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("durable: sweep %s: %w", dir, err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), TempPrefix) {
			continue
		}
		if err := fsys.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return removed, fmt.Errorf("durable: sweep %s: %w", dir, err)
		}
		removed = append(removed, e.Name())
	}
	return removed, nil
}

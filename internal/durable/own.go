package durable

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrLink is matched by errors about a file that is written in place and may be somebody else's.
var ErrLink = errors.New("it is a link, or has a second name elsewhere, or is no regular file, and writing to it " +
	"could change what belongs to something else: delete it, or put a copy in its place")

// openOwn opens a file that is written in place, or makes it. It refuses with ErrLink what may be somebody else's: a
// run from elsewhere can hold links to files of its reader. It does not wait for a pipe.
func openOwn(name string, flag int, mode fs.FileMode) (f *os.File, err error) {
	root, err := OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	base := filepath.Base(name)
	if info, err := root.Lstat(base); err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrLink}
	}
	if f, err = root.OpenFile(base, flag|nonblock, mode); err != nil {
		return nil, err
	}
	there, err := root.Lstat(base)
	info, serr := f.Stat()
	if err = cmp.Or(err, serr); err == nil && (!os.SameFile(there, info) || !info.Mode().IsRegular() ||
		links(info) > 1) {
		err = &fs.PathError{Op: "open", Path: name, Err: ErrLink}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// OpenRoot opens a directory as a root. Opening what is none, a pipe that nobody writes to above all, would wait.
func OpenRoot(path string) (*os.Root, error) {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a directory")}
	}
	if err != nil {
		return nil, err
	}
	return os.OpenRoot(path)
}

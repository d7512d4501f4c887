package durable

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrLink is matched by errors about a file that may belong to something else.
var ErrLink = errors.New("it is a link, or has a second name elsewhere, so it may belong to something else: " +
	"put a copy in its place")

var errIrregular = errors.New("not a regular file")

// Inside returns OS for a directory that may be a stranger's: nothing below dir is opened or listed through a link, and
// no file that has a second name (ErrLink), is no regular file, or does not lie below dir. dir itself may be a link:
// somebody named it.
func Inside(dir string) FS { return inside{osFS{}, filepath.Clean(dir)} }

type inside struct {
	FS
	dir string
}

// within opens the directory, and returns a name as seen from it. It refuses a name that leads through a link. The
// caller closes the root.
func (in inside) within(name string) (root *os.Root, rel string, err error) {
	if rel, err = filepath.Rel(in.dir, name); err == nil && !filepath.IsLocal(rel) {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("it is not below " + in.dir)}
	}
	if err == nil {
		root, err = OpenRoot(in.dir)
	}
	if err != nil {
		return nil, "", err
	}
	for i := range rel {
		if !os.IsPathSeparator(rel[i]) {
			continue
		}
		if info, err := root.Lstat(rel[:i]); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil, "", errors.Join(&fs.PathError{Op: "open", Path: filepath.Join(in.dir, rel[:i]), Err: ErrLink},
				root.Close())
		}
	}
	return root, rel, nil
}

// open opens a regular file with one name, or with os.O_CREATE makes it.
func (in inside) open(name string, flag int) (f *os.File, err error) {
	root, rel, err := in.within(name)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if info, err := root.Lstat(rel); err == nil && refused(info) != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: refused(info)}
	}
	if f, err = root.OpenFile(rel, flag|nonblock, 0o666); err != nil {
		return nil, mark(err)
	}
	there, err := root.Lstat(rel) // what was opened, and not what was there before
	info, serr := f.Stat()
	if err = cmp.Or(err, serr); err == nil {
		if err = refused(info); err == nil && !os.SameFile(there, info) {
			err = ErrLink
		}
	}
	if err != nil {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: name, Err: err}, f.Close())
	}
	return f, nil
}

// refused says why a file is not opened; nil: it is.
func refused(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0, mode.IsRegular() && links(info) > 1:
		return ErrLink
	case !mode.IsRegular():
		return errIrregular
	}
	return nil
}

func (in inside) Open(name string) (File, error) {
	f, err := in.open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (in inside) Append(name string) (File, error) {
	f, err := in.open(name, os.O_RDWR|os.O_CREATE|os.O_APPEND)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Stat describes a file or directory that is no link, and a file that has one name.
func (in inside) Stat(name string) (fs.FileInfo, error) {
	root, rel, err := in.within(name)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Lstat(rel)
	if err == nil && errors.Is(refused(info), ErrLink) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: ErrLink}
	}
	return info, err
}

func (in inside) ReadDir(name string) ([]fs.DirEntry, error) {
	if _, err := in.Stat(name); err != nil {
		return nil, err
	}
	return in.FS.ReadDir(name)
}

func (in inside) Create(name string) (File, error) {
	root, _, err := in.within(name)
	if err != nil {
		return nil, err
	}
	if err := root.Close(); err != nil {
		return nil, err
	}
	return in.FS.Create(name) // WriteNew gets a new name, which is no link
}

// openOwn opens a file that is written in place, or makes it. It refuses with ErrLink what may be somebody else's: a
// run from elsewhere can hold links to files of its reader.
func openOwn(name string, flag int) (*os.File, error) {
	return inside{dir: filepath.Dir(name)}.open(name, flag)
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

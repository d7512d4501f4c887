package crash

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gimbal/internal/durable"
)

// split cuts a path into its parts from the root.
func split(name string) []string {
	name = filepath.ToSlash(filepath.Clean(name))
	name = strings.Trim(strings.TrimPrefix(name, filepath.ToSlash(filepath.VolumeName(name))), "/")
	if name == "." || name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

// fail is the error of an operation on a path.
func fail(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

var (
	errIsDir  = errors.New("is a directory")
	errNotDir = errors.New("not a directory")
)

// find returns the node of a path, nil when there is none.
func (f *FS) find(name string) *node {
	n := f.root
	for _, part := range split(name) {
		if n == nil || !n.dir {
			return nil
		}
		n = n.names[part]
	}
	return n
}

// parent returns the directory that holds name, and the last part of the path.
func (f *FS) parent(op, name string) (*node, string, error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", fail(op, name, fs.ErrInvalid)
	}
	d := f.find(strings.Join(parts[:len(parts)-1], "/"))
	if d == nil || !d.dir {
		return nil, "", fail(op, name, fs.ErrNotExist)
	}
	return d, parts[len(parts)-1], nil
}

// bind changes names, visibly now and durably later.
func (f *FS) bind(c ...binding) {
	for _, b := range c {
		b.apply(b.dir.names)
	}
	f.pending = append(f.pending, c)
}

// do counts an operation and does it, under the lock.
func (f *FS) do(change bool, op, name string, act func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op(change, "%s %s", op, name); err != nil {
		return err
	}
	return act()
}

func (f *FS) openFile(op, name string, create, truncate bool, flag int) (durable.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, base, err := f.parent(op, name)
	var n *node
	if err == nil {
		n = d.names[base]
	}
	// Opening an existing file for appending changes nothing.
	if oerr := f.op(create && (n == nil || truncate), "%s %s", op, name); oerr != nil {
		return nil, oerr
	}
	switch {
	case err != nil:
		return nil, err
	case n == nil && !create:
		return nil, fail(op, name, fs.ErrNotExist)
	case n == nil:
		n = &node{}
		f.bind(binding{d, base, n})
	case n.dir && create:
		return nil, fail(op, name, errIsDir)
	case truncate:
		n.data = nil
	}
	return &file{fs: f, n: n, name: name, flag: flag}, nil
}

// Open implements durable.FS.
func (f *FS) Open(name string) (durable.File, error) {
	return f.openFile("open", name, false, false, readOnly)
}

// Create implements durable.FS.
func (f *FS) Create(name string) (durable.File, error) {
	return f.openFile("create", name, true, true, 0)
}

// Append implements durable.FS.
func (f *FS) Append(name string) (durable.File, error) {
	return f.openFile("append", name, true, false, appends)
}

// Mkdir implements durable.FS.
func (f *FS) Mkdir(name string) error {
	return f.do(true, "mkdir", name, func() error {
		n := f.root
		for _, part := range split(name) {
			next := n.names[part]
			if next == nil {
				next = newDir()
				f.bind(binding{n, part, next})
			} else if !next.dir {
				return fail("mkdir", name, errNotDir)
			}
			n = next
		}
		return nil
	})
}

// Rename implements durable.FS.
func (f *FS) Rename(from, to string) error {
	return f.do(true, "rename", from+" "+to, func() error {
		fd, fbase, err := f.parent("rename", from)
		if err != nil {
			return err
		}
		td, tbase, err := f.parent("rename", to)
		if err != nil {
			return err
		}
		n := fd.names[fbase]
		if n == nil {
			return fail("rename", from, fs.ErrNotExist)
		}
		if old := td.names[tbase]; old != nil && old != n && (old.dir || n.dir) {
			return fail("rename", to, fs.ErrExist)
		}
		f.bind(binding{fd, fbase, nil}, binding{td, tbase, n})
		return nil
	})
}

// Remove implements durable.FS.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remove(name)
}

func (f *FS) remove(name string) error {
	if err := f.op(true, "remove %s", name); err != nil {
		return err
	}
	d, base, err := f.parent("remove", name)
	if err != nil {
		return err
	}
	n := d.names[base]
	if n == nil {
		return fail("remove", name, fs.ErrNotExist)
	}
	if n.dir && len(n.names) > 0 {
		return fail("remove", name, errors.New("directory not empty"))
	}
	f.bind(binding{d, base, nil})
	return nil
}

// RemoveAll implements durable.FS: one operation for each thing removed, leaves first.
func (f *FS) RemoveAll(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.find(name)
	if n == nil {
		return f.op(false, "removeall %s", name)
	}
	return f.removeAll(n, name)
}

func (f *FS) removeAll(n *node, name string) error {
	for _, child := range slices.Sorted(maps.Keys(n.names)) {
		if err := f.removeAll(n.names[child], filepath.Join(name, child)); err != nil {
			return err
		}
	}
	return f.remove(name)
}

// ReadDir implements durable.FS.
func (f *FS) ReadDir(name string) (list []fs.DirEntry, err error) {
	err = f.do(false, "readdir", name, func() error {
		n := f.find(name)
		if n == nil {
			return fail("readdir", name, fs.ErrNotExist)
		}
		if !n.dir {
			return fail("readdir", name, errNotDir)
		}
		for _, child := range slices.Sorted(maps.Keys(n.names)) {
			list = append(list, fs.FileInfoToDirEntry(infoOf(n.names[child], child)))
		}
		return nil
	})
	return list, err
}

// Stat implements durable.FS.
func (f *FS) Stat(name string) (info fs.FileInfo, err error) {
	err = f.do(false, "stat", name, func() error {
		n := f.find(name)
		if n == nil {
			return fail("stat", name, fs.ErrNotExist)
		}
		info = infoOf(n, filepath.Base(name))
		return nil
	})
	return info, err
}

// SyncDir implements durable.FS.
func (f *FS) SyncDir(name string) error {
	return f.do(true, "syncdir", name, func() error {
		d := f.find(name)
		if d == nil || !d.dir {
			return fail("syncdir", name, fs.ErrNotExist)
		}
		f.pending = slices.DeleteFunc(f.pending, func(c change) bool {
			if !slices.ContainsFunc(c, func(b binding) bool { return b.dir == d }) {
				return false
			}
			for _, b := range c {
				b.apply(b.dir.disk)
			}
			return true
		})
		return nil
	})
}

// info describes a node.
type info struct {
	name string
	size int64
	dir  bool
}

func infoOf(n *node, name string) info { return info{name, int64(len(n.data)), n.dir} }

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) IsDir() bool        { return i.dir }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o777
	}
	return 0o666
}

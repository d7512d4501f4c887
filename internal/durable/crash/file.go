package crash

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"
)

// Kinds of open files.
const (
	readOnly = 1 << iota
	appends
)

// file is an open file; it keeps its content when the name moves or goes.
type file struct {
	fs     *FS
	n      *node
	name   string
	flag   int
	pos    int64
	closed bool
}

func (h *file) op(change bool, what string) error {
	if err := h.fs.op(change, "%s %s", what, h.name); err != nil {
		return err
	}
	if h.closed {
		return &fs.PathError{Op: what, Path: h.name, Err: fs.ErrClosed}
	}
	if h.n.dir && what != "stat" && what != "close" {
		return &fs.PathError{Op: what, Path: h.name, Err: errors.New("is a directory")}
	}
	return nil
}

func (h *file) Read(p []byte) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	n, err := h.read(p, h.pos)
	h.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (h *file) ReadAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: h.name, Err: fs.ErrInvalid}
	}
	return h.read(p, off)
}

func (h *file) read(p []byte, off int64) (int, error) {
	if err := h.op(false, "read"); err != nil {
		return 0, err
	}
	if off >= int64(len(h.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *file) Write(p []byte) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.flag&readOnly != 0 {
		return 0, &fs.PathError{Op: "write", Path: h.name, Err: fs.ErrPermission}
	}
	err := h.op(true, "write")
	if err != nil {
		if errors.Is(err, ErrStopped) || h.closed || h.n.dir {
			return 0, err
		}
		p = p[:len(p)/2]
	}
	if h.flag&appends != 0 {
		h.pos = int64(len(h.n.data))
	}
	end := h.pos + int64(len(p))
	if end > int64(len(h.n.data)) {
		h.n.data = append(h.n.data, make([]byte, end-int64(len(h.n.data)))...)
	}
	copy(h.n.data[h.pos:], p)
	h.pos = end
	return len(p), err
}

func (h *file) Sync() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.op(true, "sync"); err != nil {
		if !errors.Is(err, ErrStopped) {
			h.n.lost = true
		}
		return err
	}
	if !h.n.lost {
		h.n.synced = slices.Clone(h.n.data)
	}
	return nil
}

func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	err := h.op(h.flag&readOnly == 0, "close")
	h.closed = true
	return err
}

func (h *file) Stat() (fs.FileInfo, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.op(false, "stat"); err != nil {
		return nil, err
	}
	return infoOf(h.n, filepath.Base(h.name)), nil
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

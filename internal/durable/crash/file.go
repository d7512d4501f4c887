package crash

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
)

// Kinds of open files.
const (
	readOnly = 1 << iota
	appends
)

// file is an open file. It keeps its content when the name is moved or removed.
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
		return fail(what, h.name, fs.ErrClosed)
	}
	if h.n.dir && what != "stat" && what != "close" {
		return fail(what, h.name, errIsDir)
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
		return 0, fail("read", h.name, fs.ErrInvalid)
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
		return 0, fail("write", h.name, fs.ErrPermission)
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
	if end := h.pos + int64(len(p)); end > int64(len(h.n.data)) {
		h.n.data = append(h.n.data, make([]byte, end-int64(len(h.n.data)))...)
	}
	h.pos += int64(copy(h.n.data[h.pos:], p))
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

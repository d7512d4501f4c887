package durable

import (
	"cmp"
	"fmt"
	"math"
	"os"
)

// Mapping is a file in memory. The system reads a page when it is first touched, and shares it with other processes.
type Mapping struct {
	data  []byte
	unmap func() error // nil when there is nothing to give back
}

// Map maps a whole regular file for reading. Where the system has no memory mapping it reads the file.
//
// The file must not be truncated while it is mapped: touching a page that is gone kills the process. WriteFile replaces
// files and never truncates them, so their readers keep the old content.
func Map(name string) (m *Mapping, err error) {
	defer wrap(&err, "map", name)
	f, err := openOwn(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { err = cmp.Or(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch size := info.Size(); {
	case size > math.MaxInt:
		return nil, fmt.Errorf("%d bytes do not fit the address space of this machine", size)
	case size == 0:
		return new(Mapping), nil // systems refuse to map nothing
	default:
		data, unmap, err := mapFile(f, int(size))
		return &Mapping{data, unmap}, err
	}
}

// Bytes returns the content. It must not be written to nor used after Close. Safe for concurrent use.
func (m *Mapping) Bytes() []byte { return m.data }

// Close gives the mapping back. A second call does nothing.
func (m *Mapping) Close() error {
	unmap := m.unmap
	m.data, m.unmap = nil, nil
	if unmap == nil {
		return nil
	}
	if err := unmap(); err != nil {
		return fmt.Errorf("durable: unmap: %w", err)
	}
	return nil
}

// FreeSpace returns the bytes that this user may still write to the file system of dir. Quotas may allow less: only
// writing tells.
func FreeSpace(dir string) (bytes uint64, err error) {
	defer wrap(&err, "free space of", dir)
	return freeSpace(dir)
}

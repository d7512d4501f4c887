package durable

import (
	"fmt"
	"math"
	"os"
)

// Mapping is a file seen as memory. Its pages are read when first touched and shared with other processes.
type Mapping struct {
	data  []byte
	unmap func() error // nil when there is nothing to give back
}

// Map maps a whole regular file for reading. Where the system has no memory mapping the file is read instead.
//
// The file must not be truncated while it is mapped: touching a page that is gone kills the process. Files
// written with WriteFile are replaced, never truncated, so their readers keep the old content.
func Map(name string) (m *Mapping, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("durable: map %s: %w", name, err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("durable: map %s: %w", name, cerr)
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("durable: map %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("durable: map %s: not a regular file", name)
	}
	size := info.Size()
	if size == 0 {
		return &Mapping{}, nil // systems refuse to map nothing
	}
	if size > math.MaxInt {
		return nil, fmt.Errorf("durable: map %s: %d bytes do not fit the address space of this machine", name, size)
	}
	data, unmap, err := mapFile(f, int(size))
	if err != nil {
		return nil, fmt.Errorf("durable: map %s: %w", name, err)
	}
	return &Mapping{data, unmap}, nil
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

// FreeSpace returns the bytes that this user may still write to the file system that holds dir. Quotas may
// allow less: only writing tells.
func FreeSpace(dir string) (bytes uint64, err error) {
	n, err := freeSpace(dir)
	if err != nil {
		return 0, fmt.Errorf("durable: free space of %s: %w", dir, err)
	}
	return n, nil
}

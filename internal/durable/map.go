package durable

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"unsafe"
)

// Mapping is a file in memory. The system reads a page when it is first touched, and shares it with other processes.
type Mapping struct {
	name  string
	data  []byte
	unmap func() error // nil when there is nothing to give back
}

// ErrShrunk is matched by the error of Shrunk.
var ErrShrunk = errors.New("it got shorter while it was in use, or its disk failed: what was read of it is gone")

// mappings are those that are open, for Shrunk.
var mappings struct {
	sync.Mutex
	open []*Mapping
}

// Shrunk returns the error of a recovered panic if a page of a mapping could not be read, else nil. There is a panic in
// goroutines that have called debug.SetPanicOnFault; elsewhere the process dies.
func Shrunk(value any) error {
	var fault interface{ Addr() uintptr }
	if err, ok := value.(error); !ok || !errors.As(err, &fault) {
		return nil
	}
	mappings.Lock()
	defer mappings.Unlock()
	for _, m := range mappings.open {
		begin := uintptr(unsafe.Pointer(unsafe.SliceData(m.data)))
		if at := fault.Addr(); at >= begin && at-begin < uintptr(len(m.data)) {
			return fmt.Errorf("%s: %w", m.name, ErrShrunk)
		}
	}
	return nil
}

// CatchShrunk makes the error of Shrunk of a panic, for
//
//	defer durable.CatchShrunk(debug.SetPanicOnFault(true), &err)
func CatchShrunk(was bool, err *error) {
	debug.SetPanicOnFault(was)
	if v := recover(); v != nil {
		if shrunk := Shrunk(v); shrunk == nil {
			panic(v)
		} else {
			*err = shrunk
		}
	}
}

// Map maps a whole regular file for reading. Where the system has no memory mapping it reads the file.
//
// The file should not be truncated while it is mapped: touching a page that is gone is a fault; see Shrunk. WriteFile
// replaces files and never truncates them, so their readers keep the old content.
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
		if err != nil {
			return nil, err
		}
		m := &Mapping{name, data, unmap}
		mappings.Lock()
		mappings.open = append(mappings.open, m)
		mappings.Unlock()
		return m, nil
	}
}

// Bytes returns the content. It must not be written to nor used after Close. Safe for concurrent use.
func (m *Mapping) Bytes() []byte { return m.data }

// Close gives the mapping back. A second call does nothing.
func (m *Mapping) Close() error {
	mappings.Lock()
	mappings.open = slices.DeleteFunc(mappings.open, func(o *Mapping) bool { return o == m })
	mappings.Unlock()
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

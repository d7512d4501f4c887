//go:build linux

package wire

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Memory is a file in memory that two processes share. Data of a message lies at its beginning.
type Memory struct {
	f    *os.File
	data []byte
}

// maxBytes is the most data of a message: more than any device has.
const maxBytes = 1 << 40

// Share returns the memory of a file.
func Share(f *os.File) *Memory { return &Memory{f: f} }

// Make returns the first n bytes, to be written. The file grows where it is shorter. The result is valid until the next
// call.
func (m *Memory) Make(n int64) ([]byte, error) {
	if err := m.reach(n, true); err != nil {
		return nil, fmt.Errorf("wire: shared memory of %d bytes: %w", n, err)
	}
	return m.data[:n], nil
}

// Take returns the first n bytes, which the other side has written, as Make does. n is what it said: the file must have
// as many.
func (m *Memory) Take(n int64) ([]byte, error) {
	if err := m.reach(n, false); err != nil {
		return nil, fmt.Errorf("wire: %d bytes are said to be in shared memory: %w", n, err)
	}
	return m.data[:n], nil
}

// reach maps at least n bytes.
func (m *Memory) reach(n int64, grow bool) error {
	if n < 0 || n > maxBytes {
		return errors.New("no possible length")
	}
	if n <= int64(len(m.data)) {
		return nil
	}
	info, err := m.f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if size < n {
		if !grow {
			return fmt.Errorf("it has %d", size)
		}
		size = (n + 1<<20 - 1) &^ (1<<20 - 1)
		// It is taken now: where there is no memory this fails, and not the first write.
		if err := syscall.Fallocate(int(m.f.Fd()), 0, 0, size); err != nil {
			return err
		}
	}
	if err := m.Close(); err != nil {
		return err
	}
	m.data, err = syscall.Mmap(int(m.f.Fd()), 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	return err
}

// Close gives the mapping back. The file stays open.
func (m *Memory) Close() error {
	data := m.data
	if m.data = nil; data == nil {
		return nil
	}
	return syscall.Munmap(data)
}

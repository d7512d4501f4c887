package wire

import (
	"os"
	"syscall"
)

// reserve makes a file longer and takes the memory for it: where there is none this fails, and not the first write.
func reserve(f *os.File, size int64) error { return syscall.Fallocate(int(f.Fd()), 0, 0, size) }

func mapFile(f *os.File, size int64) ([]byte, error) {
	return syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
}

func unmap(data []byte) error { return syscall.Munmap(data) }

package testmem

import (
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// Fence is memory that ends at, or begins after, a page that cannot be touched: whoever does ends the test program.
type Fence struct {
	pages []byte
	size  int
}

// NewFence maps a fence for the time of a test, which it skips where it cannot.
func NewFence(t testing.TB) *Fence {
	size := os.Getpagesize()
	pages, err := syscall.Mmap(-1, 0, 3*size,
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Skipf("no memory to fence: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(pages); err != nil {
			t.Error(err)
		}
	})
	for _, page := range [][]byte{pages[:size], pages[2*size:]} {
		if err := syscall.Mprotect(page, syscall.PROT_NONE); err != nil {
			t.Skipf("no memory to fence: %v", err)
		}
	}
	return &Fence{pages, size}
}

// Size is the bytes of the fenced memory.
func (f *Fence) Size() int { return f.size }

// Take returns n elements against the end, or against the beginning.
func (f *Fence) Take(n int, end bool) []float32 {
	s := unsafe.Slice((*float32)(unsafe.Pointer(&f.pages[f.size])), f.size/4)
	if end {
		s = s[len(s)-n:]
	}
	s = s[:n:n]
	for i := range s {
		s[i] = float32(i%7) - 2.5
	}
	return s
}

// Take16 is Take for n bfloat16 numbers.
func (f *Fence) Take16(n int, end bool) []uint16 {
	words := (n + 1) / 2
	s := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(f.Take(words, end)))), 2*words)
	if end {
		s = s[len(s)-n:]
	}
	for i := range s[:n] {
		s[i] = 0x3f80
	}
	return s[:n:n]
}

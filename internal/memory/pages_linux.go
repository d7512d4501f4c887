package memory

import (
	"syscall"
	"unsafe"
)

// hugePages asks for pages of 2 MB below the elements of s, which nothing has touched yet: rows of a matrix lie pages
// apart, and with pages of 4 KB looking them up takes longer than reading them. It is a wish, not a need.
func hugePages[T any](s []T) {
	const page = 2 << 20
	from := uintptr(unsafe.Pointer(unsafe.SliceData(s)))
	size := uintptr(len(s)) * unsafe.Sizeof(*unsafe.SliceData(s))
	lo, hi := (from+page-1)&^(page-1), (from+size)&^(page-1)
	if len(s) == 0 || hi <= lo {
		return
	}
	const madvHugePage = 14
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), size)
	_ = syscall.Madvise(bytes[lo-from:hi-from], madvHugePage) // without it, the pages are small
}

package memory

import "unsafe"

// line is the bytes on whose boundary aligned slices begin.
const line = 64

// RoundUp returns the smallest multiple of 16 elements that is not below n: the next one begins on a boundary of 64
// bytes in float32, and of 128 in float64.
func RoundUp(n int) int { return (n + 15) &^ 15 }

// padded returns the number of elements that Aligned allocates for n, and their size.
func padded[T any](n int) (elements, size int) {
	var zero T
	size = int(unsafe.Sizeof(zero))
	return n + (line+size-1)/size, size
}

// AlignedBytes returns the bytes that Aligned allocates for n elements.
func AlignedBytes[T any](n int) int64 {
	elements, size := padded[T](n)
	return int64(elements) * int64(size)
}

// Aligned returns n zero elements on a boundary of 64 bytes.
func Aligned[T any](n int) []T {
	elements, _ := padded[T](n)
	s := make([]T, elements)
	hugePages(s)
	at := 0
	for at < elements-n && uintptr(unsafe.Pointer(&s[at]))%line != 0 {
		at++
	}
	return s[at : at+n : at+n]
}

package memory

import (
	"slices"
	"testing"
	"unsafe"
)

func TestAligned(t *testing.T) {
	for _, n := range []int{1, 16, 100, 3 << 20} {
		bytes, words := Aligned[byte](n), Aligned[float64](n)
		if uintptr(unsafe.Pointer(&bytes[0]))%64 != 0 || uintptr(unsafe.Pointer(&words[0]))%64 != 0 {
			t.Errorf("%d elements do not begin on a cache line", n)
		}
		if len(bytes) != n || cap(words) != n || slices.Max(bytes) != 0 || AlignedBytes[float64](n) != int64(8*n+64) {
			t.Errorf("%d elements: %d, %d, %d bytes", n, len(bytes), cap(words), AlignedBytes[float64](n))
		}
		if up := RoundUp(n); up < n || up >= n+16 || up%16 != 0 {
			t.Errorf("%d is rounded up to %d", n, up)
		}
	}
}

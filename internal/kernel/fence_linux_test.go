package kernel

import (
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// fence is memory that ends at, or begins after, a page that cannot be touched.
type fence struct {
	pages []byte
	size  int
}

func newFence(t *testing.T) *fence {
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
	return &fence{pages, size}
}

// take returns n elements against the end, or against the beginning.
func (f *fence) take(n int, end bool) []float32 {
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

// TestFences lets every kernel work against pages that cannot be read: a vector
// that runs over an edge of an operand ends the test program, even if what it
// read was not used.
func TestFences(t *testing.T) {
	var fences []*fence
	for range 6 {
		fences = append(fences, newFence(t))
	}
	for _, tier := range Tiers() {
		x := newExec(t, 1, tier)
		for _, end := range []bool{true, false} {
			for _, c := range vectorCases() {
				for _, n := range lengths {
					if n*4 > fences[0].size {
						continue
					}
					var s [][]float32
					for i := range c.outs + c.ins {
						s = append(s, fences[i].take(n, end))
					}
					c.call(x, s[:c.outs], s[c.outs:])
				}
			}
			depths := []int{1, 3, 4, 7, 16}
			for m := 1; m <= 20; m++ {
				for n := 1; n <= 37; n++ {
					k := depths[(m+n)%len(depths)]
					for flags := range 8 {
						transA, transB := flags&1 != 0, flags&2 != 0
						a, b, out := fences[0].take(m*k, end), fences[1].take(k*n, end), fences[2].take(m*n, end)
						lda, ldb := k, n
						if transA {
							lda = m
						}
						if transB {
							ldb = k
						}
						want := float32(0)
						for l := range k {
							ia, ib := l, l*ldb
							if transA {
								ia = l * lda
							}
							if transB {
								ib = l
							}
							want += a[ia] * b[ib] // exact: small multiples of a quarter
						}
						if flags&4 != 0 {
							want += out[0]
						}
						Gemm(x, 0, transA, transB, m, n, k, 1, a, lda, b, ldb, float32(flags>>2), out, n)
						if out[0] != want {
							t.Fatalf("%v: m %d n %d k %d flags %d: element 0 is %g, want %g",
								tier, m, n, k, flags, out[0], want)
						}
					}
				}
			}
			// The panels of packed operands lie in scratch, but what is packed does not.
			for _, n := range []int{1, 7, 15, 33} {
				w, in, out := fences[0].take(13*21, end), 21, 13
				src, y := fences[1].take(n*in, end), fences[2].take(n*out, end)
				dx := fences[3].take(n*in, end)
				h := NewWeights(w, out, in)
				h.Refresh(x)
				h.Forward(x, Dense(y, n, out), Dense(src, n, in), n)
				h.BackInput(x, Dense(dx, n, in), Dense(y, n, out), n)
				h.BackWeight(x, fences[4].take(out*in, end), Dense(y, n, out), Dense(src, n, in), n)
			}
		}
	}
}

// take16 is take for n bfloat16 numbers.
func (f *fence) take16(n int, end bool) []uint16 {
	words := (n + 1) / 2
	s := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(f.take(words, end)))), 2*words)
	if end {
		s = s[len(s)-n:]
	}
	for i := range s[:n] {
		s[i] = 0x3f80
	}
	return s[:n:n]
}

// TestRowFences is TestFences for the fused rows of bf16 mode.
func TestRowFences(t *testing.T) {
	var f []*fence
	for range 6 {
		f = append(f, newFence(t))
	}
	for _, tier := range Tiers() {
		x := newExec(t, 1, tier)
		for _, end := range []bool{true, false} {
			for n := 1; n < 140; n++ {
				temp := make([]float32, 5*n)
				a, b, c, d := f[0].take(n, end), f[1].take(n, end), f[2].take(n, end), f[3].take(n, end)
				h, g := f[4].take16(n, end), f[5].take16(n, end)
				hr, gr := bf(h), bf(g)
				mean, rstd := LayerNormRow(x, hr, a, b, c, 1e-5, temp)
				LayerNormBackRow(x, d, b, c, hr, a, temp[:n], mean, rstd, temp[n:])
				LayerNormBackRow(x, d, temp[:n], c, hr, a, b, mean, rstd, temp[n:])
				rstd = RMSNormRow(x, hr, a, b, 1e-5, temp)
				RMSNormBackRow(x, d, c, hr, a, b, rstd, temp)
				AddRow(x, a, b, hr, c, temp)
				AddRow(x, a, b, hr, nil, temp)
				RoundSumRow(x, hr, a, b)
				GELURow(x, hr, gr, a, temp)
				GELURow(x, hr, gr, nil, temp)
				for _, bias := range [][]float32{nil, a} {
					for _, sum := range [][]float32{nil, b} {
						GELUBackRow(x, hr, hr, gr, bias, sum, temp)
					}
				}
				if n%2 == 0 {
					half := bf(f[0].take16(n/2, end))
					SwiGLURow(x, half, hr, nil, temp)
					SwiGLUBackRow(x, gr, half, hr, nil, nil, temp)
				}
				ScaleRow(x, hr, a, 0.5, temp)
				DotRow(x, h, g, temp)
				if n%headBlock == 0 {
					row := HeadsRow[float32]{Size: n, Bias: a, Gain: b, Scale: 1, Eps: 1e-6,
						Cos: f[2].take(n/2, end), Sin: f[3].take(n/2, end)}
					row.Forward(x, 0, hr, gr, []float32{0}, temp)
					row.Backward(x, 0, hr, gr, 1, gr, []float32{1}, make([]float32, n), b, make([]float32, 4*n))
				}
				copy(a, c)
				SoftmaxRow(x, h, a)
				SoftmaxBackRow(x, h, g, a, b, c, d)
				if v := widenBF16(h[0]); v != v {
					t.Fatalf("%v: %d elements: NaN", tier, n)
				}
			}
		}
	}
}

package shards

import (
	"bytes"
	"testing"

	"gimbal/internal/durable/crash"
	"gimbal/internal/testseed"
)

// TestMaskFile writes runs and reads them back bit by bit; it begins late, or not at all.
func TestMaskFile(t *testing.T) {
	r := testseed.Rand(t)
	for range 300 {
		fsys := crash.New()
		if err := fsys.Mkdir("/d"); err != nil {
			t.Fatal(err)
		}
		var w maskWriter
		var want []bool
		some := false
		create := func(string) (*fileWriter, error) { return createFile(fsys, "/d", countsFile) }
		for range r.IntN(12) {
			n, counts := r.Int64N(40), r.IntN(3) > 0
			if n == 0 {
				continue
			}
			some = some || !counts
			for range n {
				want = append(want, counts)
			}
			if err := w.add(n, counts, create); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.finish(); err != nil {
			t.Fatal(err)
		}
		if (w.f != nil) != some {
			t.Fatalf("a file: %v, tokens that do not count: %v", w.f != nil, some)
		}
		var m Mask
		if some {
			m = bytes.Clone(w.f.buf)
			if len(m) != (len(want)+7)/8 {
				t.Fatalf("%d bytes for %d tokens", len(m), len(want))
			}
		}
		for i, counts := range want {
			if m.At(int64(i)) != counts {
				t.Fatalf("token %d counts: %v, want %v", i, m.At(int64(i)), counts)
			}
		}
		for range 20 {
			lo := r.IntN(len(want) + 1)
			hi := lo + r.IntN(len(want)-lo+1)
			n, runs := int64(0), int64(0)
			for i, counts := range want[lo:hi] {
				if counts {
					if n++; i == 0 || !want[lo+i-1] {
						runs++
					}
				}
			}
			if got := m.Runs(int64(lo), int64(hi)); got != runs {
				t.Fatalf("%d runs of tokens %d to %d count, want %d", got, lo, hi, runs)
			}
			if got := m.Count(int64(lo), int64(hi)); got != n {
				t.Fatalf("%d of tokens %d to %d count, want %d", got, lo, hi, n)
			}
		}
	}
}

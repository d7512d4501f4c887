//go:build linux

package wire

import (
	"os"
	"testing"
)

func TestMemory(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mine, other := Share(f), Share(f)
	for _, n := range []int64{0, 5, 1 << 20, 1<<20 + 1, 100, 3 << 20} {
		p, err := mine.Make(n)
		if err != nil || int64(len(p)) != n {
			t.Fatalf("%d bytes: %d, %v", n, len(p), err)
		}
		if n == 0 {
			continue
		}
		p[n-1] = byte(n / 5)
		if q, err := other.Take(n); err != nil || q[n-1] != byte(n/5) {
			t.Errorf("%d bytes: the other side reads %v", n, err)
		}
	}
	for _, n := range []int64{-1, 3<<20 + 1, 1 << 39, 1 << 62} {
		if _, err := other.Take(n); err == nil {
			t.Errorf("%d bytes could be taken", n)
		}
	}
	for _, m := range []*Memory{mine, other} {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

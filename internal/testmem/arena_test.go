package testmem

import (
	"math/rand/v2"
	"testing"
)

// recorder keeps whether the test would have failed.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Fatalf(string, ...any) { r.failed = true }

// TestArena: writes before, behind and over an input are found, and a result may be written.
func TestArena(t *testing.T) {
	for what, c := range map[string]struct {
		input bool
		at    int
		fails bool
	}{"before": {false, -1, true}, "behind": {false, 3, true}, "an input": {true, 1, true},
		"a result": {false, 1, false}} {
		a := NewArena[float32](rand.New(rand.NewPCG(1, 2)))
		s := a.Random("s", 3, c.input)
		outer := a.outer[0][a.inner[0]-1:]
		outer[1+c.at]++
		r := &recorder{TB: t}
		if a.Check(r, "s"); len(s) != 3 || r.failed != c.fails {
			t.Errorf("%s: failed is %v with %d elements", what, r.failed, len(s))
		}
	}
}

// Package testseed gives random tests a seed that they print and accept again: go test -run NAME -seed=N. Only tests
// import it, because it defines the flag.
package testseed

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: from the clock")

// Rand returns a generator for a random test, and logs how to repeat the test.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	if _, ok := t.(*testing.B); !ok { // the log of a benchmark is always printed
		name, _, _ := strings.Cut(t.Name(), "/")
		t.Logf("repeat with -run='^%s$' -seed=%d", name, seed)
	}
	return rand.New(rand.NewPCG(seed, 1))
}

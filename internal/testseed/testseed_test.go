package testseed

import (
	"flag"
	"fmt"
	"strings"
	"testing"
)

// listener keeps what is logged.
type listener struct {
	testing.TB
	log string
}

func (l *listener) Logf(format string, args ...any) { l.log += fmt.Sprintf(format, args...) }

// TestRepeat: the seed that is logged gives the same numbers again, and without one they differ.
func TestRepeat(t *testing.T) {
	defer func(old uint64) { *seedFlag = old }(*seedFlag)
	*seedFlag = 0
	first := &listener{TB: t}
	r := Rand(first)
	want := r.Uint64()
	if Rand(t).Uint64() == want {
		t.Error("two seeds of the clock give the same numbers")
	}
	_, seed, ok := strings.Cut(first.log, "-run='^TestRepeat$' -seed=")
	if !ok {
		t.Fatalf("logged %q", first.log)
	}
	if err := flag.Set("seed", seed); err != nil {
		t.Fatal(err)
	}
	if got := Rand(t).Uint64(); got != want {
		t.Errorf("-seed=%s gives %d, then %d", seed, want, got)
	}
}

package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The first damages are named or harmless, and a program that was stopped counts as one that was not.
func TestCorrupt(t *testing.T) {
	work, dir := t.TempDir(), t.TempDir()
	state := func(name string) string { return filepath.Join(dir, name) }
	for _, n := range []int{40, 120} { // the second goes on from the first
		if err := do(n, 1, state("stopped"), work); err != nil {
			t.Fatal(err)
		}
	}
	if err := do(120, 1, state("whole"), work); err != nil {
		t.Fatal(err)
	}
	a, aerr := os.ReadFile(state("stopped"))
	b, berr := os.ReadFile(state("whole"))
	if aerr != nil || berr != nil || string(a) != string(b) {
		t.Errorf("%v, %v:\n%s\n%s", aerr, berr, a, b)
	}
}

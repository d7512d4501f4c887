//go:build !purego

package fused

import (
	"slices"
	"testing"
)

// TestLoopsAreWhole finds loops that the table forgot, on CPUs without such loops, too: Go would do the work, slowly
// and unnoticed.
func TestLoopsAreWhole(t *testing.T) {
	l := avx512BF16
	if names := lacks(l); len(names) > 0 {
		t.Errorf("the table lacks %q", names)
	}
	if l.gelu = nil; !slices.Equal(lacks(l), []string{"gelu"}) {
		t.Errorf("a table without gelu lacks %q", lacks(l))
	}
}

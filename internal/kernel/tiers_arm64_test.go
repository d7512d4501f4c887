//go:build !purego

package kernel

import (
	"fmt"
	"testing"

	"gimbal/internal/testmem"
)

func machineTiers() []Tier { return []Tier{NEON, Generic} }

// archTables are the tables of all tiers of this architecture.
func archTables() []tierTable { return tiers }

// TestLaneOrder checks, bit for bit, the order in which NEON adds: sixteen partial sums over whole blocks of sixteen,
// the first four also over what is left, and of that the last elements in the first.
func TestLaneOrder(t *testing.T) {
	x, r := newExec(t, 1, NEON), newRand(t)
	for _, n := range lengths {
		ar := testmem.NewArena[float32](r)
		a, b := ar.Random("a", n, true), ar.Random("b", n, true)
		var sum, dot [16]float32
		for i := range n {
			lane := 0
			if i < n&^15 {
				lane = i % 16
			} else if i < n&^3 {
				lane = i % 4
			}
			sum[lane] += a[i]
			dot[lane] = fma32(a[i], b[i], dot[lane])
		}
		for what, c := range map[string]struct {
			got   float32
			parts [16]float32
		}{"Sum": {Sum(x, a), sum}, "Dot": {Dot(x, a, b), dot}} {
			var v [4]float32
			for i := range v {
				v[i] = (c.parts[i] + c.parts[4+i]) + (c.parts[8+i] + c.parts[12+i])
			}
			if want := (v[0] + v[1]) + (v[2] + v[3]); c.got != want {
				t.Errorf("%s of %d elements is %v, in the order of the lanes %v", what, n, c.got, want)
			}
		}
		ar.Check(t, fmt.Sprint("length ", n))
	}
}

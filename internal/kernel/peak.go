package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// peakLoop is a run of independent multiply-adds in registers.
type peakLoop struct {
	operands, sums int     // elements read at the start, and added to and written at the end
	flops          float64 // of one turn
	run            func(operands, sums []float32, turns int)
}

// peakCall is how long one call of a loop may last: a garbage collection has to wait until assembly returns.
const peakCall = 100 * time.Microsecond

// PeakFP32 measures the FLOP/s that the float32 units of all workers reach together while no operand leaves the
// registers: the median of several runs that take d in all. Operands are random, because units that multiply zeros draw
// less power and run faster. A tier without a loop of its own (generic, NEON) is measured with one in Go.
func PeakFP32(x *Exec, d time.Duration) float64 {
	k, _ := tableOf(x.tier)
	return x.rate(k.peak, d)
}

// peakRuns is the number of runs whose median counts.
const peakRuns = 5

func (x *Exec) rate(l peakLoop, d time.Duration) float64 {
	j := &peakJob{loop: l, turns: 1, calls: 1, data: make([][]float32, x.Workers())}
	r := rand.New(rand.NewPCG(1, 2))
	for w := range j.data {
		j.data[w] = make([]float32, l.operands+l.sums)
		for i := range j.data[w] {
			j.data[w][i] = float32(r.NormFloat64())
		}
	}
	// Two calls of each length, on this goroutine alone: one may be disturbed.
	for timed := func() time.Duration {
		began := time.Now()
		j.Part(0, 0, 1)
		return time.Since(began)
	}; min(timed(), timed()) < peakCall/2 && j.turns < math.MaxInt32/2; {
		j.turns *= 2
	}
	j.calls = int(max(1, d/peakCall/peakRuns))
	var rates [peakRuns]float64
	for i := range rates {
		began := time.Now()
		x.pool.Do(x.Workers(), 1, j)
		rates[i] = l.flops * float64(j.turns) * float64(j.calls) * float64(x.Workers()) / time.Since(began).Seconds()
	}
	slices.Sort(rates[:])
	return rates[peakRuns/2]
}

type peakJob struct {
	loop         peakLoop
	turns, calls int
	data         [][]float32 // of each worker, so that no line is shared
}

func (j *peakJob) Part(_, lo, hi int) {
	for slot := lo; slot < hi; slot++ {
		d := j.data[slot]
		for range j.calls {
			s := d[j.loop.operands:]
			j.loop.run(d[:j.loop.operands], s, j.turns)
			if math.Abs(float64(s[0])) > 1e30 {
				clear(s) // keep away from infinity, which is cheap to add to
			}
		}
	}
}

// peakGeneric is the loop in Go: eight sums of scalars.
var peakGeneric = peakLoop{operands: 8, sums: 8, flops: 2 * 8, run: func(operands, sums []float32, turns int) {
	a, c := (*[8]float32)(operands), (*[8]float32)(sums)
	c0, c1, c2, c3, c4, c5, c6, c7 := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
	a0, a1, a2, a3, b0, b1, b2, b3 := a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
	for range turns {
		c0 += a0 * b0
		c1 += a1 * b1
		c2 += a2 * b2
		c3 += a3 * b3
		c4 += a0 * b1
		c5 += a1 * b2
		c6 += a2 * b3
		c7 += a3 * b0
	}
	c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7] = c0, c1, c2, c3, c4, c5, c6, c7
}}

package bench

import (
	"context"
	"runtime"
	"slices"
	"time"

	"gimbal/internal/kernel"
	"gimbal/internal/rng"
)

// Machine is where and with what a measurement was made.
type Machine struct {
	CPU     string `json:"cpu"`
	OS      string `json:"os"`
	Go      string `json:"go"`
	Tier    string `json:"tier"`
	Workers int    `json:"workers"`
}

// machine describes this one; x may be nil.
func machine(x *kernel.Exec) Machine {
	m := Machine{CPU: CPUName(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	if x != nil {
		m.Tier, m.Workers = x.Tier().String(), x.Workers()
	}
	return m
}

// sample times one call of f; short calls are repeated, until that takes enough seconds, and divided.
func sample(enough float64, f func()) (seconds float64) {
	for n := 1; ; n *= 4 {
		began := time.Now()
		for range n {
			f()
		}
		if t := time.Since(began).Seconds(); t >= enough {
			return t / float64(n)
		}
	}
}

// leastRuns is the smallest number of runs that has a median worth the name.
const leastRuns = 3

// repeat times f, after a call to warm up, for about the given seconds and at least three runs. It returns the median
// and the best time of a call.
func repeat(ctx context.Context, seconds float64, f func()) (median, best float64, err error) {
	f()
	enough := min(0.002, seconds/leastRuns)
	var times []float64
	for began := time.Now(); len(times) < leastRuns || time.Since(began).Seconds() < seconds; {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		times = append(times, sample(enough, f))
	}
	slices.Sort(times)
	return times[len(times)/2], times[0], nil
}

// workersOf resolves a number of workers, of which 0 is one for each processor.
func workersOf(n int) int {
	if n <= 0 {
		return runtime.GOMAXPROCS(0)
	}
	return n
}

func medianOf(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// part is a loop of workers over [0, n).
type part func(worker, lo, hi int)

func (p part) Part(worker, lo, hi int) { p(worker, lo, hi) }

// random fills s with normal numbers of the given size.
func random(x *kernel.Exec, s []float32, size float64, stream uint64) []float32 {
	k := rng.New(1, rng.Probe).Sub(stream)
	// One number of Philox for every 1,024: the rest are a cheap walk from it, as irregular in their bits.
	x.Pool().Do((len(s)+1023)/1024, 1, part(func(_, lo, hi int) {
		for b := lo; b < hi; b++ {
			state := k.Uint64(uint64(b)) | 1
			for i := b * 1024; i < min(len(s), (b+1)*1024); i++ {
				sum := 0.0 // of four uniform numbers, near enough to normal
				for range 4 {
					state = state*6364136223846793005 + 1442695040888963407
					sum += float64(state>>11)*0x1p-53 - 0.5
				}
				s[i] = float32(sum * size * 1.7320508) // √3: the sum's variance is a third
			}
		}
	}))
	return s
}

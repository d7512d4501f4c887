package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gimbal/internal/kernel"
)

// KernelOptions say which figures are measured and for how long.
type KernelOptions struct {
	Seconds float64 // for each figure, and at least three runs
	Workers int     // 0: one for each processor
	Tier    kernel.Tier
	Only    string // part of the names to measure; empty: all

	stream int      // elements of one of the three arrays in memory; 0: 16M, 192 MB in all
	shapes [][3]int // (n, In, Out) of the multiplies; nil: those of training
}

// Kernel is one figure of one kernel on one tier, with all workers.
type Kernel struct {
	Tier  string  `json:"tier"`
	Kind  string  `json:"kind"` // of the operands: fp32 or bf16
	Name  string  `json:"kernel"`
	Shape string  `json:"shape"`
	Rate  float64 `json:"rate"` // median
	Best  float64 `json:"best_rate"`
	Unit  string  `json:"unit"` // GFLOP/s, or GB/s of what has to be read and written
	Peak  string  `json:"peak"` // what the share is of: fma or bf16; empty for a peak, and where there is none
	Share float64 `json:"share,omitempty"`
}

// Kernels measures the peaks and the multiplies of each tier of this CPU and hands each figure to each as it comes. A
// share is of a peak measured just before and after the multiply, the higher of both.
//
// What else a step is made of has Go benchmarks beside its code (BenchmarkVector of kernel, BenchmarkNorms of nn,
// BenchmarkUpdate of optim), and its time in a step is a part of Train's.
func Kernels(ctx context.Context, opt KernelOptions, each func(Kernel)) (Machine, error) {
	if opt.stream == 0 {
		opt.stream = 16 << 20
	}
	if opt.shapes == nil {
		opt.shapes = [][3]int{{4096, 768, 3072}, {4096, 3072, 768}, {4096, 768, 2304}, {4096, 768, 768},
			{1024, 1024, 1024}, {16384, 384, 1536}, {16384, 1536, 384}}
	}
	tiers := kernel.Tiers()
	if opt.Tier != kernel.TierAuto {
		tiers = []kernel.Tier{opt.Tier}
	}
	var where Machine
	for _, tier := range tiers {
		x, err := kernel.NewExec(opt.Workers, tier)
		if err != nil {
			return where, err
		}
		if where.CPU == "" {
			where = machine(x)
		}
		b := &kernels{ctx: ctx, opt: opt, x: x, each: each}
		b.all()
		x.Close()
		if b.err != nil {
			return where, b.err
		}
	}
	return where, nil
}

// kernels measures one tier; the first error ends it.
type kernels struct {
	ctx  context.Context
	opt  KernelOptions
	x    *kernel.Exec
	each func(Kernel)
	err  error
}

func (b *kernels) all() {
	b.arithmetic("fp32", "fma")
	b.arithmetic("bf16", "bf16")
	b.memory()
	b.multiplies("fp32", "", b.dense, kernel.NewWeights[float32], b.dense)
	if b.x.BF16() != "" {
		b.multiplies("bf16", "", b.rows, kernel.NewWeightsBF16, b.dense)
		b.multiplies("bf16", " to bf16", b.rows, kernel.NewWeightsBF16, b.rows)
	}
}

func (b *kernels) wanted(name string) bool {
	return b.err == nil && strings.Contains(name, b.opt.Only)
}

// time times f, which does work units (operations or bytes), and tells the figure. peak says what it is a share of.
func (b *kernels) time(k Kernel, work float64, f func()) {
	if !b.wanted(k.Name) {
		return
	}
	top := b.peak(k.Peak)
	median, best, err := repeat(b.ctx, b.opt.Seconds, f)
	if err != nil {
		b.err = err
		return
	}
	top = max(top, b.peak(k.Peak)) // a disturbed peak must not flatter the kernel
	k.Tier, k.Rate, k.Best = b.x.Tier().String(), work/median/1e9, work/best/1e9
	if k.Share = k.Rate * 1e9 / top; top == 0 {
		k.Peak, k.Share = "", 0
	}
	b.each(k)
}

// peak measures the peak of arithmetic, in operations per second; 0: it has none that can be measured.
func (b *kernels) peak(of string) float64 {
	switch of {
	case "fma":
		return kernel.PeakFP32(b.x, min(peakTime, time.Duration(b.opt.Seconds*float64(time.Second))))
	case "bf16":
		return kernel.PeakBF16(b.x)
	}
	return 0
}

// arithmetic tells a peak itself.
func (b *kernels) arithmetic(kind, of string) {
	name := "peak " + of
	if !b.wanted(name) {
		return
	}
	if r := b.peak(of) / 1e9; r > 0 {
		b.each(Kernel{Tier: b.x.Tier().String(), Kind: kind, Name: name, Shape: "registers only", Rate: r, Best: r,
			Unit: "GFLOP/s"})
	}
}

// memory tells the bandwidth of arrays that no cache holds: the triad of McCalpin's STREAM, one written from two
// others, counted as there: a write's own read is not.
func (b *kernels) memory() {
	const name, grain = "peak memory triad", 4096
	if !b.wanted(name) {
		return // before the arrays are made
	}
	x, n := b.x, b.opt.stream
	var s [3][]float32
	for i := range s {
		s[i] = random(x, make([]float32, n), 1, uint64(i))
	}
	job := part(func(_, lo, hi int) {
		for ; lo < hi; lo += grain {
			end := min(hi, lo+grain)
			kernel.Mul(x, s[2][lo:end], s[0][lo:end], s[1][lo:end])
		}
	})
	k := Kernel{Kind: "fp32", Name: name, Shape: fmt.Sprintf("3 x %d MB", 4*n>>20), Unit: "GB/s"}
	b.time(k, 12*float64(n), func() { x.Pool().Do(n, grain, job) })
}

package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gimbal/internal/kernel"
	"gimbal/internal/nn"
)

// KernelOptions say which kernels are timed and for how long.
type KernelOptions struct {
	Seconds float64 // for each figure, and at least three runs; 0: 0.1
	Workers int     // 0: one for each processor
	Tier    kernel.Tier
	Only    string // part of the names to time; empty: all

	stream int      // elements of one of the four arrays in memory; 0: 16M, 256 MB in all
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
	Peak  string  `json:"peak"` // what the share is of: fma, bf16, memory, activations or cache; empty for a peak, and where there is none
	Share float64 `json:"share,omitempty"`
}

// Kernels times each kernel on each tier of this CPU and hands each figure to each as it comes. The peaks are
// figures like the others, and each share is of a peak measured just before and after the kernel, the higher of both.
func Kernels(ctx context.Context, opt KernelOptions, each func(Kernel)) (Machine, error) {
	if opt.Seconds == 0 {
		opt.Seconds = 0.1
	}
	if opt.stream == 0 {
		opt.stream = 16 << 20
	}
	if opt.shapes == nil {
		opt.shapes = [][3]int{{4096, 768, 3072}, {4096, 3072, 768}, {4096, 768, 2304}, {4096, 768, 768}, {1024, 1024, 1024}, {16384, 384, 1536}, {16384, 1536, 384}}
	}
	tiers := kernel.Tiers()
	if opt.Tier != kernel.TierAuto {
		tiers = []kernel.Tier{opt.Tier}
	}
	var where Machine
	var arrays *streams
	for _, tier := range tiers {
		x, err := kernel.NewExec(opt.Workers, tier)
		if err != nil {
			return where, err
		}
		if arrays == nil {
			where = machine(x)
			arrays = newStreams(x, opt.stream)
		}
		b := &kernels{ctx: ctx, opt: opt, x: x, each: each, s: arrays}
		b.all()
		x.Close()
		if b.err != nil {
			return where, b.err
		}
	}
	return where, nil
}

// kernels times the kernels of one tier; the first error ends it.
type kernels struct {
	ctx  context.Context
	opt  KernelOptions
	x    *kernel.Exec
	each func(Kernel)
	s    *streams // shared by the tiers
	err  error
}

func (b *kernels) all() {
	b.peaks()
	b.multiplies("fp32", "", b.dense, kernel.NewWeights[float32], b.dense)
	if b.x.BF16() != "" {
		b.multiplies("bf16", "", b.rows, kernel.NewWeightsBF16, b.dense)
		b.multiplies("bf16", " to bf16", b.rows, kernel.NewWeightsBF16, b.rows)
		b.conversions()
	}
	b.attention()
	if b.x.BF16() != "" {
		b.attentionRows()
	}
	b.cached()
	b.memory()
	b.norms()
}

// dense is a random operand in full precision.
func (b *kernels) dense(rows, cols int) kernel.Mat[float32] {
	return kernel.Dense(random(b.x, make([]float32, rows*cols), 1, uint64(rows*cols)), rows, cols)
}

// rows is a random bf16 operand.
func (b *kernels) rows(rows, cols int) kernel.Mat[float32] {
	m, full := kernel.NewOperand(rows, cols), b.dense(rows, cols)
	b.x.Pool().Do(rows, 8, part(func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			kernel.ToBF16(b.x, m.RowH(i), full.RowF(i))
		}
	}))
	return m
}

func (b *kernels) wanted(name string) bool {
	return b.err == nil && strings.Contains(name, b.opt.Only)
}

func (b *kernels) wantedAny(names ...string) bool { return slices.ContainsFunc(names, b.wanted) }

// time times f, which does work units (operations or bytes), and tells the figure. peak says what it is a share of.
func (b *kernels) time(kind, name, shape, peak string, work float64, f func()) {
	if !b.wanted(name) {
		return
	}
	unit := "GB/s"
	if peak == "fma" || peak == "bf16" {
		unit = "GFLOP/s"
	}
	top := b.peak(peak)
	median, best, err := repeat(b.ctx, b.opt.Seconds, f)
	if err != nil {
		b.err = err
		return
	}
	top = max(top, b.peak(peak)) // a disturbed peak must not flatter the kernel
	k := Kernel{Tier: b.x.Tier().String(), Kind: kind, Name: name, Shape: shape, Rate: work / median / 1e9, Best: work / best / 1e9, Unit: unit}
	if top > 0 {
		k.Peak, k.Share = peak, k.Rate*1e9/top
	}
	b.each(k)
}

// peak measures what a share is of, in operations or bytes per second.
func (b *kernels) peak(of string) float64 {
	switch of {
	case "fma":
		return kernel.PeakFP32(b.x, b.peakTime())
	case "bf16":
		return kernel.PeakBF16(b.x)
	case "memory":
		return b.fastest(b.s.memory(b.x, b.opt.stream))
	case "activations":
		return b.fastest(b.s.memory(b.x, min(b.opt.stream, activations)))
	case "cache":
		return b.fastest(b.s.cache(b.x))
	}
	return 0
}

// peakTime is how long an arithmetic peak is measured at a time.
func (b *kernels) peakTime() time.Duration {
	return min(peakTime, time.Duration(b.opt.Seconds*float64(time.Second)))
}

// stream is a loop that does nothing but read and write.
type stream struct {
	name  string
	bytes float64
	run   func()
}

func (b *kernels) fastest(loops []stream) float64 {
	top := 0.0
	for _, l := range loops {
		median, _, err := repeat(b.ctx, min(b.opt.Seconds, peakTime.Seconds()), l.run)
		if err != nil {
			b.err = err
			return 0
		}
		top = max(top, l.bytes/median)
	}
	return top
}

// peaks tells the peaks themselves.
func (b *kernels) peaks() {
	for _, p := range []struct{ kind, of string }{{"fp32", "fma"}, {"bf16", "bf16"}} {
		if name := "peak " + p.of; b.wanted(name) {
			if r := b.peak(p.of) / 1e9; r > 0 {
				b.each(Kernel{Tier: b.x.Tier().String(), Kind: p.kind, Name: name, Shape: "registers only", Rate: r, Best: r, Unit: "GFLOP/s"})
			}
		}
	}
	if !b.wantedAny("peak memory read", "peak memory triad", "peak memory update", "peak activations read", "peak activations triad", "peak activations update",
		"peak cache read", "peak cache triad") {
		return // before the arrays are made
	}
	for _, l := range b.s.memory(b.x, b.opt.stream) {
		b.time("fp32", "peak memory "+l.name, fmt.Sprintf("4 x %d MB", 4*b.opt.stream>>20), "", l.bytes, l.run)
	}
	for _, l := range b.s.memory(b.x, min(b.opt.stream, activations)) {
		b.time("fp32", "peak activations "+l.name, "4 x 4096x768", "", l.bytes, l.run)
	}
	for _, l := range b.s.cache(b.x) {
		b.time("fp32", "peak cache "+l.name, fmt.Sprintf("3 x %d KB per worker", 4*cacheLen>>10), "", l.bytes, l.run)
	}
}

// cached times what training does on blocks that stay in a core's cache.
func (b *kernels) cached() {
	x, c := b.x, b.s.small(b.x)
	const repeats = 4
	run := func(name, shape string, bytes float64, f func(dst, a, up []float32)) {
		job := part(func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				for range repeats {
					f(c[i][0], c[i][1], c[i][2])
				}
			}
		})
		b.time("fp32", name, shape, "cache", bytes*repeats*float64(len(c)), func() { x.Pool().Do(len(c), 1, job) })
	}
	all := fmt.Sprintf("%d per worker", cacheLen)
	run("exp", all, 8*cacheLen, func(dst, a, _ []float32) { kernel.Exp(x, dst, a) })
	const row = 1024
	run("softmax", fmt.Sprintf("%d rows of %d per worker", cacheLen/row, row), 8*cacheLen, func(dst, a, _ []float32) {
		for i := 0; i < cacheLen; i += row {
			d, s := dst[i:i+row], a[i:i+row]
			sum := kernel.ExpSub(x, d, s, kernel.Max(x, s))
			kernel.Affine(x, d, d, 1/sum, 0)
		}
	})
	run("gelu", all, 8*cacheLen, func(dst, a, _ []float32) { kernel.GELU(x, dst, a) })
	run("silu-mul", all, 12*cacheLen, func(dst, a, up []float32) { kernel.SiLUMul(x, dst, a, up) })
}

// memory times what training does on arrays that no cache holds.
func (b *kernels) memory() {
	if !b.wantedAny("gelu in memory", "gelu backward in memory", "silu-mul in memory", "silu-mul backward in memory", "sum of squares in memory", "adamw in memory") {
		return // before the arrays are made
	}
	x, s := b.x, b.s
	s.fill(x)
	n := s.n
	if x.Tier() == kernel.Generic {
		n /= 16
	}
	run := func(name string, bytes float64, n int, f func(lo, hi int)) {
		const grain = 4096
		job := part(func(_, lo, hi int) {
			for ; lo < hi; lo += grain {
				f(lo, min(hi, lo+grain))
			}
		})
		b.time("fp32", name, fmt.Sprint(n), "memory", bytes*float64(n), func() { x.Pool().Do(n, grain, job) })
	}
	a, u, c, d := s.a, s.b, s.c, s.d
	run("gelu in memory", 8, n, func(lo, hi int) { kernel.GELU(x, c[lo:hi], a[lo:hi]) })
	run("gelu backward in memory", 12, n, func(lo, hi int) { kernel.GELUBackward(x, c[lo:hi], u[lo:hi], a[lo:hi]) })
	run("silu-mul in memory", 12, n, func(lo, hi int) { kernel.SiLUMul(x, c[lo:hi], a[lo:hi], u[lo:hi]) })
	run("silu-mul backward in memory", 20, n, func(lo, hi int) { kernel.SiLUMulBackward(x, c[lo:hi], d[lo:hi], u[lo:hi], a[lo:hi], u[lo:hi]) })
	run("sum of squares in memory", 4, n, func(lo, hi int) { kernel.SumSquares(x, a[lo:hi]) })
	if b.wanted("adamw in memory") {
		p, m, v := c, random(x, d[:n], 1e-3, 2), random(x, u[:n], 1e-3, 3)
		for i := range v {
			v[i] *= v[i]
		}
		step := kernel.AdamWStep{LR: 1e-4, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Decay: 0.1, Scale: 1, Correction1: 1 - math.Pow(0.9, 100), Correction2: 1 - math.Pow(0.99, 100)}
		run("adamw in memory", 28, n, func(lo, hi int) { kernel.AdamW(x, p[lo:hi], a[lo:hi], m[lo:hi], v[lo:hi], step) })
		random(x, u[:n], 1, 1)
	}
}

// norms times the norms of 4,096 positions 768 wide.
func (b *kernels) norms() {
	if !b.wantedAny("rmsnorm", "rmsnorm backward", "layernorm", "layernorm backward") {
		return
	}
	const width = 768
	x, n := b.x, 4096
	if b.x.Tier() == kernel.Generic {
		n = 512
	}
	sums := nn.NewBlockSums(x, n, 2*width, make([]float32, nn.BlockSumsLen(x.Workers(), n, 2*width)))
	stage := nn.NewStage(x, 2*width, make([]float32, nn.StageLen(x.Workers(), 2*width)))
	rms, layer := nn.NewRMSNorm(x, stage, sums, width, 1e-6), nn.NewLayerNorm(x, stage, sums, width, 1e-5)
	src, dy := b.dense(n, width), b.dense(n, width)
	dx := make([]float32, n*width)
	gain, bias, dgain, dbias := b.dense(1, width).F, b.dense(1, width).F, make([]float32, width), make([]float32, width)
	mean, rstd := make([]float32, n), make([]float32, n)
	shape, size := fmt.Sprintf("%dx%d", n, width), float64(n*width)
	forward := func(kind string, dst kernel.Mat[float32], bytes float64) {
		b.time(kind, "rmsnorm", shape, "activations", bytes, func() { rms.Forward(dst, rstd, src.F, gain, n) })
		b.time(kind, "layernorm", shape, "activations", bytes, func() { layer.Forward(dst, mean, rstd, src.F, gain, bias, n) })
	}
	forward("fp32", b.dense(n, width), 8*size)
	if x.BF16() != "" {
		forward("bf16", b.rows(n, width), 6*size)
	}
	layer.Forward(b.dense(n, width), mean, rstd, src.F, gain, bias, n) // for mean and rstd, if no name was wanted
	b.time("fp32", "rmsnorm backward", shape, "activations", 16*size, func() { rms.Backward(dx, dgain, rstd, dy, src.F, gain, n) })
	b.time("fp32", "layernorm backward", shape, "activations", 16*size, func() { layer.Backward(dx, dgain, dbias, mean, rstd, dy, src.F, gain, n) })
}

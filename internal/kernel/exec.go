package kernel

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"gimbal/internal/par"
)

// Float is an element type of the kernels.
type Float interface{ float32 | float64 }

// Tier names an instruction set for which kernels exist.
type Tier int

// The tiers, slowest first. TierAuto stands for the best one this CPU has.
const (
	TierAuto Tier = iota
	Generic       // plain Go
	AVX2          // amd64, 256-bit vectors with FMA
	AVX512        // amd64, 512-bit vectors; bfloat16 dot products where the CPU has them
	AMX           // AVX512 with bfloat16 multiplies on AMX tiles; Linux
	NEON          // arm64, 128-bit vectors
)

var tierNames = [...]string{"auto", "generic", "avx2", "avx512", "amx", "neon"}

func (t Tier) String() string {
	if t < 0 || int(t) >= len(tierNames) {
		return fmt.Sprintf("tier(%d)", int(t))
	}
	return tierNames[t]
}

// Tiers returns the tiers that this CPU and build have, best first.
func Tiers() []Tier {
	ts := make([]Tier, 0, len(tiers)+1)
	for _, k := range tiers {
		ts = append(ts, k.tier)
	}
	return append(ts, Generic)
}

// envTier is the environment variable that TierAuto obeys.
const envTier = "GIMBAL_KERNEL"

// Exec executes kernels. It holds the worker pool, the tier, and all scratch memory and job descriptions, so that no
// operation allocates for float32 (float64 gets its scratch at the first multiply).
//
// An Exec is not safe for concurrent use. But the functions that take a worker number, and those on slices, may be
// called from the workers of its own pool.
type Exec struct {
	pool    *par.Pool
	tier    Tier
	warning string
	f32     engine[float32]
	f64     engine[float64]
	bf16    bfEngine
}

// NewExec makes an Exec with the given number of workers (<= 0: GOMAXPROCS). TierAuto picks the best tier, or the one
// that the environment variable GIMBAL_KERNEL names. Close ends the workers.
//
// NewExec compares a small multiply on the chosen tier with the generic twin. If they differ, the Exec uses Generic, or
// AVX512 if only the tiles of AMX fail, and Warning says so. Warning also says if TierAuto could not have AMX because
// the operating system refuses it.
//
// Returns an error that lists the available tiers if the one asked for is unknown or missing here.
func NewExec(workers int, tier Tier) (*Exec, error) {
	asked := "kernel"
	if name := os.Getenv(envTier); tier == TierAuto && name != "" {
		asked = envTier
		if tier = Tier(slices.Index(tierNames[:], name)); tier < 0 {
			return nil, fmt.Errorf("%s: no tier is called %q; this machine has %s", envTier, name, tierList())
		}
	}
	x := &Exec{}
	if tier == TierAuto {
		tier = Tiers()[0]
		if amxMissing != "" {
			x.warning = fmt.Sprintf("kernel: %s; computing with tier %s", amxMissing, tier)
		}
	}
	k, ok := tableOf(tier)
	if !ok {
		why := ""
		if tier == AMX && amxMissing != "" {
			why = ": " + amxMissing
		}
		return nil, fmt.Errorf("%s: this machine or build lacks tier %s; it has %s%s", asked, tier, tierList(), why)
	}
	if fault := selfTest(&k.table); fault != "" {
		x.warning = fmt.Sprintf("kernel: tier %s failed its self-test (%s); "+
			"computing with the generic tier, which is much slower", tier, fault)
		k = &genericTier
	}
	k, bf := x.testedBF16(k)
	x.tier = k.tier
	x.pool = par.New(workers)
	x.f32.init(&k.table, x.pool.Workers())
	x.f64.init(&generic64, x.pool.Workers())
	x.bf16.init(bf, x.pool.Workers())
	x.bf16.job.x = x
	for w := range x.f32.scratch {
		x.f32.scratch[w].grow()
	}
	return x, nil
}

// Pool returns the workers, for loops of the caller's own.
func (x *Exec) Pool() *par.Pool { return x.pool }

// Workers returns the number of workers.
func (x *Exec) Workers() int { return x.pool.Workers() }

// Tier returns the tier in use for float32.
func (x *Exec) Tier() Tier { return x.tier }

// Warning says why the tier asked for is not the one in use; it is empty if it is. The caller must show it.
func (x *Exec) Warning() string { return x.warning }

// Close ends the workers.
func (x *Exec) Close() { x.pool.Close() }

func tierList() string {
	var names []string
	for _, t := range Tiers() {
		names = append(names, t.String())
	}
	return strings.Join(names, ", ")
}

// engine is the part of an Exec that serves one element type.
type engine[T Float] struct {
	*table[T]
	scratch []scratch[T] // one per worker
	job     job[T]
}

func (e *engine[T]) init(t *table[T], workers int) {
	e.table = t
	e.scratch = make([]scratch[T], workers)
	e.job.e = e
}

// of returns the engine for T.
func of[T Float](x *Exec) *engine[T] {
	if e, ok := any(&x.f32).(*engine[T]); ok {
		return e
	}
	return any(&x.f64).(*engine[T])
}

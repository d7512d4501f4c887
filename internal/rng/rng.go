// Package rng gives random numbers that are a function of (seed, stream, index).
//
// The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), which is
// counter-based. A run has no state of it to save, nothing changes when work is cut differently over workers, and the
// number at any index costs the same as the first.
//
//	k := rng.New(seed, rng.Dropout).Sub(step)
//	u := k.Float64(position)
//
// Every purpose has its own Stream, so that one more draw in one place changes nothing elsewhere. Sub derives further
// independent streams (a step, a layer, a prompt). Perm is a permutation of [0,n) that is computed at any index, so
// that an epoch's order can be resumed at any batch.
//
// The package has no sequential generator and is not for secrets.
package rng

import (
	"math"
	"math/bits"
)

// Stream names a purpose. The numbers are part of what a seed means: never renumber them, nor use 5 again.
type Stream uint64

const (
	Init      Stream = 1 // initial weights
	Order     Stream = 2 // order of sequences in an epoch
	Dropout   Stream = 3 // dropout masks
	Sample    Stream = 4 // tokens drawn when generating
	Prompt    Stream = 6 // where prompts begin
	Probe     Stream = 7 // tests of a run before it starts
	Eval      Stream = 8 // which sequences an evaluation scores
	Bootstrap Stream = 9 // which prompts are drawn again for an interval
)

// Key is one stream of random numbers. Index i of a Key always has the same 128 random bits. It is a small value,
// safe to copy and to use concurrently.
type Key struct{ seed, stream uint64 }

// New returns the key of stream s under seed.
func New(seed uint64, s Stream) Key { return Key{seed, uint64(s)} }

// Sub returns the n-th stream derived from k. Different n, and different chains of n, give unrelated streams.
func (k Key) Sub(n uint64) Key {
	// With the complement of the seed, Sub(n) shares no block with the values at n.
	seed, stream := philox(n, k.stream, ^k.seed)
	return Key{seed, stream}
}

// Words returns the key as hardware takes it that computes Block and Sub itself: seed and stream, the low halves first.
func (k Key) Words() [4]uint32 {
	return [4]uint32{uint32(k.seed), uint32(k.seed >> 32), uint32(k.stream), uint32(k.stream >> 32)}
}

// Block returns the 128 random bits at index i.
func (k Key) Block(i uint64) (a, b uint64) { return philox(i, k.stream, k.seed) }

// Uint64 returns 64 random bits at index i.
func (k Key) Uint64(i uint64) uint64 {
	a, _ := philox(i, k.stream, k.seed)
	return a
}

// Float64 returns a number at index i, uniform in [0,1) on a grid of 2⁻⁵³.
func (k Key) Float64(i uint64) float64 { return float64(k.Uint64(i)>>11) * 0x1p-53 }

// Normal returns a standard normal number at index i, by the Box-Muller transform of one block.
//
// Numerics: |value| <= 8.6; the last bit may differ between architectures, as that of math.Log and math.Cos does.
func (k Key) Normal(i uint64) float64 {
	a, b := philox(i, k.stream, k.seed)
	u := (float64(a>>11) + 0.5) * 0x1p-53 // in (0,1): the logarithm is finite
	v := float64(b>>11) * 0x1p-53
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*v)
}

// Constants of Philox4x32, Salmon et al. 2011, table 2 and section 4.3.
const (
	philoxM0 = 0xD2511F53
	philoxM1 = 0xCD9E8D57
	philoxW0 = 0x9E3779B9
	philoxW1 = 0xBB67AE85
)

// philox applies Philox4x32-10 to the counter (lo, hi) under key. The low half of a word comes first.
func philox(lo, hi, key uint64) (uint64, uint64) {
	c0, c1, c2, c3 := uint32(lo), uint32(lo>>32), uint32(hi), uint32(hi>>32)
	k0, k1 := uint32(key), uint32(key>>32)
	for range 10 {
		p0 := philoxM0 * uint64(c0)
		p1 := philoxM1 * uint64(c2)
		c0, c1, c2, c3 = uint32(p1>>32)^c1^k0, uint32(p1), uint32(p0>>32)^c3^k1, uint32(p0)
		k0 += philoxW0
		k1 += philoxW1
	}
	return uint64(c0) | uint64(c1)<<32, uint64(c2) | uint64(c3)<<32
}

// Perm is a permutation of [0,n) that is computed, not stored. Safe for concurrent use.
type Perm struct {
	n    uint64
	half uint   // bits of one half of the Feistel domain
	mask uint64 // the low half
	keys [8]uint64
}

// Perm returns the permutation of [0,n) that belongs to k.
//
// Source: cycle walking over a balanced Feistel network, Black and Rogaway 2002, "Ciphers with arbitrary finite
// domains". Its eight rounds are more than an order of training data needs, and cost nanoseconds.
// Panics if n is zero.
func (k Key) Perm(n uint64) Perm {
	if n == 0 {
		panic("rng: permutation of nothing")
	}
	p := Perm{n: n, half: uint(bits.Len64(n-1)+1) / 2}
	p.mask = 1<<p.half - 1
	keys := k.Sub(n) // orders of different lengths are unrelated
	for i := range p.keys {
		p.keys[i] = keys.Uint64(uint64(i))
	}
	return p
}

// At returns the place of i. Each place below n belongs to exactly one i. Panics if i >= n.
//
// The domain is less than four times n, so the network is expected to run fewer than four times.
func (p Perm) At(i uint64) uint64 {
	if i >= p.n {
		panic("rng: index outside the permutation")
	}
	for {
		l, r := i>>p.half, i&p.mask
		for _, k := range p.keys {
			l, r = r, l^(mix(r+k)&p.mask)
		}
		i = l<<p.half | r
		// An image outside [0,n) is mapped again. The cycle began inside, so it returns.
		if i < p.n {
			return i
		}
	}
}

// mix is the finalizer of SplitMix64 (Steele et al. 2014), variant 13 of Stafford.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

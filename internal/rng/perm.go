package rng

import "math/bits"

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

package rng

import (
	"math"
	"testing"

	"gimbal/internal/testseed"
)

// random returns a generator whose seed is printed.
var random = testseed.Rand

// The vectors are those of Random123 (D. E. Shaw Research), examples/kat_vectors, philox4x32 10.
func TestPhiloxKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		counter, out [4]uint32
		key          [2]uint32
	}{
		{counter: [4]uint32{}, key: [2]uint32{}, out: [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{
			counter: [4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, key: [2]uint32{0xffffffff, 0xffffffff},
			out: [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
		},
		{
			counter: [4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, key: [2]uint32{0xa4093822, 0x299f31d0},
			out: [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	} {
		word := func(a, b uint32) uint64 { return uint64(a) | uint64(b)<<32 }
		a, b := philox(word(c.counter[0], c.counter[1]), word(c.counter[2], c.counter[3]), word(c.key[0], c.key[1]))
		if a != word(c.out[0], c.out[1]) || b != word(c.out[2], c.out[3]) {
			t.Errorf("counter %x key %x: %x %x, want %x", c.counter, c.key, a, b, c.out)
		}
	}
}

// What a seed means must not change from one version to the next: these are recorded from this package.
func TestRecorded(t *testing.T) {
	k := New(1, Order)
	if got, want := k.Uint64(0), uint64(0x8cedc5d3e73404cf); got != want {
		t.Errorf("Uint64: %#x, want %#x", got, want)
	}
	if got, want := k.Sub(7).Uint64(3), uint64(0xc34414a82fec8b9c); got != want {
		t.Errorf("Sub: %#x, want %#x", got, want)
	}
	p := k.Perm(1000)
	if got, want := [4]uint64{p.At(0), p.At(1), p.At(2), p.At(999)}, [4]uint64{992, 21, 690, 792}; got != want {
		t.Errorf("Perm: %v, want %v", got, want)
	}
}

func TestUniform(t *testing.T) {
	r := random(t)
	k := New(r.Uint64(), Init).Sub(r.Uint64())
	const n, cells = 1 << 18, 256
	var count [cells]float64
	sum := 0.0
	for i := range uint64(n) {
		u := k.Float64(i)
		if u < 0 || u >= 1 {
			t.Fatalf("Float64(%d) = %g", i, u)
		}
		sum += u
		count[int(u*cells)]++
	}
	chi := 0.0
	for _, c := range count {
		chi += (c - n/cells) * (c - n/cells) / (n / cells)
	}
	// χ² of 255 degrees of freedom has sd √510 = 22.6: six of them.
	if chi > 255+6*22.6 || chi < 255-6*22.6 {
		t.Errorf("χ² = %.1f of 255 degrees", chi)
	}
	if mean := sum / n; !(math.Abs(mean-0.5) <= 6/math.Sqrt(12*n)) {
		t.Errorf("mean %g", mean)
	}
}

func TestNormal(t *testing.T) {
	r := random(t)
	k := New(r.Uint64(), Init)
	const n = 1 << 18
	var m1, m2, m3, m4 float64
	for i := range uint64(n) {
		x := k.Normal(i)
		m1 += x
		m2 += x * x
		m3 += x * x * x
		m4 += x * x * x * x
	}
	for i, c := range []struct{ got, want, sd float64 }{
		{m1 / n, 0, 1}, {m2 / n, 1, math.Sqrt(2)}, {m3 / n, 0, math.Sqrt(15)}, {m4 / n, 3, math.Sqrt(96)},
	} {
		if !(math.Abs(c.got-c.want) <= 6*c.sd/math.Sqrt(n)) {
			t.Errorf("moment %d: %g, want %g", i+1, c.got, c.want)
		}
	}
}

// Bits of neighbouring indices, streams, seeds and derived keys have nothing in common.
func TestIndependent(t *testing.T) {
	r := random(t)
	seed := r.Uint64()
	k := New(seed, Dropout)
	for name, other := range map[string]func(i uint64) uint64{
		"next index": func(i uint64) uint64 { return k.Uint64(i + 1) },
		"stream":     New(seed, Sample).Uint64,
		"seed":       New(seed+1, Dropout).Uint64,
		"sub":        k.Sub(0).Uint64,
		"sub of sub": k.Sub(0).Sub(0).Uint64,
		"next sub":   func(i uint64) uint64 { return k.Sub(i).Uint64(0) },
		"other half": func(i uint64) uint64 { _, b := k.Block(i); return b },
	} {
		const n = 4096
		same := 0
		for i := range uint64(n) {
			x := ^(k.Uint64(i) ^ other(i))
			for ; x != 0; x &= x - 1 {
				same++
			}
		}
		if d := math.Abs(float64(same) - 32*n); d > 6*math.Sqrt(16*n) {
			t.Errorf("%s: %d of %d bits agree", name, same, 64*n)
		}
	}
}

func TestPermIsBijection(t *testing.T) {
	r := random(t)
	k := New(r.Uint64(), Order)
	seen := make([]uint64, 1001)
	for n := uint64(1); n <= 1000; n++ {
		p := k.Perm(n)
		for i := range n {
			at := p.At(i)
			if at >= n || seen[at] == n {
				t.Fatalf("n %d: At(%d) = %d twice or outside", n, i, at)
			}
			seen[at] = n
		}
	}
	// A large one over a window: no two alike, none outside, and the whole range is reached.
	for range 20 {
		n := r.Uint64()>>uint(r.IntN(40)) | 1<<20
		p := k.Perm(n)
		images := make(map[uint64]bool)
		var mean float64
		const window = 2000
		from := r.Uint64N(n - window)
		for i := range uint64(window) {
			at := p.At(from + i)
			if at >= n || images[at] {
				t.Fatalf("n %d: At(%d) = %d twice or outside", n, from+i, at)
			}
			images[at] = true
			mean += float64(at) / float64(n) / window
		}
		if math.Abs(mean-0.5) > 6/math.Sqrt(12*window) {
			t.Errorf("n %d: mean %g", n, mean)
		}
	}
}

// Every order of four comes up about equally often, and each position of a larger one gets each value.
func TestPermUniform(t *testing.T) {
	r := random(t)
	k := New(r.Uint64(), Order)
	orders := make(map[[4]uint64]float64)
	const n = 24 * 1000
	for s := range uint64(n) {
		p := k.Sub(s).Perm(4)
		orders[[4]uint64{p.At(0), p.At(1), p.At(2), p.At(3)}]++
	}
	chi := 0.0
	for _, c := range orders {
		chi += (c - 1000) * (c - 1000) / 1000
	}
	if len(orders) != 24 || chi > 23+6*math.Sqrt(46) {
		t.Errorf("%d orders of 24, χ² %.1f of 23 degrees", len(orders), chi)
	}
	var cell [10][10]float64
	for s := range uint64(n) {
		p := k.Sub(s).Perm(10)
		for i := range uint64(10) {
			cell[i][p.At(i)]++
		}
	}
	chi = 0
	for i := range cell {
		for _, c := range cell[i] {
			chi += (c - n/10) * (c - n/10) / (n / 10)
		}
	}
	if chi > 81+6*math.Sqrt(162) { // 9 × 9 free cells
		t.Errorf("positions: χ² %.1f of 81 degrees", chi)
	}
}

func TestPermMisuse(t *testing.T) {
	for name, f := range map[string]func(){
		"zero":    func() { New(1, Order).Perm(0) },
		"outside": func() { New(1, Order).Perm(5).At(5) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

var sink uint64

func BenchmarkUint64(b *testing.B) {
	k := New(1, Dropout)
	for i := range b.N {
		sink += k.Uint64(uint64(i))
	}
}

func BenchmarkNormal(b *testing.B) {
	k := New(1, Init)
	for i := range b.N {
		sink += uint64(k.Normal(uint64(i)))
	}
}

func BenchmarkPerm(b *testing.B) {
	p := New(1, Order).Perm(1_000_003)
	for i := range b.N {
		sink += p.At(uint64(i) % 1_000_003)
	}
}

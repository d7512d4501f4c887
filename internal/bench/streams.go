package bench

import "gimbal/internal/kernel"

// cacheLen is the number of elements of an array that stays in a core's second cache with two others.
const cacheLen = 32 << 10

// streams are the arrays that bandwidth is measured on.
type streams struct {
	n          int
	a, b, c, d []float32 // (n) in memory; a and b are only read
	sums       []float64 // of each worker, a cache line apart
	caches     [][3][]float32
}

func newStreams(x *kernel.Exec, n int) *streams {
	return &streams{n: n, sums: make([]float64, 8*x.Workers())}
}

// fill makes the arrays in memory, if they are not there yet.
func (s *streams) fill(x *kernel.Exec) {
	if s.a != nil {
		return
	}
	for i, to := range []*[]float32{&s.a, &s.b, &s.c, &s.d} {
		*to = random(x, make([]float32, s.n), 1, uint64(i))
	}
}

// small returns three arrays for each worker that stay in its cache.
func (s *streams) small(x *kernel.Exec) [][3][]float32 {
	for i := len(s.caches); i < x.Workers(); i++ {
		var c [3][]float32
		for j := range c {
			c[j] = random(x, make([]float32, cacheLen), 1, uint64(j))
		}
		s.caches = append(s.caches, c)
	}
	return s.caches[:x.Workers()]
}

// activations is the number of elements of what a pass of 4,096 tokens keeps of a layer 768 wide: more than a core's
// caches hold, less than the one they share.
const activations = 4096 * 768

// memory returns loops over the first n elements of all arrays: reading, writing one from two others (the triad of McCalpin's STREAM, counted
// as there: a write's own read is not), and adding to one from another.
func (s *streams) memory(x *kernel.Exec, n int) []stream {
	s.fill(x)
	run := func(f func(worker, lo, hi int)) func() {
		const grain = 4096
		job := part(func(worker, lo, hi int) {
			for ; lo < hi; lo += grain {
				f(worker, lo, min(hi, lo+grain))
			}
		})
		return func() { x.Pool().Do(n, grain, job) }
	}
	read := func(from []float32) func() {
		return run(func(worker, lo, hi int) { s.sums[8*worker] += float64(kernel.Sum(x, from[lo:hi])) })
	}
	all := []func(){read(s.a), read(s.b), read(s.c), read(s.d)} // each its first n elements
	return []stream{
		{"read", 16 * float64(n), func() {
			for _, f := range all {
				f()
			}
		}},
		{"triad", 12 * float64(n), run(func(_, lo, hi int) { kernel.Mul(x, s.c[lo:hi], s.a[lo:hi], s.b[lo:hi]) })},
		{"update", 12 * float64(n), run(func(_, lo, hi int) { kernel.Axpy(x, s.d[lo:hi], 1e-6, s.a[lo:hi]) })},
	}
}

// cache returns the same loops over arrays in each worker's cache.
func (s *streams) cache(x *kernel.Exec) []stream {
	c := s.small(x)
	const repeats = 8
	run := func(f func(slot int)) func() {
		job := part(func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				for range repeats {
					f(i)
				}
			}
		})
		return func() { x.Pool().Do(len(c), 1, job) }
	}
	n := float64(repeats * cacheLen * len(c))
	return []stream{
		{"read", 4 * n, run(func(i int) { s.sums[8*i] += float64(kernel.Sum(x, c[i][1])) })},
		{"triad", 12 * n, run(func(i int) { kernel.Mul(x, c[i][0], c[i][1], c[i][2]) })},
	}
}

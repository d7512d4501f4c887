package graph

import "math"

// Constants of the numbers of model.ProbeStats.
const (
	firstFocused = 8 // as in nn.Probe, and the next two
	deadBelow    = 1e-3
	deadShare    = 0.01
	probeSamples = 4096 // as in package model
)

// Probe is the program that measures how a model computes one sequence, as model.Model.Probe does. p has one row.
//
// In: as Forward. Out: stream (L+1, 3), the RMS, Kept and Peak of each model.StreamStats; heads (L, H, 2), the Logit
// and Entropy of each nn.HeadFocus; dead (L); head (2), LogZ and Logit; then nats and logZ (1, T).
func Probe(p Pass) Program {
	s := newPass(p, false)
	x, _ := s.decoder()
	nats, logZ, top, _ := s.head(x, value{})
	m := s.newMeasure()
	var heads, dead []value
	for i := range p.Arch.Layers {
		heads = append(heads, m.focus(s.parts[i]))
		dead = append(dead, m.dead(s.active[i]))
	}
	counted := s.compare("NE", s.counts, s.constant(0, s.n))
	mean := s.div(s.sum(logZ, 0), s.sum(s.cast(counted, F32), 0))
	largest := s.largest(s.choose(counted, top, s.constant(math.Inf(-1), s.n)), 0)
	return s.program("probe", max(1, p.Devices), m.streams(), s.concat(0, heads...), s.concat(0, dead...),
		s.columns(mean, largest), s.reshape(nats, 1, s.n), s.reshape(logZ, 1, s.n))
}

// measure looks at one sequence that begins its row.
type measure struct {
	*pass
	length value // of the sequence, a scalar of I32
	inside value // (T) whether a place is taken
}

func (s *pass) newMeasure() *measure {
	inside := s.compare("GE", s.reshape(s.seg, s.n), s.integer(I32, 0, s.n))
	length := s.reduce("add", s.integer(I32, 0), s.cast(inside, I32), 0)
	return &measure{s, length, inside}
}

// columns puts values of one shape side by side, in a dimension of its own.
func (s *pass) columns(xs ...value) value {
	for i, x := range xs {
		xs[i] = s.reshape(x, append(append([]int{}, x.Dims...), 1)...)
	}
	return s.concat(len(xs[0].Dims)-1, xs...)
}

// streams is (L+1, 3), without the first position where there are others.
func (m *measure) streams() value {
	c, n := m.Arch.Width, m.n
	levels := len(m.stream)
	all := make([]value, levels)
	for i, x := range m.stream {
		all[i] = m.reshape(x, 1, n, c)
	}
	x := m.concat(0, all...)
	one := m.integer(I32, 1)
	lo := m.cast(m.compare("GT", m.length, one), I32)
	used := m.binary("and", m.inside, m.compare("GE", m.count(I32, 0, n), m.spread(lo, []int{n})))
	zero := m.constant(0, x.Dims...)
	mask := m.spread(used, x.Dims, 1)
	x = m.choose(mask, x, zero)
	count := m.cast(m.sub(m.length, lo), F32)
	over := func(f float64) value { // a scalar for each level
		return m.spread(m.mul(count, m.constant(f)), []int{levels})
	}
	rms := m.unary("sqrt", m.div(m.sum(m.mul(x, x), 1, 2), over(float64(c))))

	// Kept, from the differences to the mean over positions.
	mean := m.sum(x, 1)
	mean = m.div(mean, m.spread(count, mean.Dims))
	varied := m.choose(mask, m.sub(x, m.spread(mean, x.Dims, 0, 2)), zero)
	before, after := m.cut(varied, 0, 0, levels-1), m.cut(varied, 0, 1, levels)
	kept := m.div(m.sum(m.mul(after, before), 1, 2), m.sum(m.mul(before, before), 1, 2))
	kept = m.concat(0, m.constant(1, 1), kept)

	size := m.unary("abs", x)
	peak := m.div(m.largest(size, 1, 2), m.median(m.transpose(m.reshape(size, levels, n*c), 1, 0), lo))
	return m.columns(rms, kept, peak)
}

// median is that of a sample of each column of sizes (T·C, L+1) from position lo on.
func (m *measure) median(sizes, lo value) value {
	c := uint64(m.Arch.Width)
	most := min(sizes.Dims[0], 2*probeSamples)
	scalar := func(n uint64) value { return m.integer(I32, n) }
	length := m.mul(m.sub(m.length, lo), scalar(c))
	step := m.binary("or", m.div(length, scalar(probeSamples)), scalar(1))
	at := m.mul(m.count(I32, 0, most), m.spread(step, []int{most}))
	there := m.compare("LT", at, m.spread(length, at.Dims))
	at = m.choose(there, m.add(at, m.spread(m.mul(lo, scalar(c)), at.Dims)), m.integer(I32, 0, most))
	sample := m.gather(sizes, m.reshape(at, most, 1))
	sample = m.choose(m.spread(there, sample.Dims, 0), sample, m.constant(math.Inf(1), sample.Dims...))
	samples := m.div(m.sub(m.add(length, step), scalar(1)), step)
	sorted := m.sort(sample)[0]
	return m.reshape(m.part(sorted, 0, m.div(samples, scalar(2)), 1), sizes.Dims[1])
}

// focus is (1, H, 2) of the queries and keys of a block.
func (m *measure) focus(parts [3]value) value {
	z, counts := m.scores(m.byHead(parts[0]), m.flat(m.byHead(parts[1])), m.integer(I32, 0))
	zero := m.constant(0, z.Dims...)
	counts = m.binary("and", counts, m.spread(m.inside, z.Dims, 3))
	logit := m.largest(m.choose(counts, m.unary("abs", z), zero), 3, 4)

	top := m.largest(m.choose(counts, z, m.constant(math.Inf(-1), z.Dims...)), 4)
	less := m.choose(counts, m.sub(z, m.spread(top, z.Dims, 0, 1, 2, 3)), zero)
	e := m.choose(counts, m.unary("exponential", less), zero)
	sum := m.sum(e, 4)
	entropy := m.sub(m.unary("log", sum), m.div(m.sum(m.mul(e, less), 4), sum))
	i := m.count(I32, 3, entropy.Dims...)
	keys := m.cast(m.add(i, m.integer(I32, 1, i.Dims...)), F32)
	focused := m.binary("and", m.spread(m.inside, i.Dims, 3), m.compare("GE", i, m.integer(I32, firstFocused,
		i.Dims...)))
	entropy = m.choose(focused, m.div(entropy, m.unary("log", keys)), m.constant(0, i.Dims...))
	queries := m.cast(m.binary("maximum", m.sub(m.length, m.integer(I32, firstFocused)), m.integer(I32, 0)), F32)
	mean := m.sum(entropy, 3)
	mean = m.div(mean, m.spread(queries, mean.Dims)) // 0/0 where there are none
	return m.columns(m.reshape(logit, 1, m.Arch.Heads), m.reshape(mean, 1, m.Arch.Heads))
}

// dead is (1), the share of units that are silent at all positions.
func (m *measure) dead(active value) value {
	f := m.Arch.MLP
	size := m.unary("abs", m.cast(m.cast(active, m.operand), F32))
	tops := m.largest(m.choose(m.spread(m.inside, size.Dims, 0), size, m.constant(0, size.Dims...)), 0)
	usual := m.unary("sqrt", m.mul(m.sum(m.mul(tops, tops), 0), m.constant(1/float64(f))))
	limit := m.binary("minimum", m.constant(deadBelow), m.mul(usual, m.constant(deadShare)))
	silent := m.binary("or", m.compare("EQ", tops, m.constant(0, f)), m.compare("LT", tops, m.spread(limit, []int{f})))
	return m.reshape(m.mul(m.sum(m.cast(silent, F32), 0), m.constant(1/float64(f))), 1)
}

package model

import (
	"math"
	"slices"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/nn"
)

// ProbeTokens is the most positions that Probe looks at.
const ProbeTokens = 256

// probeRows is ProbeTokens, or what a smaller micro-batch can hold.
func probeRows(opt Options) int { return min(ProbeTokens, opt.MicroTokens) }

// ProbeStats says how a model computes one sequence. Make it with NewProbeStats.
type ProbeStats struct {
	Stream []StreamStats  // (L+1): before each block and after the last
	Heads  []nn.HeadFocus // (L·H), block by block
	Dead   []float64      // (L): share of units of the MLP that are silent at all positions

	LogZ  float64 // mean logarithm of the sum of exponentials of logits
	Logit float64 // largest logit
}

// StreamStats describes the residual stream at one place. The first position is left out of it where there are others:
// in sound models it collects elements thousands of times larger than the rest.
type StreamStats struct {
	RMS float64
	// Kept is how much of the stream before the block is in the one after it: Σ y·x / Σ x·x, with the mean over
	// positions taken from the input x and the output y. A block that adds to its input keeps about 1 of it when it
	// begins, whatever it adds, and one that replaces it about 0. It is 1 for the embedding.
	Kept float64
	Peak float64 // largest size over the median size of an element
}

// NewProbeStats returns the memory that Probe overwrites.
func (m *Model[T]) NewProbeStats() *ProbeStats {
	l := m.arch.Layers
	return &ProbeStats{Stream: make([]StreamStats, l+1), Heads: make([]nn.HeadFocus, l*m.arch.Heads),
		Dead: make([]float64, l)}
}

// Probe computes one sequence of at most ProbeTokens positions without dropout and overwrites dst by how it went.
//
// Memory: uses the buffers of the next Backward and touches no gradients, so training goes on with the same bits.
// TokenNats and TokenLogZ are those of the sequence afterwards.
func (m *Model[T]) Probe(in Input, dst *ProbeStats) {
	require(len(in.Bounds) == 2 && len(in.Tokens) > 0 && len(in.Tokens) <= ProbeTokens && in.Dropout == nil,
		"model: probe of more than one short sequence")
	m.begin(in, true)
	m.probing = dst
	m.forward()
	m.probing = nil
	m.head.Loss(m.buf.nats, m.buf.logZ, m.buf.final, m.headWeights, in.Labels, in.Counts, nil)
	streamStats(m.x, dst.Stream, m.buf.x, m.n, m.arch.Width, m.buf.dx)
	m.probeLogits(dst)
}

// probeBlock measures block i right after its forward pass, while what it saved is still its own.
func (m *Model[T]) probeBlock(i int, dst *ProbeStats) {
	s, a := &m.buf.saved[i], m.arch
	q, k, _ := splitHeads(a, s.operands, s.qkv)
	m.prober.Focus(dst.Heads[i*a.Heads:(i+1)*a.Heads], q, k, m.mixers[i].scores, m.n)
	dst.Dead[i] = float64(m.prober.Dead(s.active, m.n)) / float64(a.MLP)
}

// probeSamples is the number of elements that the median size of the stream is taken of.
const probeSamples = 4096

// streamStats overwrites dst (L+1). stream holds n rows of c channels for each, and room as many.
func streamStats[T kernel.Float](x *kernel.Exec, dst []StreamStats, stream [][]T, n, c int, room []T) {
	lo, hi := min(1, n-1)*c, n*c
	for l := range dst {
		at := stream[l][lo:hi]
		dst[l] = StreamStats{RMS: math.Sqrt(kernel.SumSquares(x, at) / float64(len(at))), Kept: 1, Peak: peak(at, room)}
		if l > 0 {
			dst[l].Kept = kept(at, stream[l-1][lo:hi], c)
		}
	}
}

// kept is the share of before, rows of c channels, that is in after; see StreamStats.
func kept[T kernel.Float](after, before []T, c int) float64 {
	both, own := 0.0, 0.0
	for channel := range c {
		var y, x, yx, xx float64
		for i := channel; i < len(before); i += c {
			a, b := float64(after[i]), float64(before[i])
			y, x, yx, xx = y+a, x+b, yx+a*b, xx+b*b
		}
		n := float64(len(before) / c)
		both += yx - y*x/n
		own += xx - x*x/n
	}
	return both / own
}

// peak is the largest size of an element of x over the median size of a sample of them, which lies in room.
func peak[T kernel.Float](x, room []T) float64 {
	step := len(x)/probeSamples | 1 // odd, so that it meets all channels
	sizes := room[:0]
	var top T
	for i, v := range x {
		if v < 0 {
			v = -v
		}
		top = max(top, v)
		if i%step == 0 {
			sizes = append(sizes, v)
		}
	}
	slices.Sort(sizes)
	return float64(top) / float64(sizes[len(sizes)/2])
}

// probeLogits reads the head's only chunk, whose rows are exponentials of the logits less the largest of the row:
// ln Z less the logarithm of their sum is that largest one.
func (m *Model[T]) probeLogits(dst *ProbeStats) {
	dst.LogZ, dst.Logit = math.NaN(), math.Inf(-1)
	sum, counted := 0.0, 0
	for i, counts := range m.in.Counts {
		if !counts {
			continue
		}
		sum += m.buf.logZ[i]
		counted++
		dst.Logit = max(dst.Logit, m.buf.logZ[i]-math.Log(float64(kernel.Sum(m.x, m.buf.logits.RowF(i)))))
	}
	if counted > 0 {
		dst.LogZ = sum / float64(counted)
	}
}

// Activations are what a pass over one sequence of n positions computed elsewhere than in a Model.
type Activations struct {
	Stream        [][]float32 // (L+1): (n, C) before each block and after the last
	Queries, Keys [][]float32 // (L): (n, H·D), scaled, and (n, KV·D)
	Active        [][]float32 // (L): (n, F)
	LogZ, Top     []float64   // (n): of the logits, and the largest
	Counts        []bool      // (n)
}

// Stats says how the sequence was computed. It fails where GIMBAL_KERNEL names a tier that this machine lacks.
func (v Activations) Stats(a config.Arch) (*ProbeStats, error) {
	x, err := kernel.NewExec(0, kernel.TierAuto)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	n, l, dense := len(v.Counts), a.Layers, kernel.Dense[float32]
	s := &ProbeStats{Stream: make([]StreamStats, l+1), Heads: make([]nn.HeadFocus, l*a.Heads), Dead: make([]float64, l),
		Logit: math.Inf(-1)}
	streamStats(x, s.Stream, v.Stream, n, a.Width, make([]float32, n*a.Width))
	room := make([]float32, nn.ProbeLen(x.Workers(), n, a.HeadSize, a.MLP))
	p := nn.NewProbe(x, a.Heads, a.KVHeads, a.HeadSize, a.MLP, n, room)
	for i := range l {
		p.Focus(s.Heads[i*a.Heads:][:a.Heads], dense(v.Queries[i], n, a.Heads*a.HeadSize),
			dense(v.Keys[i], n, a.KVHeads*a.HeadSize),
			nn.Scores{Scale: 1, Cap: a.ScoreCap, Window: a.Layer(i).Window}, n)
		s.Dead[i] = float64(p.Dead(dense(v.Active[i], n, a.MLP), n)) / float64(a.MLP)
	}
	counted := 0.0
	for i, counts := range v.Counts {
		if counts {
			s.LogZ, s.Logit, counted = s.LogZ+v.LogZ[i], max(s.Logit, v.Top[i]), counted+1
		}
	}
	s.LogZ /= counted // NaN where nothing counts
	return s, nil
}

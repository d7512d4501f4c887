package model

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gimbal/internal/kernel"
	"gimbal/internal/nn"
	"gimbal/internal/param"
)

// naiveFocus recomputes what Probe says of block 0's heads from its operands, in float64 and the plain way.
func naiveFocus(m *Model[float32], n int) []nn.HeadFocus {
	a, s := m.arch, &m.buf.saved[0]
	rows, scale := s.operands, a.ScoreGain()
	window := a.Layer(0).Window
	if window == 0 {
		window = n
	}
	if m.bf16() {
		scale = 1
	}
	at := func(i, col int) float64 {
		if rows.H == nil {
			return float64(rows.RowF(i)[col])
		}
		return float64(math.Float32frombits(uint32(rows.RowH(i)[col]) << 16))
	}
	out := make([]nn.HeadFocus, a.Heads)
	for h := range out {
		g, entropy := h/(a.Heads/a.KVHeads), 0.0
		for i := range n {
			p, sum := make([]float64, min(window, i+1)), 0.0
			for j := range p {
				z := 0.0
				for c := range a.HeadSize {
					z += scale * at(i, h*a.HeadSize+c) * at(i-j, (a.Heads+g)*a.HeadSize+c)
				}
				if a.ScoreCap > 0 {
					z = a.ScoreCap * math.Tanh(z/a.ScoreCap)
				}
				out[h].Logit = max(out[h].Logit, math.Abs(z))
				p[j] = math.Exp(z)
				sum += p[j]
			}
			for _, v := range p {
				if i >= 8 {
					entropy -= v / sum * math.Log(v/sum) / math.Log(float64(len(p)))
				}
			}
		}
		out[h].Entropy = entropy / float64(n-8)
	}
	return out
}

func TestProbeAgainstTheBuffers(t *testing.T) {
	eachMode(t, 2, func(t *testing.T, x *kernel.Exec, mode string) {
		for shape := range shapes() {
			a := testArch(shape)
			a.Layers = 1 // what block 0 saved is still there after the pass
			r := random(t)
			in := ragged(r, a.Vocab, 70)
			in.Counts[3] = false
			m := newModel[float32](t, a, x, Options{MicroTokens: 100, Mode: mode})
			scramble(m, r)
			stats := m.NewProbeStats()
			m.Probe(in, stats)
			for h, want := range naiveFocus(m, 70) {
				if got := stats.Heads[h]; math.Abs(got.Logit-want.Logit) > 1e-4*want.Logit ||
					math.Abs(got.Entropy-want.Entropy) > 1e-4 {
					t.Errorf("%s: head %d: %+v, want %+v", a.Shape, h, got, want)
				}
			}
			logits := make([]float32, 70*a.Vocab)
			m.Logits(logits, in)
			top, mean := math.Inf(-1), 0.0
			for i := range 70 {
				if !in.Counts[i] {
					continue
				}
				sum := 0.0
				for _, z := range logits[i*a.Vocab : (i+1)*a.Vocab] {
					top = max(top, float64(z))
					sum += math.Exp(float64(z))
				}
				mean += math.Log(sum) / 69
			}
			if math.Abs(stats.LogZ-mean) > 1e-5*math.Abs(mean)+1e-5 || math.Abs(stats.Logit-top) > 1e-4*math.Abs(top) {
				t.Errorf("%s: ln Z %g and largest logit %g, want %g and %g",
					a.Shape, stats.LogZ, stats.Logit, mean, top)
			}
			x0, x1 := m.buf.x[0][a.Width:70*a.Width], m.buf.x[1][a.Width:70*a.Width]
			var mean0, mean1 [16]float64
			for i := range x0 {
				mean0[i%16] += float64(x0[i]) / 69
				mean1[i%16] += float64(x1[i]) / 69
			}
			both, s0, s1 := 0.0, 0.0, 0.0
			for i := range x0 {
				x, y := float64(x0[i])-mean0[i%16], float64(x1[i])-mean1[i%16]
				both, s0, s1 = both+x*y, s0+x*x, s1+float64(x1[i])*float64(x1[i])
			}
			want := StreamStats{RMS: math.Sqrt(s1 / float64(len(x1))), Kept: both / s0}
			if got := stats.Stream[1]; math.Abs(got.RMS-want.RMS) > 1e-9*want.RMS ||
				math.Abs(got.Kept-want.Kept) > 1e-6 || !(got.Peak > 1) {
				t.Errorf("%s: stream %+v, want %+v", a.Shape, got, want)
			}
		}
	})
}

// Silenced units, and no others, count as dead in their block.
func TestProbeCountsDeadUnits(t *testing.T) {
	x := newExec(t, 2, kernel.TierAuto)
	for shape := range shapes() {
		for _, mode := range []string{ModeFP32, ModeAuto} {
			a := testArch(shape)
			a.Layers, a.MLP = 3, 1100 // more than one piece of columns
			r := random(t)
			m := newModel[float32](t, a, x, Options{MicroTokens: 100, Mode: mode, Checkpointing: CheckpointBlock})
			scramble(m, r)
			in := ragged(r, a.Vocab, 90)
			stats := m.NewProbeStats()
			m.Probe(in, stats)
			if slices.Max(stats.Dead) != 0 {
				t.Errorf("%s: dead units %v in a model whose units all speak", a.Shape, stats.Dead)
			}
			gateUp := m.blocks[1].tensors[param.SlotGateUp]
			clear(gateUp[100*a.Width : 430*a.Width])
			if bias := m.blocks[1].tensors[param.SlotGateUpBias]; bias != nil {
				clear(bias[100:430])
			}
			m.Refresh()
			m.Probe(in, stats)
			const starved = 2 // a block with small weights is not dead
			m.params.ScaleBlock(starved, 1e-3)
			if bias := m.blocks[starved].tensors[param.SlotGateUpBias]; bias != nil {
				clear(bias)
			}
			m.Refresh()
			m.Probe(in, stats)
			if want := []float64{0, 0.3, 0}; !slices.EqualFunc(stats.Dead, want,
				func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
				t.Errorf("%s: dead units %v, want %v", a.Shape, stats.Dead, want)
			}
		}
	}
}

// A probe between two passes leaves the gradients and the bits of training alone, and allocates nothing.
func TestProbeDisturbsNothing(t *testing.T) {
	eachMode(t, 2, func(t *testing.T, x *kernel.Exec, mode string) {
		for _, checkpointing := range []string{CheckpointNone, CheckpointBlock} {
			r := random(t)
			a := testArch(0)
			a.Layers = 3
			in, probe := ragged(r, a.Vocab, 60, 9, 33), ragged(r, a.Vocab, 80)
			m := newModel[float32](t, a, x, Options{MicroTokens: 200, Mode: mode, Checkpointing: checkpointing})
			scramble(m, r)
			m.Backward(in, 0.1)
			m.Backward(in, 0.1)
			want := slices.Clone(m.grads)
			clear(m.grads)
			m.Backward(in, 0.1)
			stats := m.NewProbeStats()
			m.Probe(probe, stats)
			m.Backward(in, 0.1)
			if !slices.Equal(m.grads, want) {
				t.Errorf("checkpointing %s: other gradients after a probe", checkpointing)
			}
			if n := testing.AllocsPerRun(3, func() { m.Probe(probe, stats) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		}
	})
}

// What a cut residual path does to the stream: nothing of the block's input is left in its output.
func TestProbeSeesACutResidual(t *testing.T) {
	x := newExec(t, 2, kernel.TierAuto)
	for shape := range shapes() {
		a := testArch(shape)
		a.Layers, a.Width, a.MLP = 4, 64, 128
		m := newModel[float32](t, a, x, Options{MicroTokens: 200})
		m.Init(uint64(shape))
		m.PlantFaults(PlantedFault{FaultCutResidual, 2})
		stats := m.NewProbeStats()
		// One batch: what a cut has left is small beside a block with norms after its halves, which then keeps less by
		// chance, in one of a hundred batches less than half.
		m.Probe(ragged(rand.New(rand.NewPCG(1, 1)), a.Vocab, 200), stats)
		for l, s := range stats.Stream {
			if cut := l == 3; cut != (math.Abs(s.Kept) < 0.5) {
				t.Errorf("%s: block %d keeps %g of its input", a.Shape, l-1, s.Kept)
			}
		}
	}
}

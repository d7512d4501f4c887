package engine

import "gimbal/internal/model"

// A probe has as many positions on every engine.
var _ = [1]int{}[ProbeTokens-model.ProbeTokens]

// prober is the memory of passes with Probe.
type prober struct {
	stats *model.ProbeStats
	out   ProbeStats
}

func newProber(m *model.Model[float32]) *prober {
	s := m.NewProbeStats()
	return &prober{s, ProbeStats{Stream: make([]Stream, len(s.Stream)), Entropy: make([]float64, len(s.Heads)),
		ScoreMax: make([]float64, len(s.Heads)), Dead: s.Dead}}
}

// read returns what the model wrote into stats.
func (p *prober) read() *ProbeStats {
	for l, s := range p.stats.Stream {
		p.out.Stream[l] = Stream(s)
	}
	for i, h := range p.stats.Heads {
		p.out.Entropy[i], p.out.ScoreMax[i] = h.Entropy, h.Logit
	}
	p.out.LogZ, p.out.LogitMax = p.stats.LogZ, p.stats.Logit
	return &p.out
}

package bench

import (
	"time"

	"gimbal/internal/config"
	"gimbal/internal/model"
)

// stepFLOPs counts the operations of training on one token: 6 for each multiplied parameter, and 12·L·d·T for
// attention, of which the causal half.
func stepFLOPs(a config.Arch) float64 {
	_, multiplied := a.Params()
	return 6*float64(multiplied) + 6*float64(a.Layers*a.Heads*a.HeadSize*a.Context)
}

// partFLOPs counts the operations of a part on one token; 0 for a part that multiplies nothing. The sum over parts is
// stepFLOPs.
func partFLOPs(a config.Arch, part string) float64 {
	l, c, f := float64(a.Layers), float64(a.Width), float64(a.MLP)
	q, kv := float64(a.Heads*a.HeadSize), float64(a.KVHeads*a.HeadSize)
	matrices := 2.0
	if a.Gated() {
		matrices = 3
	}
	switch part {
	case model.PartQKVForward, model.PartQKVBackInput, model.PartQKVBackWeight:
		return 2 * l * c * (q + 2*kv)
	case model.PartOForward, model.PartOBackInput, model.PartOBackWeight:
		return 2 * l * c * q
	case model.PartMLPForward, model.PartMLPBackInput, model.PartMLPBackWeight:
		return 2 * l * c * f * matrices
	case model.PartAttentionForward:
		return 2 * l * q * float64(a.Context)
	case model.PartAttentionBackward:
		return 4 * l * q * float64(a.Context)
	case model.PartHead:
		return 6 * c * float64(a.Vocab)
	}
	return 0
}

// stopwatch adds up the parts of a step.
type stopwatch struct {
	began, last time.Time
	parts       []Part
}

func (s *stopwatch) start() {
	s.began = time.Now()
	s.last, s.parts = s.began, nil
}

// did adds the time since the last part to this one.
func (s *stopwatch) did(name string) {
	now := time.Now()
	seconds := now.Sub(s.last).Seconds()
	s.last = now
	for i := range s.parts {
		if s.parts[i].Name == name {
			s.parts[i].Seconds += seconds
			return
		}
	}
	s.parts = append(s.parts, Part{Name: name, Seconds: seconds})
}

// stop returns the time since start, up to the last part, and the parts with their shares.
func (s *stopwatch) stop() (seconds float64, parts []Part) {
	seconds = s.last.Sub(s.began).Seconds()
	for i := range s.parts {
		s.parts[i].Share = s.parts[i].Seconds / seconds
	}
	return seconds, s.parts
}

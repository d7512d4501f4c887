package graph

// Probe is the program that shows how a model computes one sequence, for model.Activations. p has one row.
//
// In: as Forward. Out: nats, logZ and the largest logit of each position (T); the residual stream (T, C) before each
// block and after the last; then queries (T, H, D), keys (T, KV, D) and active units (T, F) of each block, as the next
// multiply reads them.
func Probe(p Pass) Program {
	s := newPass(p, false)
	x, _ := s.decoder()
	nats, logZ, top, _ := s.head(x, value{})
	outs := append([]value{nats, logZ, top}, s.stream...)
	for i := range p.Arch.Layers {
		for _, x := range []value{s.parts[i][0], s.parts[i][1], s.active[i]} {
			outs = append(outs, s.cast(s.cast(x, s.operand), F32))
		}
	}
	return s.program("probe", max(1, p.Devices), outs...)
}

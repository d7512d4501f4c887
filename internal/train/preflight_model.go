package train

import (
	"fmt"
	"math"
	"slices"

	"gimbal/internal/data"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/rng"
)

const (
	probePositions = 512  // of all sequences of a probe of the model, at most; fewer for a large one
	probeSequence  = 160  // positions of one of them: more than two blocks of attention
	probeWork      = 5e10 // parameters times positions of a probe, so that a large model takes seconds, too
	probeSequences = 6
	sameGradient   = 1e-3 // relative difference of gradients that are summed in another order
	startShare     = 0.05 // of ln V, which the first loss may be away from it
	embedVariance  = 4e-4 // of a fresh embedding
)

// sequences returns a few sequences of the training part, spread over it and cut to a few positions, as one batch.
func (p *preflight) sequences(most int) *data.Batch {
	total, multiplied := p.arch.Params()
	budget := min(probePositions, p.cfg.Train.MicroTokens, max(64, int(probeWork/float64(max(total, multiplied)))))
	most = min(most, budget)
	b, one := new(data.Batch), new(data.Batch)
	n := p.corpus.train.Sequences()
	for i := range int64(most) {
		if i >= n {
			break
		}
		one.Reset()
		p.read(p.corpus.train, one, i*n/int64(most))
		take := min(len(one.Tokens), probeSequence, budget/most)
		span := one.Spans[0]
		span.Start, span.Len = len(b.Tokens), take
		b.Tokens, b.Labels, b.Counts = append(b.Tokens, one.Tokens[:take]...), append(b.Labels, one.Labels[:take]...), append(b.Counts, one.Counts[:take]...)
		b.Spans = append(b.Spans, span)
	}
	for _, counts := range b.Counts {
		if counts {
			b.Counted++
		}
	}
	return b
}

// whole is a batch as one pass of the model.
func whole(b *data.Batch) model.Input {
	return input(data.SplitMicro(nil, b, max(1, len(b.Tokens)))[0])
}

// longest returns a sequence of at least two tokens, cut to a few positions, all of which count. ok is false where no
// probed sequence has so many.
func (p *preflight) longest() (in model.Input, ok bool) {
	b := p.sequences(1)
	for most := 2; len(b.Tokens) < 2 && most <= 64; most *= 2 {
		all := p.sequences(most)
		for _, s := range all.Spans {
			if lo, hi := s.Start, s.Start+s.Len; s.Len > len(b.Tokens) {
				b = &data.Batch{Tokens: all.Tokens[lo:hi], Labels: all.Labels[lo:hi], Counts: all.Counts[lo:hi], Spans: []data.Span{{Len: s.Len}}}
			}
		}
	}
	if len(b.Tokens) < 2 || p.arch.Vocab < 2 {
		return in, false
	}
	in = whole(b)
	in.Counts = make([]bool, len(in.Tokens))
	for i := range in.Counts {
		in.Counts[i] = true
	}
	return in, true
}

// replaced returns tokens with every one from position from on replaced by another one.
func (p *preflight) replaced(tokens []int32, from int) []int32 {
	other, vocab := slices.Clone(tokens), int32(p.arch.Vocab)
	for i := from; i < len(other); i++ {
		other[i] = (other[i] + 1 + int32(i)%(vocab-1)) % vocab
	}
	return other
}

// logProbs runs the model forward and returns what every position's logits come to: the nats of its label and the
// logarithm of the sum of all exponentials.
func (p *preflight) logProbs(in model.Input) (nats, logZ []float64) {
	p.loss(in)
	return slices.Clone(p.model.TokenNats()), slices.Clone(p.model.TokenLogZ())
}

// checkLeak replaces the end of a sequence: what was computed before it must keep its bits, what comes after must not.
func (p *preflight) checkLeak() finding {
	in, ok := p.longest()
	if !ok {
		return found(resultSkipped, "no sequence has two tokens: there is nothing to the right of anything")
	}
	n := len(in.Tokens)
	nats, logZ := p.logProbs(in)
	other := in
	for _, from := range []int{1, n / 2, min(64, n-1), n - 1} { // 64 is an edge of a block of attention
		other.Tokens = p.replaced(in.Tokens, from)
		nats2, logZ2 := p.logProbs(other)
		for i := range from {
			if nats[i] != nats2[i] || logZ[i] != logZ2[i] {
				return found(resultError, "position %d of %d changes when only tokens from position %d on do: the model sees what it is to predict", i, n, from).
					do("its loss would mean nothing; report it with the run's config.toml and the line \"kernels\" of its plan").
					with(map[string]float64{"position": float64(i), "changed_from": float64(from), "nats": nats[i], "nats_changed": nats2[i]})
			}
		}
		if slices.Equal(nats[from:], nats2[from:]) && slices.Equal(logZ[from:], logZ2[from:]) {
			return found(resultError, "nothing changes when the tokens from position %d on do: the model does not read its input", from).
				do("weights that are all zero or not finite do this; look at the checkpoint that the run starts from")
		}
	}
	return found(resultOK, "%d positions keep their bits whatever follows them", n).with(map[string]float64{"positions": float64(n)})
}

// checkGradientLeak counts the loss of the first half of a sequence only and replaces the tokens behind it: no gradient may
// change by a bit, neither of the embedding (what is read there has no part in the loss) nor of anything else.
func (p *preflight) checkGradientLeak() finding {
	in, ok := p.longest()
	if !ok {
		return found(resultSkipped, "no sequence has two tokens: there is nothing to the right of anything")
	}
	n, views := len(in.Tokens), p.model.Params().Views
	half := n / 2
	in.Counts = append(slices.Repeat([]bool{true}, half), make([]bool, n-half)...)
	gradients := func(tokens []int32) []uint64 {
		in.Tokens = tokens
		clear(p.model.Grads())
		p.backward(in, 1/float64(half))
		return fingerprints(p.model.Grads(), views)
	}
	tokens := in.Tokens
	first := gradients(tokens)
	second := gradients(p.replaced(tokens, half))
	norm := p.adam.GlobalNorm(p.model.Grads())
	if !(norm > 0 && norm <= math.MaxFloat64) {
		return found(resultError, "the gradient of %d positions has the norm %g: there is nothing to learn from", half, norm).
			do("weights that are all zero or not finite do this; look at the checkpoint that the run starts from").with(map[string]float64{"grad_norm": norm})
	}
	for i, v := range views {
		if first[i] != second[i] {
			return found(resultError, "the gradient of %s from the first %d positions changes with the tokens behind them", v.Name, half).
				do("positions learn from what is to their right; report it with the run's config.toml and the line \"kernels\" of its plan")
		}
	}
	return found(resultOK, "no gradient of the first %d positions depends on the %d behind them", half, n-half).
		with(map[string]float64{"positions": float64(half), "grad_norm": norm})
}

// fingerprints hashes each tensor of flat; zeros of both signs are one.
func fingerprints(flat []float32, views []model.View) []uint64 {
	sums := make([]uint64, len(views))
	for i, v := range views {
		h := uint64(14695981039346656037) // FNV-1a, by words
		for _, x := range flat[v.Lo:v.Hi] {
			h = (h ^ uint64(math.Float32bits(x+0))) * 1099511628211
		}
		sums[i] = h
	}
	return sums
}

// checkInvariance computes the same sequences as one pass, in the other order, and each by itself: every position's nats must
// be the same bits. The gradient of the loop, cut into the smallest passes, must be that of one pass but for rounding.
func (p *preflight) checkInvariance() finding {
	b := p.sequences(probeSequences)
	nats := func(spans []data.Span) []float64 { // of the spans in this order, back in the order of the batch
		var t data.Batch
		for _, s := range spans {
			lo, hi := s.Start, s.Start+s.Len
			t.Spans = append(t.Spans, data.Span{Start: len(t.Tokens), Len: s.Len})
			t.Tokens, t.Labels, t.Counts = append(t.Tokens, b.Tokens[lo:hi]...), append(t.Labels, b.Labels[lo:hi]...), append(t.Counts, b.Counts[lo:hi]...)
		}
		got, _ := p.logProbs(whole(&t))
		back := make([]float64, len(b.Tokens))
		for i, s := range spans {
			copy(back[s.Start:s.Start+s.Len], got[t.Spans[i].Start:])
		}
		return back
	}
	together, spans := nats(b.Spans), slices.Clone(b.Spans)
	slices.Reverse(spans)
	reversed, alone := nats(spans), make([]float64, len(b.Tokens))
	for _, s := range b.Spans {
		copy(alone[s.Start:s.Start+s.Len], nats([]data.Span{s})[s.Start:])
	}
	for i := range together {
		if together[i] != reversed[i] || together[i] != alone[i] {
			return found(resultError, "position %d of a batch has %.9g nats, %.9g with the sequences in the other order, and %.9g alone", i, together[i], reversed[i], alone[i]).
				do("sequences see their neighbours; report it with the run's config.toml and the line \"kernels\" of its plan")
		}
	}
	micro := p.cfg.Train.MicroTokens
	p.cfg.Train.MicroTokens = slices.MaxFunc(b.Spans, func(a, b data.Span) int { return a.Len - b.Len }).Len
	clear(p.model.Grads())
	p.accumulate(b)
	p.cfg.Train.MicroTokens = micro
	cut := p.adam.GlobalNorm(p.model.Grads())
	if p.arch.Dropout == 0 { // otherwise the loop's gradient is that of a masked model, as it should be
		p.backward(whole(b), -1/float64(b.Counted))
		if apart := p.adam.GlobalNorm(p.model.Grads()); !(apart <= sameGradient*cut) {
			return found(resultError, "the gradient of %d sequences has the norm %.6g in small passes, and that of one pass differs from it by %.2g", len(b.Spans), cut, apart).
				do("the step does not have one denominator; report it with the run's config.toml").with(map[string]float64{"grad_norm": cut, "difference": apart})
		}
	}
	return found(resultOK, "%d sequences have the same nats in any order and alone, and one gradient however they are cut", len(b.Spans)).
		with(map[string]float64{"sequences": float64(len(b.Spans)), "positions": float64(len(together))})
}

// checkStartLoss compares the loss of fresh weights with ln V, that of knowing nothing. The labels are drawn, not read: a
// head that is the embedding begins by predicting what it reads, which text repeats more or less often.
func (p *preflight) checkStartLoss() finding {
	if p.weights != freshWeights {
		return found(resultSkipped, "the weights come from %s: only fresh ones are near ln V", p.weights)
	}
	b := p.sequences(probeSequences)
	in, drawn := whole(b), rng.New(p.cfg.Train.Seed, rng.Probe)
	in.Labels, in.Counts = make([]int32, len(b.Tokens)), slices.Repeat([]bool{true}, len(b.Tokens))
	for i := range in.Labels {
		in.Labels[i] = int32(drawn.Uint64(uint64(i)) % uint64(p.arch.Vocab))
	}
	loss, blind := p.loss(in)/float64(len(in.Labels)), math.Log(float64(p.arch.Vocab))
	// Logits of variance s² add s²/2 nats to ln V; those of a normed state have s² = width·0.02².
	room := startShare*blind + embedVariance*float64(p.arch.Width)/2
	numbers := map[string]float64{"loss": loss, "ln_vocabulary": blind, "room": room}
	if apart := math.Abs(loss - blind); !(apart <= room) {
		result := resultWarning
		if !(apart <= 4*room) {
			result = resultError
		}
		return found(result, "fresh weights have a loss of %.4g nats per token, and knowing nothing has ln %d = %.4g", loss, p.arch.Vocab, blind).
			do("the initial weights are wrong; report it with the run's config.toml").with(numbers)
	}
	return found(resultOK, "%.3f nats per token, and ln %d is %.3f", loss, p.arch.Vocab, blind).with(numbers)
}

// multiplies computes y = x·Wᵀ, dx = dy·W and dw = dyᵀ·x for W (out, in), x (n, in) and dy (n, out).
type multiplies func(w, x, dy []float32, n, out, in int) (y, dx, dw []float32)

// newMultiplies returns the multiplies of a run, in its precision.
func newMultiplies(t *trainer) multiplies {
	return func(w, x, dy []float32, n, out, in int) (y, dx, dw []float32) {
		h, operand := kernel.NewWeights(w, out, in), kernel.Dense[float32]
		if t.model.Mode() == model.ModeBF16 {
			h = kernel.NewWeightsBF16(w, out, in)
			operand = func(f []float32, rows, cols int) kernel.Mat[float32] {
				elements, stride := kernel.OperandLen(rows, cols)
				m := kernel.Mat[float32]{H: make([]uint16, elements), Rows: rows, Cols: cols, Stride: stride}
				for i := range rows {
					kernel.ToBF16(t.exec, m.H[i*stride:i*stride+cols], f[i*cols:(i+1)*cols])
				}
				return m
			}
		}
		h.Refresh(t.exec)
		y, dx, dw = make([]float32, n*out), make([]float32, n*in), make([]float32, out*in)
		h.Forward(t.exec, kernel.Dense(y, n, out), operand(x, n, in), n)
		h.BackInput(t.exec, kernel.Dense(dx, n, in), operand(dy, n, out), n)
		h.BackWeight(t.exec, dw, operand(dy, n, out), operand(x, n, in), n)
		return y, dx, dw
	}
}

// checkKernel makes the three multiplies of training on numbers whose products and sums are exact in every precision.
func (p *preflight) checkKernel() finding {
	const rows = 37 // no multiple of anything
	in, out := min(p.arch.Width, 256), min(p.arch.MLP, 256)
	fill := func(n, salt int) []float32 {
		s := make([]float32, n)
		for i := range s {
			s[i] = float32((i*i+i/7*salt)%13-6) / 4
		}
		return s
	}
	w, x, dy := fill(out*in, 3), fill(rows*in, 5), fill(rows*out, 11)
	y, dx, dw := p.multiply(w, x, dy, rows, out, in)
	for _, c := range []struct {
		name            string
		got             []float32
		m, n, k         int
		a, b            []float32
		ai, ak, bj, bk1 int // strides
	}{
		{"x·Wᵀ", y, rows, out, in, x, w, in, 1, in, 1},
		{"dy·W", dx, rows, in, out, dy, w, out, 1, 1, in},
		{"dyᵀ·x", dw, out, in, rows, dy, x, 1, out, 1, in},
	} {
		for i := range c.m {
			for j := range c.n {
				sum := float32(0)
				for k := range c.k {
					sum += c.a[i*c.ai+k*c.ak] * c.b[j*c.bj+k*c.bk1]
				}
				if got := c.got[i*c.n+j]; got != sum {
					return found(resultError, "element (%d, %d) of %s is %g on %s and %g in plain Go", i, j, c.name, got, p.kernelName(), sum).
						do("choose another tier with GIMBAL_KERNEL, and report it: this CPU or its kernel computes wrongly")
				}
			}
		}
	}
	if warning := p.exec.Warning(); warning != "" {
		return found(resultWarning, "%s", warning).do("\"gimbal bench kernels\" shows what it costs")
	}
	return found(resultOK, "the multiplies of %s agree with plain Go in every element", p.kernelName())
}

func (p *preflight) kernelName() string { return fmt.Sprintf("%s %s", p.exec.Tier(), p.model.Mode()) }

package preflight

import (
	"context"
	"math"
	"slices"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/rng"
)

const (
	sameGradient  = 1e-3 // relative difference of gradients that are summed in another order
	startShare    = 0.05 // of ln V, which the first loss may be away from it
	embedVariance = 4e-4 // of a fresh embedding
)

// What to do about a model that computes wrongly.
const (
	adviceWeights = "weights that are all zero or not finite do this; look at the checkpoint that the run starts from"
	adviceReport  = "report it with the run's config.toml"
	adviceKernels = adviceReport + " and the line \"kernels\" of its plan"
)

// noRight says that a text has no two tokens in a row.
var noRight = found(resultSkipped, "no sequence has two tokens: there is nothing to the right of anything")

// checkKernel lets the engine compare its multiplies with plain Go.
func (c *checker) checkKernel(context.Context) finding {
	if difference := c.Opener.SelfTest(c.Plan.Spec); difference != "" {
		return found(resultError, "%s", difference).
			do("choose another tier with GIMBAL_KERNEL, and report it: this CPU or its kernel computes wrongly")
	}
	hardware := c.Plan.Hardware
	if hardware.Warning != "" {
		return found(resultWarning, "%s", hardware.Warning).do("\"gimbal bench kernels\" shows what it costs")
	}
	return found(resultOK, "the multiplies of %s %s agree with plain Go in every element", hardware.Name,
		c.Engine.Info().Mode)
}

// checkLeak replaces the end of a sequence: what was computed before it must keep its bits, what comes after must not.
func (c *checker) checkLeak(ctx context.Context) finding {
	in, ok := c.longest()
	if !ok {
		return noRight
	}
	n := len(in.Tokens)
	nats, logZ, err := c.logProbs(ctx, in)
	if err != nil {
		return failed(err)
	}
	other := in
	for _, from := range []int{1, n / 2, min(64, n-1), n - 1} { // 64 is an edge of a block of attention
		other.Tokens = c.replaced(in.Tokens, from)
		nats2, logZ2, err := c.logProbs(ctx, other)
		if err != nil {
			return failed(err)
		}
		for i := range from {
			if nats[i] != nats2[i] || logZ[i] != logZ2[i] {
				return found(resultError, "position %d of %d changes when only tokens from position %d on do: "+
					"the model sees what it is to predict", i, n, from).
					do("its loss would mean nothing; " + adviceKernels).
					with(map[string]float64{"position": float64(i), "changed_from": float64(from),
						"nats": nats[i], "nats_changed": nats2[i]})
			}
		}
		if slices.Equal(nats[from:], nats2[from:]) && slices.Equal(logZ[from:], logZ2[from:]) {
			return found(resultError, "nothing changes when the tokens from position %d on do: "+
				"the model does not read its input", from).do(adviceWeights)
		}
	}
	return found(resultOK, "%d positions keep their bits whatever follows them", n).
		with(map[string]float64{"positions": float64(n)})
}

// checkGradientLeak counts the loss of the first half of a sequence only and replaces the tokens behind it: no gradient
// may change by a bit, neither of the embedding (what is read there has no part in the loss) nor of anything else.
func (c *checker) checkGradientLeak(ctx context.Context) finding {
	in, ok := c.longest()
	if !ok {
		return noRight
	}
	n := len(in.Tokens)
	half := n / 2
	in.Counts, in.Scale = append(all(half), make([]bool, n-half)...), 1/float64(half)
	gradient := func(tokens []int32) (engine.Report, error) {
		in.Tokens = tokens
		c.Engine.Discard()
		if _, err := c.Engine.Pass(ctx, in, engine.Gradient); err != nil {
			return engine.Report{}, err
		}
		return c.gradient(ctx, engine.Hashes)
	}
	tokens := in.Tokens
	first, err := gradient(tokens)
	if err != nil {
		return failed(err)
	}
	first.Hashes = slices.Clone(first.Hashes)
	second, err := gradient(c.replaced(tokens, half))
	if err != nil {
		return failed(err)
	}
	norm := second.GradNorm
	if !(norm > 0 && norm <= math.MaxFloat64) {
		return found(resultError, "the gradient of %d positions has the norm %g: there is nothing to learn from",
			half, norm).do(adviceWeights).with(map[string]float64{"grad_norm": norm})
	}
	for i, t := range c.Engine.Info().Tensors {
		if first.Hashes[i] != second.Hashes[i] {
			return found(resultError, "the gradient of %s from the first %d positions changes with the tokens "+
				"behind them", t.Name, half).do("positions learn from what is to their right; " + adviceKernels)
		}
	}
	return found(resultOK, "no gradient of the first %d positions depends on the %d behind them", half, n-half).
		with(map[string]float64{"positions": float64(half), "grad_norm": norm})
}

// checkInvariance computes the same sequences as one pass, in the other order, and each by itself: every position's
// nats must be the same bits. Then it compares gradients; see sameGradients.
func (c *checker) checkInvariance(ctx context.Context) finding {
	b := c.sequences(probeSequences)
	var err error
	nats := func(spans []data.Span) []float64 { // of the spans in this order, back in the order of the batch
		var t data.Batch
		for _, s := range spans {
			add(&t, b, s)
		}
		back := make([]float64, len(b.Tokens))
		got, _, e := c.logProbs(ctx, whole(&t))
		if e != nil {
			err = e
			return back
		}
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
	if err != nil {
		return failed(err)
	}
	for i := range together {
		if together[i] != reversed[i] || together[i] != alone[i] {
			return found(resultError, "position %d of a batch has %.9g nats, %.9g with the sequences in the other "+
				"order, and %.9g alone", i, together[i], reversed[i], alone[i]).
				do("sequences see their neighbours; " + adviceKernels)
		}
	}
	if f := c.sameGradients(ctx, b); f.result != resultOK {
		return f
	}
	return found(resultOK, "%d sequences have the same nats in any order and alone, and one gradient however they "+
		"are cut", len(b.Spans)).
		with(map[string]float64{"sequences": float64(len(b.Spans)), "positions": float64(len(together))})
}

// sameGradients adds the gradient of b in the smallest passes and takes away that of one pass: but for rounding nothing
// may be left. Nothing is dropped in either, whatever the run will drop.
func (c *checker) sameGradients(ctx context.Context, b *data.Batch) finding {
	longest := slices.MaxFunc(b.Spans, func(a, b data.Span) int { return a.Len - b.Len }).Len
	loop := engine.Accumulator{MicroTokens: longest}
	c.Engine.Discard()
	if err := loop.Gradient(ctx, c.Engine, b, 1); err != nil {
		return failed(err)
	}
	cut, err := c.gradient(ctx, 0)
	if err != nil {
		return failed(err)
	}
	in := whole(b)
	in.Scale = -engine.Scale(b)
	if _, err := c.Engine.Pass(ctx, in, engine.Gradient); err != nil {
		return failed(err)
	}
	rest, err := c.gradient(ctx, 0)
	if err != nil {
		return failed(err)
	}
	if !(rest.GradNorm <= sameGradient*cut.GradNorm) {
		return found(resultError, "the gradient of %d sequences has the norm %.6g in small passes, and that of one "+
			"pass differs from it by %.2g", len(b.Spans), cut.GradNorm, rest.GradNorm).
			do("the step does not have one denominator; " + adviceReport).
			with(map[string]float64{"grad_norm": cut.GradNorm, "difference": rest.GradNorm})
	}
	return finding{result: resultOK}
}

// checkStartLoss compares the loss of fresh weights with ln V, that of knowing nothing. The labels are drawn, not read:
// a head that is the embedding begins by predicting what it reads, which text repeats more or less often.
func (c *checker) checkStartLoss(ctx context.Context) finding {
	if c.Weights != Fresh {
		return found(resultSkipped, "the weights come from %s: only fresh ones are near ln V", c.Weights)
	}
	arch := c.Plan.Spec.Arch
	in, drawn := whole(c.sequences(probeSequences)), rng.New(c.Plan.Config.Train.Seed, rng.Probe)
	in.Labels, in.Counts = make([]int32, len(in.Tokens)), all(len(in.Tokens))
	for i := range in.Labels {
		in.Labels[i] = int32(drawn.Uint64(uint64(i)) % uint64(arch.Vocab))
	}
	v, err := c.Engine.Pass(ctx, in, engine.Nats)
	if err != nil {
		return failed(err)
	}
	loss, blind := v.Nats/float64(len(in.Labels)), math.Log(float64(arch.Vocab))
	// Logits of variance s² add s²/2 nats to ln V; those of a normed state have s² = width·0.02².
	room := startShare*blind + embedVariance*float64(arch.Width)/2
	numbers := map[string]float64{"loss": loss, "ln_vocabulary": blind, "room": room}
	if apart := math.Abs(loss - blind); !(apart <= room) {
		result := resultWarning
		if !(apart <= 4*room) {
			result = resultError
		}
		return found(result, "fresh weights have a loss of %.4g nats per token, and knowing nothing has ln %d = %.4g",
			loss, arch.Vocab, blind).do("the initial weights are wrong; " + adviceReport).with(numbers)
	}
	return found(resultOK, "%.3f nats per token, and ln %d is %.3f", loss, arch.Vocab, blind).with(numbers)
}

package preflight

import (
	"context"
	"math"
	"slices"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/rng"
)

// placeRoom is how many nats a loss may differ by on a device where its sequence lies elsewhere in a row.
var placeRoom = map[string]float64{"fp32": 1e-4, "bf16": 0.1}

const (
	sameNorm      = 1e-6 // relative difference of norms that rounding explains
	sameGradient  = 1e-3 // relative difference of gradients that are summed in another order
	startShare    = 0.05 // of ln V, by which the first loss may differ from it
	embedVariance = 4e-4 // of a fresh embedding
)

// What to do about a model that computes wrongly.
const (
	adviceWeights = "weights that are all zero or not finite cause this; check the checkpoint that the run starts from"
	adviceReport  = "report it with the run's config.toml"
	adviceKernels = adviceReport + " and the line \"kernels\" of its plan"
)

// noRight is the outcome for a text without two tokens in a row.
var noRight = found(resultSkipped, "no sequence has two tokens, so no token comes after another")

// checkKernel lets the engine compare its multiplies with plain Go.
func (c *checker) checkKernel(context.Context) finding {
	if difference := c.Opener.SelfTest(c.Plan.Spec); difference != "" {
		advice := "this CPU or its kernel computes wrongly: choose another tier with GIMBAL_KERNEL, and "
		if c.Plan.Hardware.Device != "" {
			advice = "this device or its plugin computes wrongly: choose another with --device, and "
		}
		return found(resultError, "%s", difference).do(advice + adviceReport)
	}
	hardware := c.Plan.Hardware
	if hardware.Warning != "" {
		return found(resultWarning, "%s", hardware.Warning).do("\"gimbal bench kernels\" shows what it costs")
	}
	return found(resultOK, "the multiplies of %s %s agree with plain Go in every element", hardware.Name,
		c.Engine.Info().Mode)
}

// checkLeak replaces the end of a sequence: earlier outputs must keep their bits, and later ones must not.
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
	for _, from := range []int{1, n / 2, min(64, n-1), n - 1} { // attention blocks end at 64
		other.Tokens = c.replaced(in.Tokens, from)
		nats2, logZ2, err := c.logProbs(ctx, other)
		if err != nil {
			return failed(err)
		}
		for i := range from {
			if nats[i] != nats2[i] || logZ[i] != logZ2[i] {
				return found(resultError, "position %d of %d changes when only tokens from position %d on change: the "+
					"model sees what it is to predict", i, n, from).do("its loss would mean nothing; " + adviceKernels).
					with(map[string]float64{"position": float64(i), "changed_from": float64(from),
						"nats": nats[i], "nats_changed": nats2[i]})
			}
		}
		if slices.Equal(nats[from:], nats2[from:]) && slices.Equal(logZ[from:], logZ2[from:]) {
			return found(resultError, "no output changes when the tokens from position %d on change: the model does not "+
				"read its input", from).do(adviceWeights)
		}
	}
	return found(resultOK, "the outputs of %s do not depend on later tokens, bit for bit", plural(n, "position")).
		with(map[string]float64{"positions": float64(n)})
}

// checkGradientLeak counts the loss of the first half of a sequence only and replaces the tokens after it: no gradient
// may change by a bit. That includes the embedding, since the later tokens have no part in the loss. On devices the
// rows of the embedding are summed in an order that depends on all tokens, so there its norm is compared.
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
		return c.gradient(ctx, engine.Hashes|engine.Norms)
	}
	tokens := in.Tokens
	first, err := gradient(tokens)
	if err != nil {
		return failed(err)
	}
	first.Hashes, first.Norms = slices.Clone(first.Hashes), slices.Clone(first.Norms)
	second, err := gradient(c.replaced(tokens, half))
	if err != nil {
		return failed(err)
	}
	norm := second.GradNorm
	if !(norm > 0 && norm <= math.MaxFloat64) {
		return found(resultError, "the gradient of %s has a norm of %g: the model cannot learn from it",
			plural(half, "position"), norm).do(adviceWeights).with(map[string]float64{"grad_norm": norm})
	}
	for i, t := range c.Engine.Info().Tensors {
		if c.Plan.Hardware.Device != "" && t.Kind == "embed" &&
			!differ(first.Norms[i], second.Norms[i], sameNorm*first.Norms[i]) {
			continue
		}
		if first.Hashes[i] != second.Hashes[i] {
			return found(resultError, "the gradient of %s from the first %s changes with later tokens", t.Name,
				plural(half, "position")).do("positions would learn from what follows them; " + adviceKernels)
		}
	}
	return found(resultOK, "no gradient of the first %s depends on the %d after", plural(half, "position"), n-half).
		with(map[string]float64{"positions": float64(half), "grad_norm": norm})
}

// checkInvariance computes the same sequences in one pass, in reverse order, and each alone: the loss of every position
// must keep its bits. On devices, where it keeps its bits in its place only, see sameNeighbours. Then it compares
// gradients; see sameGradients.
func (c *checker) checkInvariance(ctx context.Context) finding {
	b := c.sequences(probeSequences)
	var err error
	nats := func(dst []float64, spans ...data.Span) { // of spans in one pass, at their places in the batch
		var t data.Batch
		for _, s := range spans {
			add(&t, b, s)
		}
		got, _, e := c.logProbs(ctx, whole(&t))
		if e != nil {
			err = e
			return
		}
		for i, s := range spans {
			copy(dst[s.Start:s.Start+s.Len], got[t.Spans[i].Start:])
		}
	}
	n, backwards := len(b.Tokens), slices.Clone(b.Spans)
	slices.Reverse(backwards)
	together, reversed, alone := make([]float64, n), make([]float64, n), make([]float64, n)
	nats(together, b.Spans...)
	nats(reversed, backwards...)
	for _, s := range b.Spans {
		nats(alone, s)
	}
	if err != nil {
		return failed(err)
	}
	room := 0.0
	if c.Plan.Hardware.Device != "" {
		if f := c.sameNeighbours(ctx, b, together); f.Result != resultOK {
			return f
		}
		room = placeRoom[c.Engine.Info().Mode]
	}
	for i := range together {
		if other := together[i]; differ(other, reversed[i], room) || differ(other, alone[i], room) {
			return found(resultError, "position %d of a batch has a loss of %.9g nats, %.9g with the sequences in reverse "+
				"order, and %.9g alone", i, together[i], reversed[i], alone[i]).
				do("sequences affect their neighbours; " + adviceKernels)
		}
	}
	if f := c.sameGradients(ctx, b); f.Result != resultOK {
		return f
	}
	return found(resultOK, "%s: the loss is the same in any order and alone, and the gradient does not depend on how a "+
		"batch is cut", plural(len(b.Spans), "sequence")).
		with(map[string]float64{"sequences": float64(len(b.Spans)), "positions": float64(n)})
}

// differ reports whether a and b are not the same number, nor within room of each other.
func differ(a, b, room float64) bool { return a != b && !(math.Abs(a-b) <= room) }

// sameNeighbours replaces the tokens of every other sequence of b, whose losses are nats: those of the rest must keep
// their bits. Sequences share the rows of a device, so there a neighbour could be seen.
func (c *checker) sameNeighbours(ctx context.Context, b *data.Batch, nats []float64) finding {
	for parity := range 2 {
		in := whole(b)
		in.Tokens = slices.Clone(in.Tokens)
		for k, s := range b.Spans {
			if k%2 == parity {
				copy(in.Tokens[s.Start:], c.replaced(in.Tokens[s.Start:s.Start+s.Len], 0))
			}
		}
		got, _, err := c.logProbs(ctx, in)
		if err != nil {
			return failed(err)
		}
		for k, s := range b.Spans {
			if k%2 != parity && !slices.Equal(got[s.Start:s.Start+s.Len], nats[s.Start:s.Start+s.Len]) {
				return found(resultError,
					"the loss of a sequence changes with the tokens of another one in the same pass").
					do("sequences affect their neighbours; " + adviceKernels)
			}
		}
	}
	return found(resultOK, "")
}

// sameGradients adds the gradient of b in the smallest passes and subtracts that of one pass: except for rounding, the
// rest must be zero. Neither uses dropout.
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
		return found(resultError, "the gradient of %s has a norm of %.6g in small passes, and differs by %.2g from that of "+
			"one pass", plural(len(b.Spans), "sequence"), cut.GradNorm, rest.GradNorm).
			do("the loss of a step is not averaged over all its labels alike; " + adviceReport).
			with(map[string]float64{"grad_norm": cut.GradNorm, "difference": rest.GradNorm})
	}
	return found(resultOK, "")
}

// checkStartLoss compares the loss of fresh weights with ln V, the loss of knowing nothing. The labels are random: a
// tied head begins by predicting what it reads, which real text repeats more or less often.
func (c *checker) checkStartLoss(ctx context.Context) finding {
	if c.Weights != Fresh {
		return found(resultSkipped, "the weights come from %s; only fresh ones have a known loss", c.Weights)
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
	// Logits of variance s² add s²/2 nats to ln V; those of a normalized state have s² = width·0.02².
	room := startShare*blind + embedVariance*float64(arch.Width)/2
	numbers := map[string]float64{"loss": loss, "ln_vocabulary": blind, "room": room}
	if apart := math.Abs(loss - blind); !(apart <= room) {
		result := resultWarning
		if !(apart <= 4*room) {
			result = resultError
		}
		return found(result, "fresh weights have a loss of %.4g nats per token; knowing nothing gives ln(%d) = %.4g",
			loss, arch.Vocab, blind).do("the initial weights are wrong; " + adviceReport).with(numbers)
	}
	return found(resultOK, "%.3f nats per token; knowing nothing gives ln(%d) = %.3f", loss, arch.Vocab, blind).
		with(numbers)
}

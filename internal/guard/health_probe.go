package guard

import (
	"fmt"
	"math"
	"slices"
)

// Limits of the alarms on activations. bench/guards/README.md says where they come from.
const (
	growsBy       = 10   // times, of the stream after the last block,
	growsWithin   = 10   // in so many steps,
	growsTo       = 1    // to more than this; or by growsBy from one block to the next
	growsFirst    = 2    // if the blocks before have enlarged the embedding by this
	keptBelow     = 0.5  // share of a block's input that is in its output: below this, or
	keptAfter     = 0.7  // below this
	keptFall      = 0.3  // and so much less than at the last probe,
	keptScale     = 3    // if the output is at most so many times as large
	keptFirst     = 20   // steps in which the first block is judged too
	focusBelow    = 0.2  // mean entropy of all heads
	focusSteps    = 1000 // in the first steps
	collapsed     = 0.05 // entropy of a head that looks at one key
	collapsedPart = 0.25 // share of such heads
	focusTokens   = 32   // least length of a sequence for judging heads
	scoreWarning  = 300  // largest attention score
	scoreError    = 1e4
	deadWarning   = 0.3 // share of silent units of a block
	deadError     = 0.6
	deadTokens    = 128 // least length of a sequence for judging units
	driftAbove    = 20  // size of the mean ln Z
	driftProbes   = 5   // rises in a row
	driftRise     = 5   // by so much together
)

// probe judges activations.
func (h *healthJudge) probe(p *ProbeHealth) {
	h.s.Probes++
	h.streamGrowth(p)
	h.residualCut(p)
	h.attentionFocus(p)
	for l, v := range p.Logit {
		if !(v <= scoreWarning) {
			h.raise(alarm{code: CodeAttnLogit, subject: blockName(l), bad: !(v <= scoreError),
				message: fmt.Sprintf("the largest attention score in block %d is %.3g; above %d, attention is no "+
					"longer a soft choice", l, v, scoreWarning),
				suspect: "the learning rate, or no QK-norm", look: "optim.lr, and a shape with QK-norm",
				numbers: map[string]float64{"logit": v, "block": float64(l)}})
		}
	}
	for l, v := range p.Dead {
		if p.Tokens >= deadTokens && v > deadWarning {
			h.raise(alarm{code: CodeDeadUnits, subject: blockName(l), bad: v > deadError,
				message: fmt.Sprintf("%.3g %% of the MLP units in block %d are silent at all %d positions of a sequence",
					100*v, l, p.Tokens),
				suspect: "dead units",
				look:    "optim.lr and schedule.warmup: large steps push units to where they get no gradient",
				numbers: map[string]float64{"dead": v, "block": float64(l)}})
		}
	}
	h.logitDrift(p)
}

// streamGrowth compares the size of the residual stream with the last probe, if that is recent, and from block to
// block. The first block that does much may enlarge its input by any factor, as trained models show.
func (h *healthJudge) streamGrowth(p *ProbeHealth) {
	last := len(p.Stream) - 1
	now := p.Stream[last]
	if before := h.s.Stream; h.s.StreamStep > 0 && h.c.Step-h.s.StreamStep <= growsWithin && before > 0 &&
		!(now <= max(growsTo, growsBy*before)) {
		h.raise(alarm{code: CodeResidualGrowth, subject: "steps",
			message: fmt.Sprintf("the residual stream after the last block grew from %.3g to %.3g in %d steps",
				before, now, h.c.Step-h.s.StreamStep),
			suspect: "the learning rate or the warmup",
			look:    "optim.lr and schedule.warmup: the first updates are too large for these weights",
			numbers: map[string]float64{"rms": now, "before": before, "block": float64(last - 1)}})
	}
	for l := 2; l <= last; l++ {
		if before := p.Stream[l-1]; !(p.Stream[l] <= growsBy*before) &&
			(h.c.Step == 1 || before > growsFirst*p.Stream[0]) {
			h.raise(alarm{code: CodeResidualGrowth, subject: blockName(l - 1),
				message: fmt.Sprintf("block %d makes the residual stream %.3g times as large, from %.3g to %.3g",
					l-1, p.Stream[l]/before, before, p.Stream[l]),
				suspect: "residual connections", look: "the output projections and norms of that block",
				numbers: map[string]float64{"rms": p.Stream[l], "before": before, "block": float64(l - 1)}})
		}
	}
	h.s.Stream, h.s.StreamStep = orZero(now), h.c.Step
}

// residualCut finds blocks whose output has lost their input. The share that is kept means nothing where a branch is
// much larger than its input. Nor does it in the first block once that has learned: it may take an embedding that is
// tied to the head out of the stream.
func (h *healthJudge) residualCut(p *ProbeHealth) {
	last := h.s.Kept
	h.s.Kept = make([]float64, len(p.Kept))
	for l, kept := range p.Kept {
		h.s.Kept[l] = orZero(kept)
		sudden := l > 0 && l < len(last) && kept < keptAfter && last[l]-kept > keptFall
		meaningful := p.Stream[l+1] <= keptScale*p.Stream[l] && (l > 0 || h.c.Step <= keptFirst)
		if (kept < keptBelow || sudden) && meaningful {
			h.raise(alarm{code: CodeResidualCut, subject: blockName(l), bad: true,
				message: fmt.Sprintf("block %d keeps %.2g of its input in its output; a sound block keeps about 1", l, kept),
				suspect: "residual connections", look: "the residual path of that block: f(x) in place of x + f(x)",
				numbers: map[string]float64{"kept": kept, "block": float64(l)}})
		}
	}
}

// attentionFocus finds heads that attend to a single key.
func (h *healthJudge) attentionFocus(p *ProbeHealth) {
	if p.Tokens < focusTokens || len(p.Entropy) == 0 {
		return
	}
	sum, narrow, falling := 0.0, 0, 0
	for i, e := range p.Entropy {
		sum += e
		if e < collapsed {
			narrow++
			if i < len(h.s.Entropy) && e < h.s.Entropy[i] {
				falling++
			}
		}
	}
	mean, n := sum/float64(len(p.Entropy)), float64(len(p.Entropy))
	early := h.c.Step <= focusSteps && !(mean >= focusBelow)
	if early || float64(falling) >= collapsedPart*n && narrow > 0 {
		h.raise(alarm{code: CodeAttnEntropy, subject: "heads",
			message: fmt.Sprintf("the mean attention entropy of all heads is %.2g of the maximum; %d of %d heads look "+
				"at a single key", mean, narrow, len(p.Entropy)),
			suspect: "the learning rate or the warmup",
			look:    "optim.lr and schedule.warmup: heads that choose too early stop learning what to choose",
			numbers: map[string]float64{"entropy": mean, "narrow": float64(narrow), "heads": n}})
	}
	h.s.Entropy = slices.Clone(p.Entropy)
	for i, e := range h.s.Entropy {
		h.s.Entropy[i] = orZero(e)
	}
}

// logitDrift checks the common size of all logits, which the loss does not depend on.
func (h *healthJudge) logitDrift(p *ProbeHealth) {
	z := p.LogZ
	if math.IsNaN(z) { // no position counted
		return
	}
	w := pushed(h.s.LogZ, orZero(z))
	h.s.LogZ = w
	rises := 0
	for i := len(w) - 1; i > 0 && rises < driftProbes && w[i] > w[i-1]; i-- {
		rises++
	}
	rising := rises >= driftProbes && w[len(w)-1]-w[len(w)-1-rises] > driftRise
	subject := "logits"
	if rising {
		subject = "rising logits"
	}
	if !(math.Abs(z) <= driftAbove) || rising {
		h.raise(alarm{code: CodeLogitDrift, subject: subject,
			message: fmt.Sprintf("the mean ln Z of the logits is %.3g (limit ±%d) after %s in a row; the loss does not "+
				"limit it", z, driftAbove, plural(rises, "rise")),
			suspect: "drift of all logits together", look: "optim.lr and the weight decay of the head",
			numbers: map[string]float64{"log_z": z, "rises": float64(rises)}})
	}
}

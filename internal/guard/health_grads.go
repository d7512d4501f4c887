package guard

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Limits of the alarms on gradients and updates. bench/guards/README.md says where they come from.
const (
	zeroChecks    = 3    // checks in a row without any gradient
	starvedBelow  = 0.1  // mean |g| of the bottom third over that of the top third: an alarm below this,
	starvedError  = 0.01 // and an error below this,
	starvedChecks = 2    // at so many checks in a row after the warmup
	explodesAbove = 100  // mean |g| of the bottom third over that of the top third
	fallsBy       = 10   // times below the median of its own last checks, and
	fallsAlone    = 3    // times further than the other blocks fell
	fallsAfter    = 5    // checks that a median needs
	frozenShare   = 0.01 // of a matrix that an update leaves unchanged,
	frozenBelow   = 0.01 // while the update is below this share of what is normal,
	frozenChecks  = 5    // at so many checks in a row
	frozenRate    = 0.01 // least rate, as a share of the peak: at a lower one updates may well be lost
	leastWeights  = 1e-3 // RMS of weights that a relative update needs
)

// tensors judges gradients and updates. Gradients that are not finite are named and enter no history: Next refuses the
// step, and its other gradients mean nothing.
func (h *healthJudge) tensors() {
	groups := HealthGroups(h.c.Tensors)
	if i := slices.IndexFunc(h.c.Tensors, func(t TensorHealth) bool { return t.NonFinite > 0 }); i >= 0 {
		h.nonfinite(h.c.Tensors[i], groups)
		return
	}
	h.s.Checks++
	if len(h.s.Tensors) != len(h.c.Tensors) { // the first check of a run
		h.s.Tensors = make([]tensorHistory, len(h.c.Tensors))
	} else {
		h.s.Tensors = slices.Clone(h.s.Tensors)
	}
	h.zeros()
	h.starved(groups)
	h.exploding(groups)
	h.falling(groups)
	h.frozen()
}

func (h *healthJudge) nonfinite(t TensorHealth, groups []TensorHealth) {
	n := int64(0)
	for _, g := range groups {
		n += g.NonFinite
	}
	h.told = slices.Clone(h.s.ToldTensors) // the alarms of the last check still stand
	h.raise(alarm{code: CodeNonfiniteGrad, subject: t.Name, bad: true,
		message: fmt.Sprintf("gradient elements that are not finite: %d in all, %d of %d in %s (%s), the first such tensor",
			n, t.NonFinite, t.Len, t.Name, blockName(t.Block)),
		suspect: "numerics or data", look: "the event of the refused step, which names the documents",
		numbers: map[string]float64{"non_finite": float64(n), "block": float64(t.Block)}})
}

// zeros finds tensors whose gradient is exactly zero: they cannot affect the loss. At step 1 a single check of a matrix
// is enough, because a mistake in the initialisation may heal before the second check.
func (h *healthJudge) zeros() {
	var long, first []TensorHealth
	for i, t := range h.c.Tensors {
		history := &h.s.Tensors[i]
		if t.GradMax != 0 {
			history.Zero = 0
			continue
		}
		if history.Zero++; history.Zero >= zeroChecks {
			long = append(long, t)
		} else if h.c.Step == 1 && t.Matrix {
			first = append(first, t)
		}
	}
	h.raiseZeros(long, true, fmt.Sprintf("at %d checks in a row", zeroChecks), "frozen weights",
		"what is between the highest of them and the loss: something passes values up and no gradient down")
	h.raiseZeros(first, false, "at the first step", "initialisation", "weights or gains that begin at zero")
}

// raiseZeros names the highest of the tensors: below a cut everything is zero, and the cut is above the highest.
func (h *healthJudge) raiseZeros(zero []TensorHealth, bad bool, when, suspect, look string) {
	if len(zero) == 0 {
		return
	}
	highest := slices.MaxFunc(zero, func(a, b TensorHealth) int { return cmp.Compare(a.Block, b.Block) })
	text := fmt.Sprintf("the gradient of %s (%s) is exactly zero %s", highest.Name, blockName(highest.Block), when)
	if n := len(zero) - 1; n > 0 {
		text += fmt.Sprintf(", like that of %s in the same block or below", plural(n, "other tensor"))
	}
	h.raise(alarm{code: CodeZeroGrad, subject: highest.Name, bad: bad, suspect: suspect, message: text, look: look,
		numbers: map[string]float64{"tensors": float64(len(zero)), "block": float64(highest.Block)}})
}

// thirds are the groups of one kind in the bottom and the top third of the blocks.
type thirds struct {
	kind        string
	bottom, top []TensorHealth
}

// thirds returns what can be compared: the kinds that every block has, one at a time, because mean |g| depends on the
// shape of a tensor. Gradients of exactly zero are left out: see zeros.
func (h *healthJudge) thirds(groups []TensorHealth) (all []thirds) {
	third := (h.c.Layers + 2) / 3
	for _, kind := range []string{"attn", "mlp"} {
		t := thirds{kind: kind}
		for _, g := range groups {
			switch {
			case g.Kind != kind || g.Block < 0 || g.GradMean == 0:
			case g.Block < third:
				t.bottom = append(t.bottom, g)
			case g.Block >= h.c.Layers-third:
				t.top = append(t.top, g)
			}
		}
		if t.bottom != nil && t.top != nil && h.c.Layers > 1 {
			all = append(all, t)
		}
	}
	return all
}

func meanGrad(groups []TensorHealth) float64 {
	sum := 0.0
	for _, g := range groups {
		sum += g.GradMean
	}
	return sum / float64(len(groups))
}

// medianGrad is the median of mean |g| of one kind over all blocks.
func medianGrad(groups []TensorHealth, kind string) float64 {
	var all []float64
	for _, g := range groups {
		if g.Kind == kind && g.Block >= 0 {
			all = append(all, g.GradMean)
		}
	}
	return median(all)
}

// starved compares the bottom third with the top third. At step 1 it compares the weakest block of the bottom third
// with the median of all blocks, and reports at once: a mistake in the initialisation of one block would be hidden by a
// mean, and may heal before the second check. Later, a sound block may have an eighth of the gradients of the top.
func (h *healthJudge) starved(groups []TensorHealth) {
	weakest, ratio, low, high := TensorHealth{}, math.Inf(1), 0.0, 0.0
	for _, t := range h.thirds(groups) {
		w := slices.MinFunc(t.bottom, func(a, b TensorHealth) int { return cmp.Compare(a.GradMean, b.GradMean) })
		g, above := meanGrad(t.bottom), meanGrad(t.top)
		if h.c.Step == 1 {
			g, above = w.GradMean, medianGrad(groups, t.kind)
		}
		if r := g / above; r < ratio {
			weakest, ratio, low, high = w, r, g, above
		}
	}
	if !(ratio < starvedBelow) || h.c.Step != 1 && h.c.Step <= h.c.Warmup {
		h.s.Starved = 0
		return
	}
	where, than := "in the bottom third of the blocks", "the top third"
	suspect := "residual connections"
	look := "the residual paths and norms above the block, and whether its weights are as large as the others'"
	if h.c.Step == 1 {
		where, than, suspect = "in the weakest bottom block", "the median block", "initialisation"
		look = "how the weights of the block are initialised, or where they were loaded from"
	} else if h.s.Starved++; h.s.Starved < starvedChecks {
		return
	}
	h.raise(alarm{code: CodeStarved, subject: weakest.Kind, bad: ratio < starvedError, suspect: suspect, look: look,
		message: fmt.Sprintf("mean |g| of the %s matrices is %.2g %s (weakest: block %d) and %.2g in %s: a ratio of "+
			"%.2g, below %g", weakest.Kind, low, where, weakest.Block, high, than, ratio, starvedBelow),
		numbers: map[string]float64{"ratio": ratio, "bottom": low, "top": high, "block": float64(weakest.Block)}})
}

func (h *healthJudge) exploding(groups []TensorHealth) {
	for _, t := range h.thirds(groups) {
		low, high := meanGrad(t.bottom), meanGrad(t.top)
		if ratio := low / high; ratio > explodesAbove {
			h.raise(alarm{code: CodeExploding, subject: t.kind,
				message: fmt.Sprintf("mean |g| of the %s matrices is %.2g in the bottom third of the blocks and %.2g in "+
					"the top third: %.3g times as large", t.kind, low, high, ratio),
				suspect: "residual connections",
				look:    "norms and the scale of the residual branches, which multiply the gradient on its way down",
				numbers: map[string]float64{"ratio": ratio, "bottom": low, "top": high}})
		}
	}
}

// falling compares each group with its own last checks. A model that has learned its text has smaller gradients
// everywhere, so a fall of all blocks together counts only if the loss did not fall too.
func (h *healthJudge) falling(groups []TensorHealth) {
	old := h.s.Groups
	h.s.Groups = make([]groupHistory, len(groups))
	falls := make([]float64, len(groups)) // median over the value now; 1 where there is no median
	var all []float64
	for i, g := range groups {
		n := &h.s.Groups[i]
		n.Block, n.Kind, falls[i] = g.Block, g.Kind, 1
		if i < len(old) {
			if u := medianOf(old[i].Grads); len(old[i].Grads) >= fallsAfter && g.GradMean > 0 && u > 0 {
				falls[i] = u / g.GradMean
				all = append(all, falls[i])
			}
			n.Grads = old[i].Grads
		}
		n.Grads = pushed(n.Grads, orZero(g.GradMean))
	}
	common := median(all)
	if !(h.c.Loss < medianOf(h.s.Losses)/2) {
		common = min(common, 1) // the loss does not explain a fall of all blocks
	}
	h.s.Losses = pushed(h.s.Losses, orZero(h.c.Loss))
	worst, fallen := 0, 0
	for i, fall := range falls {
		if fall > fallsBy && fall > fallsAlone*common {
			if fallen++; fallen == 1 || fall > falls[worst] {
				worst = i
			}
		}
	}
	if fallen == 0 {
		return
	}
	g := groups[worst]
	text := fmt.Sprintf("mean |g| of the %s tensors of %s is %.2g, %.3g times below the median of its last checks",
		g.Kind, blockName(g.Block), g.GradMean, falls[worst])
	if n := fallen - 1; n > 0 {
		text += fmt.Sprintf("; %s fell by more than %d times too", plural(n, "other group"), fallsBy)
	}
	h.raise(alarm{code: CodeFalling, subject: "groups", suspect: "dead or frozen units", message: text,
		look: "dead units and attention entropy of that block, and what changed in the run since the last check",
		numbers: map[string]float64{"fall": falls[worst], "grad_mean": g.GradMean, "block": float64(g.Block),
			"groups": float64(fallen)}})
}

// frozen finds matrices whose updates are lost in rounding. In equilibrium AdamW turns weights by √(2·lr·λ) a step.
func (h *healthJudge) frozen() {
	var stuck []TensorHealth
	for i, t := range h.c.Tensors {
		history := &h.s.Tensors[i]
		if !t.Matrix || t.Kind == "embed" { // rows that were not read do not move
			continue
		}
		turn := math.Sqrt(2 * h.c.LR * h.c.WeightDecay)
		if h.c.WeightDecay == 0 {
			turn = h.c.LR / t.WeightRMS // Adam moves each element by about the rate
		}
		if h.c.LR >= frozenRate*h.c.PeakLR && t.WeightRMS >= leastWeights &&
			t.UpdateRMS < frozenBelow*turn*t.WeightRMS && float64(t.Unmoved) > frozenShare*float64(t.Len) {
			if history.Frozen++; history.Frozen >= frozenChecks {
				stuck = append(stuck, t)
			}
		} else {
			history.Frozen = 0
		}
	}
	if len(stuck) == 0 {
		return
	}
	t := stuck[0]
	share, ratio := float64(t.Unmoved)/float64(t.Len), t.UpdateRMS/t.WeightRMS
	text := fmt.Sprintf("at %d checks in a row, updates left %.3g %% of %s (%s) unchanged and moved it by %.2g of its "+
		"size", frozenChecks, 100*share, t.Name, blockName(t.Block), ratio)
	if n := len(stuck) - 1; n > 0 {
		text += ", like " + plural(n, "other tensor")
	}
	h.raise(alarm{code: CodeFrozen, subject: t.Name, suspect: "frozen weights", message: text,
		look: "the size of the weights next to the learning rate: float32 keeps seven digits",
		numbers: map[string]float64{"unmoved": share, "ratio": ratio, "block": float64(t.Block),
			"matrices": float64(len(stuck))}})
}

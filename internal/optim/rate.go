package optim

import (
	"fmt"
	"math"
)

// Sizes is what the rules for the peak learning rate depend on.
type Sizes struct {
	Width       int   // channels of the residual stream
	Params      int64 // parameters that enter multiplies
	BatchTokens int   // tokens of one update
	Muon        bool  // that Muon makes
	Adapter     bool  // of an adapter
}

// AutoLR is the rule auto: 0.00235·(N/108e6)^(-1/3)·√(B/B*), B* = 327680·(N/108e6)^(2/3), at most MaxAutoLR.
//
// Source: the model ladder of OLMo-core, after Porian et al. 2024, arXiv:2406.19146, with the usual square root of the
// batch. It was fitted with QK-norm, z-loss and weight decay on.
func AutoLR(params int64, batchTokens int) float64 {
	n := float64(params) / 108e6
	best := 327680 * math.Pow(n, 2.0/3)
	return min(MaxAutoLR, 0.00235*math.Pow(n, -1.0/3)*math.Sqrt(float64(batchTokens)/best))
}

// MaxAutoLR is the largest rate of AutoLR: above it, range tests of small models with AdamW only diverged.
const MaxAutoLR = 1.2e-2

// TuneLR is the rule finetune, the rate for weights that are trained, with AdamW: 0.04/width, below a width of 500
// times 500/width, at most MaxTuneLR. An adapter gets ten times as much (Schulman et al. 2025,
// thinkingmachines.ai/blog/lora).
//
// Widths from 128 to 576 were measured: about this rate gains most, less what is forgotten (bench/2026-11-29-finetune).
// A width of 2,048 gets 2e-5 and one of 4,096 gets 1e-5, which are usual for models of one and of seven billion weights.
func TuneLR(width int, adapter bool) float64 {
	w := float64(width)
	lr := min(MaxTuneLR, 0.04/w*max(1, 500/w))
	if adapter {
		lr *= 10
	}
	return lr
}

// MaxTuneLR is the largest rate of TuneLR, about the best of the smallest width that was measured.
const MaxTuneLR = 1e-3

// WarmupPeak is the largest peak that a rule may give to a run with so many steps of warmup: 2.5e-4 for each step, with
// Muon twice that.
//
// The first updates of AdamW move every weight by about the rate, and matrices begin with an RMS of 0.02. A steeper
// warmup moved the median matrix by more than a tenth of its size at widths from 16 to 128. That cost 0.1 to 0.4 nats
// after 300 steps, and the guard sees an outlier. The limit matters in very short runs only.
func WarmupPeak(warmup int64, muon bool) float64 { return warmupPace(muon) * float64(max(1, warmup)) }

// warmupPace is the largest peak for each step of warmup.
func warmupPace(muon bool) float64 {
	const pace = 2.5e-4
	if muon {
		return muonRate * pace
	}
	return pace
}

// Rate is what one rule gives.
type Rate struct {
	Rule    string
	LR      float64
	Warning string // why a reader may not want it; empty for most
}

// Rates returns the rate of each rule.
//
//	article          6e-3/√width, which gives the article's own example, 2.2e-4 at width 768
//	article-literal  6e-4/√width, the formula as the article prints it
//	auto             AutoLR, with Muon twice that
//	finetune         TuneLR
func Rates(s Sizes) []Rate {
	root := math.Sqrt(float64(s.Width))
	return []Rate{
		{Rule: "article", LR: 6e-3 / root},
		{Rule: "article-literal", LR: 6e-4 / root,
			Warning: "article-literal is 6e-4/√width, ten times less than the article's own example " +
				"(2.2e-4 at width 768): expect slow learning"},
		{Rule: "auto", LR: s.auto()},
		{Rule: "finetune", LR: TuneLR(s.Width, s.Adapter)},
	}
}

// muonRate is the peak of Muon in peaks of AdamW. An update of Muon has the size of one of AdamW late in a run, which
// is less than that of an early one. bench/minutes and, over shapes, sizes and batches, bench/lr have the evidence.
const muonRate = 2

// auto is the rate of the rule auto.
func (s Sizes) auto() float64 { return s.factor() * AutoLR(s.Params, s.BatchTokens) }

// MaxLR is the largest rate of the rules auto and probe.
func (s Sizes) MaxLR() float64 { return s.factor() * MaxAutoLR }

// factor is the rates of the optimizer in rates of AdamW.
func (s Sizes) factor() float64 {
	if s.Muon {
		return muonRate
	}
	return 1
}

// Peak returns the peak learning rate of one of Rates. The rule probe is not among them: it takes a RangeTest.
func Peak(rule string, s Sizes) (Rate, error) {
	for _, r := range Rates(s) {
		if r.Rule == rule {
			return r, nil
		}
	}
	return Rate{}, fmt.Errorf("optim: unknown learning rate rule %q", rule)
}

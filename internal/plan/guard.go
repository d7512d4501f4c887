package plan

import (
	"math"

	"gimbal/internal/guard"
)

// Rules are what the guard needs to know of the run. rateLimit is the highest rate that a nudge may reach; 0: none is
// known.
func (p *Plan) Rules(rateLimit float64) guard.Rules {
	cfg, s := p.Config, p.Rate.Schedule
	rules := guard.Rules{Act: cfg.Guard.Mode == "act", StayHalved: cfg.Guard.Halve == "article", Steps: cfg.Train.Steps,
		Warmup: s.Warmup, LossLimit: math.Log(float64(p.Spec.Arch.Vocab)), Clip: cfg.Optim.Clip, MaxRate: s.Peak,
		MaxScale: s.MostNudge(rateLimit), Limits: guard.Limits}
	if cfg.Train.Objective == "dpo" {
		rules.LossLimit = math.Ln2
		rules.MaxScale = 1 // the loss of preferences falls slowly by itself
	}
	if cfg.Optim.Kind == "muon" {
		rules.MaxRatio = guard.MuonRatio
	}
	return rules
}

package plan

import (
	"fmt"
	"strings"

	"gimbal/internal/hub"
)

// Fine-tuning: what is chosen where the weights come from elsewhere and nobody chose otherwise.
const (
	tuneDecay     = 0.01    // of weights: they are not to shrink
	tuneUpdates   = 100     // that a small text should give, before its batches grow to full size
	tuneThrice    = 1 << 20 // tokens of a text up to which it is read three times,
	tuneTwice     = 8 << 20 // and twice; a larger one is read once
	tuneContext   = 2048    // tokens of the longest sequence, where the text has longer documents
	tuneFewTokens = 256     // of the smallest batch
	leastContext  = 128     // that is planned where memory is short

	// Preferences move weights little: people tune 7B models (4096 wide) at 5e-7 and 135M ones (576) at up to 5e-6, and
	// adapters at ten times as much. One pass: the second learns pairs by heart.
	dpoRate, dpoLeast, dpoMost = 0.003, 5e-7, 5e-6
	dpoAdapter                 = 10
)

// ownContext begins the origin of a context that tune has chosen.
const ownContext = "planned: the model has"

// shorter halves a context that tune has chosen, for a run that does not fit the memory. It reports whether it did.
func (d *Draft) shorter() (bool, error) {
	cfg, half := d.Config, d.Config.Train.Context/2
	origin := cfg.Origin("train.context")
	if !strings.HasPrefix(origin, ownContext) || half < leastContext {
		return false, nil
	}
	if err := cfg.SetPlanned("train.context", half, origin+"; more does not fit the memory"); err != nil {
		return false, err
	}
	d.Text.Train, d.Text.Val = d.Text.Set.Train(half), d.Text.Set.Val(half)
	return true, nil
}

// tune chooses rate, schedule, length and context for weights that are trained. have is the tokens to train on, and
// longest those of the longest document.
func (d *Draft) tune(have, longest int64) error {
	cfg := d.Config
	const gentle = "planned: the weights come from elsewhere"
	epochs := tuneEpochs(have)
	context := min(d.arch.Context, max(tuneContext, cfg.Train.Context), roundUpTo(int(min(longest+2, 1<<30)), 64))
	batch := max(context, min(cfg.Train.BatchTokens, max(tuneFewTokens, int(epochs*have/tuneUpdates))))
	decay := tuneDecay
	var rate any = "finetune"
	why := gentle
	if cfg.Train.Adapter == "lora" {
		decay = 0 // the weights beside it do not change
	}
	if cfg.Train.Objective == "dpo" {
		lr := min(dpoMost, max(dpoLeast, dpoRate/float64(d.arch.Width)))
		why = fmt.Sprintf("planned: preferences move weights little: %g/width, from %g to %g", dpoRate, dpoLeast,
			dpoMost)
		if cfg.Train.Adapter == "lora" {
			lr *= dpoAdapter
			why += fmt.Sprintf(", times %d for an adapter", dpoAdapter)
		}
		rate, decay, epochs = lr, 0, 1
		batch = max(2*context, min(cfg.Train.BatchTokens, max(tuneFewTokens, int(have/tuneUpdates))))
	}
	planned := []struct {
		key    string
		value  any
		origin string
	}{
		{"optim.lr", rate, why},
		{"optim.weight_decay", decay, gentle},
		{"schedule.kind", "cosine", gentle + ", and a restart would undo what they learn"},
		{"schedule.warmup", "finetune", gentle},
		{"train.context", context, fmt.Sprintf("%s %d positions, the longest document %d tokens", ownContext,
			d.arch.Context, longest)},
		{"train.batch_tokens", batch, fmt.Sprintf("planned: for %d updates or more", tuneUpdates)},
	}
	for _, k := range planned {
		if !free(cfg, k.key) {
			continue
		}
		if err := cfg.SetPlanned(k.key, k.value, k.origin); err != nil {
			return err
		}
	}
	if !cfg.Auto("train.steps") || !free(cfg, "train.budget") {
		return nil
	}
	steps := max(plannedMin, epochs*have/int64(cfg.Train.BatchTokens))
	return cfg.SetPlanned("train.steps", steps, fmt.Sprintf("planned: %d passes over a text of this size", epochs))
}

// tuneEpochs is how often a text of so many tokens is read.
func tuneEpochs(tokens int64) int64 {
	switch {
	case tokens <= tuneThrice:
		return 3
	case tokens <= tuneTwice:
		return 2
	}
	return 1
}

func roundUpTo(n, unit int) int { return (n + unit - 1) / unit * unit }

// chooseAdapter decides what is trained beside weights that stay as they are.
func (p *Plan) chooseAdapter(d *Draft) (err error) {
	cfg := p.Config
	if cfg.Train.Adapter == "none" {
		return nil
	}
	if d.arch == nil {
		return fault(cfg.Origin("train.adapter"), "train.adapter",
			"an adapter stands beside weights: name them with --from")
	}
	if cfg.Adapter.Base == "int8" && p.Hardware.Device != "" {
		return fault(cfg.Origin("adapter.base"), "adapter.base", "int8 is for the CPU: set numeric.device=cpu")
	}
	if cfg.Adapter.Base == "auto" {
		value, origin := "fp32", "planned: as the weights beside the adapter are"
		if d.base16 {
			value, origin = "bf16", "planned: as the weights beside the adapter are; no bit changes"
		}
		if err := cfg.SetPlanned("adapter.base", value, origin); err != nil {
			return err
		}
	}
	if p.Spec.Adapter, p.Trained, err = hub.NewAdapter(p.Spec.Arch, cfg.Adapter); err != nil {
		return fault(cfg.Origin("adapter.targets"), "adapter.targets", "%v", err)
	}
	return nil
}

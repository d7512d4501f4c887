package plan

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"gimbal/internal/config"
)

const (
	plannedLeast   = 0.2  // of the budget is for training, whatever the rest takes
	plannedEpochs  = 10   // most passes over the data that are planned by themselves
	plannedMin     = 20   // fewest steps that are planned by themselves
	plannedUpdates = 1000 // updates that a planned run should have, before its batches grow to full size

	saveSeconds = 0.15  // of one save, beside its bytes
	saveBytes   = 100e6 // a second, that an ordinary disk takes

	slowSave      = 2 * time.Second // that any sound disk needs at most for a save, or
	slowSaveBytes = 10 << 20        // a second
)

// SlowSave returns the bytes of weights and moments in a save, and how long a sound disk needs for them at most.
func (p *Plan) SlowSave() (bytes int64, most time.Duration) {
	bytes = 12 * p.Params
	return bytes, max(slowSave, time.Duration(float64(bytes)/slowSaveBytes*float64(time.Second)))
}

// planTime plans the steps by time: a trial measures the pace. Where nobody chose a size, and the time is enough for a
// larger one than the trial's, it begins again with that. before is the configuration without what the plan decided.
func (t *trial) planTime(ctx context.Context, before *config.Config) error {
	if t.request.Engine == nil {
		return fault("", "train.steps", "nothing can be timed on hardware that is not here: say how many")
	}
	pace, given, err := t.measure(ctx)
	if err != nil {
		return err
	}
	name, err := t.larger(before, pace, given)
	if err != nil {
		return err
	}
	if name != "" {
		t.draft.Config = before
		if err := before.UsePreset(name, fmt.Sprintf("planned: for %s", given.Round(time.Second))); err != nil {
			return err
		}
		next, err := t.draft.begin(ctx, t.request)
		if err != nil {
			return err
		}
		*t = *next
		if pace, given, err = t.measure(ctx); err != nil {
			return err
		}
	}
	cfg := t.plan.Config
	if err := planSteps(cfg, t.draft.Text.Train.Tokens(), pace, t.plan.leastBatch(), given); err != nil {
		return err
	}
	t.plan.Speed = pace.speed(cfg.Train.BatchTokens)
	return nil
}

// measure returns the pace of the plan so far, and the time for training.
func (t *trial) measure(ctx context.Context) (p pace, given time.Duration, err error) {
	p, err = t.pace(ctx)
	return p, t.plan.trainingTime(time.Since(t.request.Began), t.draft.Text.Val.Tokens(), p), err
}

// larger names the largest size above the trial's that the time and the text can feed and the memory can hold; empty:
// there is none, or somebody chose the size. A token is taken to cost as much as its operations do, which is too much:
// large multiplies are faster.
func (t *trial) larger(before *config.Config, pace pace, given time.Duration) (name string, err error) {
	if before.Origin("model.preset") != plannedPreset {
		return "", nil
	}
	text := plannedEpochs * float64(t.draft.Text.Train.Tokens())
	for _, size := range slices.Backward(sizes) {
		cfg := before.Clone()
		if err := cfg.UsePreset(size.name, plannedPreset); err != nil {
			return "", err
		}
		a, err := cfg.Arch(t.draft.Text.Tok.VocabSize())
		if err != nil {
			return "", err
		}
		_, multiplied := a.Params()
		tokens := given.Seconds() / pace.token * float64(t.plan.Multiplied) / float64(multiplied)
		if multiplied > t.plan.Multiplied && min(tokens, text) >= tokensPerWeight*float64(size.weights) && t.holds(a) {
			return size.name, nil
		}
	}
	return "", nil
}

// holds reports whether the memory there is holds a run of another architecture, with the cheapest checkpointing.
func (t *trial) holds(a config.Arch) bool {
	spec := t.plan.Spec
	spec.Arch, spec.Checkpointing, spec.MicroTokens = a, "block", max(spec.MicroTokens, AutoMicro(a))
	m := Memory{Memory: t.request.Opener.Estimate(spec), Writing: t.plan.Memory.Writing}
	return m.fits(t.plan.Hardware.Free)
}

// trainingTime is what the budget leaves for training, after what preparing took, the evaluations and the saves that
// end with them.
func (p *Plan) trainingTime(prepared time.Duration, valTokens int64, pace pace) time.Duration {
	budget := time.Duration(p.Config.Train.Budget * float64(time.Minute))
	whole := float64(min(valTokens, maxEvalTokens)) * pace.token / forwardShare // the last evaluation scores all of it
	saves := (DefaultEvals + 1) * (saveSeconds + float64(p.Memory.Slots)*3/2/saveBytes)
	left := budget - prepared - time.Duration((whole+saves)*float64(time.Second))
	return max(time.Duration(plannedLeast*float64(budget)), time.Duration((1-evalShare)*float64(left)))
}

// planSteps decides the number of steps from the time for training, the measured pace and the size of the data. Where
// the time is short, and nothing else was asked for, it takes smaller batches rather than few updates: they teach more
// for each token. least is the tokens of a batch that makes an update worth its time.
func planSteps(cfg *config.Config, trainTokens int64, pace pace, least int, given time.Duration) error {
	full := cfg.Train.BatchTokens
	tokens := min(given.Seconds()*pace.speed(full), plannedEpochs*float64(trainTokens))
	batch := max(cfg.Train.MicroTokens, least, int(tokens/plannedUpdates))
	if cfg.Origin("train.batch_tokens") == "default" && batch < full {
		origin := fmt.Sprintf("planned: for about %d updates, %d at most", plannedUpdates, full)
		if err := cfg.SetPlanned("train.batch_tokens", batch, origin); err != nil {
			return err
		}
	}
	perStep, speed := float64(cfg.Train.BatchTokens), pace.speed(cfg.Train.BatchTokens)
	byTime := given.Seconds() * speed / perStep
	byData := plannedEpochs * float64(trainTokens) / perStep
	steps := max(plannedMin, int64(math.Min(byTime, byData)))
	origin := fmt.Sprintf("planned: %s at %s tokens/s", given.Round(time.Second), Count(int64(speed)))
	if byData < byTime {
		origin = fmt.Sprintf("planned: %d epochs", plannedEpochs)
	}
	return cfg.SetPlanned("train.steps", steps, origin)
}

// Count writes a number for a person: 1.23M.
func Count(n int64) string {
	switch x := float64(n); {
	case n >= 1e9:
		return fmt.Sprintf("%.2fG", x/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2fM", x/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.1fk", x/1e3)
	}
	return fmt.Sprint(n)
}

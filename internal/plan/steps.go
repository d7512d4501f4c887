package plan

import (
	"fmt"
	"math"
	"time"

	"gimbal/internal/config"
)

const (
	plannedTime    = 150 * time.Second // of training steps, where no number of steps is given
	plannedEpochs  = 10                // most passes over the data that are planned by themselves
	plannedMin     = 20                // fewest steps that are planned by themselves
	plannedUpdates = 1000              // updates that a planned run should have, before its batches grow to full size
)

// planSteps decides the number of steps from the measured speed and the size of the data. Where the time is short, and
// nothing else was asked for, it takes smaller batches rather than few updates: they teach more for each token.
func planSteps(cfg *config.Config, trainTokens int64, speed float64) error {
	tokens := min(plannedTime.Seconds()*speed, plannedEpochs*float64(trainTokens))
	full := cfg.Train.BatchTokens
	batch := max(cfg.Train.MicroTokens, int(tokens/plannedUpdates))
	if cfg.Origin("train.batch_tokens") == "default" && batch < full {
		origin := fmt.Sprintf("planned: for about %d updates, %d at most", plannedUpdates, full)
		if err := cfg.SetPlanned("train.batch_tokens", batch, origin); err != nil {
			return err
		}
	}
	perStep := float64(cfg.Train.BatchTokens)
	byTime := plannedTime.Seconds() * speed / perStep
	byData := plannedEpochs * float64(trainTokens) / perStep
	steps := max(plannedMin, int64(math.Min(byTime, byData)))
	origin := fmt.Sprintf("planned: %s at %s tokens/s", plannedTime, Count(int64(speed)))
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

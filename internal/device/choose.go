package device

import (
	"context"

	"gimbal/internal/config"
	"gimbal/internal/engine"
)

// Choose returns the opener of the hardware that numeric.device names, and records what auto has become.
func Choose(ctx context.Context, cfg *config.Config, workers int, note func(string, ...any)) (engine.Opener, error) {
	o, err := engine.CPU(workers)
	if err != nil {
		return nil, &config.Error{Faults: []config.Fault{{Text: err.Error()}}}
	}
	return o, nil
}

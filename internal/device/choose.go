package device

import (
	"context"

	"gimbal/internal/config"
	"gimbal/internal/engine"
)

// Choose returns the opener of the hardware that n names. What auto becomes is told to note and in Opener.Hardware.
func Choose(ctx context.Context, n config.Numeric, workers int, note func(string, ...any)) (engine.Opener, error) {
	o, err := engine.CPU(workers)
	if err != nil {
		return nil, &config.Error{Faults: []config.Fault{{Text: err.Error()}}}
	}
	return o, nil
}

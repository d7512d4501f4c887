package device

import (
	"context"
	"errors"

	"gimbal/internal/engine"
	"gimbal/internal/generate"
)

// Decoder implements engine.Engine.
func (e *deviceEngine) Decoder(rows, capacity int) (generate.Decoder, error) {
	return nil, errors.New("device: no decoder yet")
}

func (e *deviceEngine) tensorStats(ctx context.Context, p engine.Proposal, r *engine.Report) error {
	return errors.New("device: no stats yet")
}

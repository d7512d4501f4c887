package device

import (
	"errors"

	"gimbal/internal/generate"
)

// Decoder implements engine.Engine.
func (e *deviceEngine) Decoder(rows, capacity int) (generate.Decoder, error) {
	return nil, errors.New("device: no decoder yet")
}


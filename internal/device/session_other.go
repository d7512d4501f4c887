//go:build !linux

package device

import (
	"context"
	"errors"
)

// Open fails: plugins are loaded on Linux only.
func Open(context.Context, Options) (Session, error) {
	return nil, errors.New("accelerators are used on Linux only")
}

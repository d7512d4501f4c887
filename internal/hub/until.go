package hub

import (
	"context"
	"io"
)

// untilWriter is a writer that fails once a context is done.
type untilWriter struct {
	io.Writer
	ctx context.Context
}

func (u untilWriter) Write(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Writer.Write(p)
}

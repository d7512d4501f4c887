package hub

import (
	"context"
	"io"

	"gimbal/internal/model"
)

type tensors = model.Tensors // its method Tensors and a field of that name would hide each other

// until is tensors that cannot be read any more once a context is done.
type until struct {
	tensors
	ctx context.Context
}

// ReadF32 implements model.Tensors.
func (u until) ReadF32(dst []float32, name string) error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	return u.tensors.ReadF32(dst, name)
}

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

package model

import (
	"context"

	"gimbal/internal/par"
)

// Writer is a decoder and the cache that it extends: the Decoder of package generate. Not safe for concurrent use.
type Writer struct {
	*Decoder[float32]
	*Cache[float32]
}

// NewWriter returns a writer of rows texts of at most capacity positions. d must have been made for that many rows.
//
// Memory: allocates the cache. Panics as NewCache does.
func NewWriter(d *Decoder[float32], rows, capacity int) *Writer {
	return &Writer{d, NewCache[float32](d.arch, rows, capacity)}
}

// Grow is Cache.Grow.
func (w *Writer) Grow(capacity int) { w.Cache.Grow(w.arch, capacity) }

// Vocab is the number of tokens.
func (w *Writer) Vocab() int { return w.arch.Vocab }

// Decode is Decoder.Decode on the writer's cache. It returns the error of a context that is done.
func (w *Writer) Decode(ctx context.Context, tokens, rows []int32, logits []float32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.stop = func() bool { return ctx.Err() != nil }
	w.Decoder.Decode(w.Cache, tokens, rows, logits)
	return ctx.Err()
}

// Pool are the workers that the decoder computes on.
func (w *Writer) Pool() *par.Pool { return w.x.Pool() }

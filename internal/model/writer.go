package model

import (
	"context"

	"gimbal/internal/par"
)

// Writer is a decoder and the cache that it extends: the Decoder of package generate. Not safe for concurrent use.
type Writer struct {
	decoder *Decoder[float32]
	cache   *Cache[float32]
}

// NewWriter returns a writer of rows texts of at most capacity positions. d must have been made for that many rows.
//
// Memory: allocates the cache. Panics as NewCache does.
func NewWriter(d *Decoder[float32], rows, capacity int) *Writer {
	return &Writer{d, NewCache[float32](d.arch, rows, capacity)}
}

// Refresh takes the parameters as they are now.
func (w *Writer) Refresh() { w.decoder.Refresh() }

// Vocab is the number of tokens.
func (w *Writer) Vocab() int { return w.decoder.arch.Vocab }

// Rows is how many texts are written at a time.
func (w *Writer) Rows() int { return w.cache.rows }

// Capacity is the number of positions that a row can hold.
func (w *Writer) Capacity() int { return w.cache.capacity }

// Len is the number of positions that a row holds.
func (w *Writer) Len(row int) int { return w.cache.Len(row) }

// Truncate forgets a row's positions from n on; 0 empties it.
func (w *Writer) Truncate(row, n int) { w.cache.Truncate(row, n) }

// Decode is Decoder.Decode on the writer's cache. It returns the error of a context that is done.
func (w *Writer) Decode(ctx context.Context, tokens, rows []int32, logits []float32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.decoder.Decode(w.cache, tokens, rows, logits)
	return nil
}

// Pool are the workers that the decoder computes on.
func (w *Writer) Pool() *par.Pool { return w.decoder.x.Pool() }

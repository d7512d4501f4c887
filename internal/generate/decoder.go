package generate

import (
	"context"

	"gimbal/internal/par"
)

// Decoder continues rows of tokens and holds their keys and values.
type Decoder interface {
	Refresh()      // takes the parameters as they are now
	Vocab() int    // ids from 0 up
	Rows() int     // texts at a time
	Capacity() int // most positions of a row
	Len(row int) int
	Truncate(row, n int) // forgets what follows the first n positions

	// Decode extends rows by tokens and overwrites logits with those of the token that follows each row's last.
	//
	// Shapes: tokens and rows (N): rows[i] is the row that tokens[i] extends; the tokens of one row lie together.
	// logits (R, V), in the order of rows in the call; R is their number.
	Decode(ctx context.Context, tokens, rows []int32, logits []float32) error

	// Pool are the workers that draw from the logits.
	Pool() *par.Pool
}

package nn

import "gimbal/internal/kernel"

// Rounding copies rows in full precision to bfloat16 rows.
type Rounding[T kernel.Float] struct {
	rows[T]
	dst, src kernel.Mat[T]
}

// NewRounding returns the copy.
func NewRounding[T kernel.Float](x *kernel.Exec) *Rounding[T] {
	return &Rounding[T]{rows: rows[T]{x: x}}
}

// Forward overwrites n rows of dst by those of src, which has as many columns.
func (l *Rounding[T]) Forward(dst, src kernel.Mat[T], n int) {
	if dst.H == nil || dst.Cols != src.Cols {
		panic("nn: rounding: wrong shape")
	}
	l.dst, l.src = dst, src
	l.each(n, (*roundRows[T])(l))
}

type roundRows[T kernel.Float] Rounding[T]

func (l *roundRows[T]) row(_, i int, _ []T) { l.dst.Row(i).Write(l.x, l.src.RowF(i)) }

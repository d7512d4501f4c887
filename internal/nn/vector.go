package nn

import "gimbal/internal/kernel"

// row returns row i of m.
func row[T kernel.Float](m kernel.Mat[T], i int) []T {
	at := i * m.Stride
	return m.F[at : at+m.Cols : at+m.Cols]
}

// Rows returns the rows of m from lo on, sharing its memory.
func Rows[T kernel.Float](m kernel.Mat[T], lo int) kernel.Mat[T] {
	m.F = m.F[lo*m.Stride:]
	m.Rows -= lo
	return m
}

// Columns returns columns [lo, hi) of m, sharing its memory.
func Columns[T kernel.Float](m kernel.Mat[T], lo, hi int) kernel.Mat[T] {
	m.F = m.F[lo:]
	m.Cols = hi - lo
	return m
}

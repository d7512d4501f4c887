package nn

import "gimbal/internal/kernel"

// row returns row i of m, which holds full precision.
func row[T kernel.Float](m kernel.Mat[T], i int) []T {
	at := i * m.Stride
	return m.F[at : at+m.Cols : at+m.Cols]
}

// row16 returns row i of m, which holds bfloat16.
func row16[T kernel.Float](m kernel.Mat[T], i int) []uint16 {
	at := i * m.Stride
	return m.H[at : at+m.Cols : at+m.Cols]
}

// Rows returns the rows of m from lo on, sharing its memory.
func Rows[T kernel.Float](m kernel.Mat[T], lo int) kernel.Mat[T] {
	if m.H != nil {
		m.H = m.H[lo*m.Stride:]
	} else {
		m.F = m.F[lo*m.Stride:]
	}
	m.Rows -= lo
	return m
}

// Columns returns columns [lo, hi) of m, sharing its memory.
func Columns[T kernel.Float](m kernel.Mat[T], lo, hi int) kernel.Mat[T] {
	if m.H != nil {
		m.H = m.H[lo:]
	} else {
		m.F = m.F[lo:]
	}
	m.Cols = hi - lo
	return m
}

// Stage holds rows in full precision, some for each worker: layers compute in them what they read from and write to
// rows of bfloat16, so that such a row is touched once. One serves all layers of a model in turn.
type Stage[T kernel.Float] struct {
	width int
	buf   []T // (workers, width)
}

// StageLen is the number of elements that NewStage needs.
func StageLen(workers, width int) int { return workers * stageWidth(width) }

// stageWidth keeps the workers out of each other's cache lines.
func stageWidth(width int) int { return (width + 31) &^ 31 }

// NewStage returns width elements for each worker. buf has StageLen(x.Workers(), width) elements.
func NewStage[T kernel.Float](x *kernel.Exec, width int, buf []T) *Stage[T] {
	if len(buf) != StageLen(x.Workers(), width) {
		panic("nn: short stage")
	}
	return &Stage[T]{width: stageWidth(width), buf: buf}
}

// take returns the worker's first n elements.
func (s *Stage[T]) take(worker, n int) []T {
	if n > s.width {
		panic("nn: stage too narrow")
	}
	return s.buf[worker*s.width : worker*s.width+n]
}

// float32s is the identity where T is float32; there are no bfloat16 rows otherwise.
func float32s[T kernel.Float](s []T) []float32 {
	f, ok := any(s).([]float32)
	if !ok {
		panic("nn: bfloat16 rows of a float64 model")
	}
	return f
}

// read returns row i of m: the row itself, or its bfloat16 widened into temp.
func read[T kernel.Float](x *kernel.Exec, m kernel.Mat[T], i int, temp []T) []T {
	if m.H == nil {
		return row(m, i)
	}
	kernel.FromBF16(x, float32s(temp[:m.Cols]), row16(m, i))
	return temp[:m.Cols]
}

// load copies row i of m to temp and returns it.
func load[T kernel.Float](x *kernel.Exec, m kernel.Mat[T], i int, temp []T) []T {
	if m.H == nil {
		copy(temp[:m.Cols], row(m, i))
		return temp[:m.Cols]
	}
	return read(x, m, i, temp)
}

// target returns where row i of m is computed: the row itself, or temp if the row is bfloat16. write finishes it.
func target[T kernel.Float](m kernel.Mat[T], i int, temp []T) []T {
	if m.H == nil {
		return row(m, i)
	}
	return temp[:m.Cols]
}

// write rounds what target returned into row i of m; it has nothing to do where that was the row itself.
func write[T kernel.Float](x *kernel.Exec, m kernel.Mat[T], i int, from []T) {
	if m.H != nil {
		kernel.ToBF16(x, row16(m, i), float32s(from))
	}
}

// Rounding copies rows in full precision to bfloat16 rows.
type Rounding[T kernel.Float] struct {
	x        *kernel.Exec
	dst, src kernel.Mat[T]
}

// NewRounding returns the copy.
func NewRounding[T kernel.Float](x *kernel.Exec) *Rounding[T] { return &Rounding[T]{x: x} }

// Forward overwrites n rows of dst by those of src, which has as many columns.
func (l *Rounding[T]) Forward(dst, src kernel.Mat[T], n int) {
	if dst.H == nil || dst.Cols != src.Cols {
		panic("nn: rounding: wrong shape")
	}
	l.dst, l.src = dst, src
	l.x.Pool().Do(n, rowGrain, (*roundRows[T])(l))
}

type roundRows[T kernel.Float] Rounding[T]

func (l *roundRows[T]) Part(_, lo, hi int) {
	for i := lo; i < hi; i++ {
		write(l.x, l.dst, i, row(l.src, i))
	}
}

package kernel

import "unsafe"

// require panics with fault unless ok.
func require(ok bool, fault string) {
	if !ok {
		panic(fault)
	}
}

// Mat is a matrix that enters or leaves a multiply: Rows rows of Cols elements,
// row i at [i*Stride, i*Stride+Cols). Exactly one of F and H is set.
type Mat[T Float] struct {
	F                  []T      // elements in full precision
	H                  []uint16 // bfloat16 operand rows, see NewWeightsBF16
	Rows, Cols, Stride int
}

// Dense returns the (rows, cols) matrix that fills f without gaps.
func Dense[T Float](f []T, rows, cols int) Mat[T] {
	require(len(f) >= rows*cols, "kernel: short matrix")
	return Mat[T]{F: f, Rows: rows, Cols: cols, Stride: cols}
}

// check panics unless m has n rows of cols columns, in bfloat16 or in full precision.
func (m *Mat[T]) check(n, cols int, bf16 bool) {
	require((m.F == nil || !bf16) && (m.H == nil || bf16) && (n <= 0 || m.F != nil || m.H != nil),
		"kernel: operand of a kind this weight does not take")
	require(m.Cols == cols && m.Stride >= cols, "kernel: wrong number of columns")
	require(n >= 0 && n <= m.Rows && (n == 0 || max(len(m.F), len(m.H)) >= (n-1)*m.Stride+cols),
		"kernel: short matrix")
}

// From returns the rows of m from lo on, sharing its memory.
func (m Mat[T]) From(lo int) Mat[T] {
	m = m.skip(lo * m.Stride)
	m.Rows -= lo
	return m
}

// Columns returns columns [lo, hi) of m, sharing its memory.
func (m Mat[T]) Columns(lo, hi int) Mat[T] {
	m = m.skip(lo)
	m.Cols = hi - lo
	return m
}

// skip drops the first n elements of the memory of m.
func (m Mat[T]) skip(n int) Mat[T] {
	if m.H != nil {
		m.H = m.H[n:]
	} else {
		m.F = m.F[n:]
	}
	return m
}

// RowF returns row i of a matrix in full precision.
func (m Mat[T]) RowF(i int) []T { return m.F[i*m.Stride:][:m.Cols:m.Cols] }

// RowH returns row i of a bfloat16 matrix.
func (m Mat[T]) RowH(i int) []uint16 { return m.H[i*m.Stride:][:m.Cols:m.Cols] }

// Row returns row i of a matrix of either kind.
func (m Mat[T]) Row(i int) Row[T] {
	if m.H != nil {
		return Row[T]{H: m.RowH(i)}
	}
	return Row[T]{F: m.RowF(i)}
}

// Row is a row of a Mat. Exactly one of F and H is set; H is for T = float32 only. Loops over a row compute in full
// precision whatever its kind: Read or Load gives its elements, Target the place for new ones, and Write stores them.
type Row[T Float] struct {
	F []T
	H []uint16
}

// Slice returns elements [lo, hi), sharing the memory of r.
func (r Row[T]) Slice(lo, hi int) Row[T] {
	if r.H != nil {
		return Row[T]{H: r.H[lo:hi:hi]}
	}
	return Row[T]{F: r.F[lo:hi:hi]}
}

// Read returns the elements of r: r itself, or its bfloat16 widened into temp.
func (r Row[T]) Read(x *Exec, temp []T) []T {
	if r.H == nil {
		return r.F
	}
	temp = temp[:len(r.H)]
	FromBF16(x, float32s(temp), r.H)
	return temp
}

// Load copies the elements of r to temp and returns them there.
func (r Row[T]) Load(x *Exec, temp []T) []T {
	v := r.Read(x, temp)
	return temp[:copy(temp[:len(v)], v)]
}

// Target returns where to compute new elements of r: in r itself, or in temp for bfloat16. Write then stores them.
func (r Row[T]) Target(temp []T) []T {
	if r.H == nil {
		return r.F
	}
	return temp[:len(r.H)]
}

// Write stores the elements of src, which may be what Target returned, in r. It rounds them if r is bfloat16.
func (r Row[T]) Write(x *Exec, src []T) {
	if r.H != nil {
		ToBF16(x, r.H, float32s(src))
	} else if unsafe.SliceData(r.F) != unsafe.SliceData(src) {
		copy(r.F, src)
	}
}

// Clear sets the elements of r to zero.
func (r Row[T]) Clear() {
	clear(r.F)
	clear(r.H)
}

// float32s is the identity where T is float32; there are no bfloat16 rows otherwise.
func float32s[T Float](s []T) []float32 {
	f, ok := any(s).([]float32)
	require(ok, "kernel: bfloat16 rows of a float64 model")
	return f
}

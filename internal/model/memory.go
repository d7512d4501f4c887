package model

import (
	"runtime"
	"slices"
	"unsafe"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/memory"
)

// Footprint is the memory of a model, known before any of it is allocated.
type Footprint struct {
	Parts []FootprintPart
	Total int64 // bytes
}

// FootprintPart is the memory of one purpose.
type FootprintPart struct {
	Name  string
	Bytes int64
}

func (p *Footprint) add(name string, bytes int64) {
	p.Total += bytes
	i := slices.IndexFunc(p.Parts, func(part FootprintPart) bool { return part.Name == name })
	if i < 0 {
		i, p.Parts = len(p.Parts), append(p.Parts, FootprintPart{Name: name})
	}
	p.Parts[i].Bytes += bytes
}

// Parts of a footprint.
const (
	partParams      = "parameters"
	partPacked      = "packed weights"
	partGrads       = "gradients"
	partActivations = "activations"
	partBackward    = "backward"
	partHead        = "logits"
	partScratch     = "scratch"
	partBatch       = "batch"
	partCache       = "cache"
)

// arena allocates the buffers of a model and counts their bytes. A dry one only counts, so that estimate and allocation
// are the same code.
type arena struct {
	footprint Footprint
	dry       bool
	bf16      bool // whether operands of multiplies are bfloat16
	format    kernel.Format
	resident  bool // whether only the matrices of one block are there at a time
}

// alloc returns n zero elements on a boundary of 64 bytes, nil if n is 0 or the arena is dry.
func alloc[T any](a *arena, part string, n int) []T {
	if n == 0 {
		return nil
	}
	a.footprint.add(part, memory.AlignedBytes[T](n))
	if a.dry {
		return nil
	}
	return memory.Aligned[T](n)
}

// operand returns a matrix that enters a multiply, in the numbers of the mode.
func operand[T kernel.Float](a *arena, part string, rows, cols int) kernel.Mat[T] {
	if !a.bf16 {
		return mat[T](a, part, rows, cols)
	}
	n, stride := kernel.OperandLen(rows, cols)
	return kernel.Mat[T]{H: alloc[uint16](a, part, n), Rows: rows, Cols: cols, Stride: stride}
}

// product returns a matrix that leaves a multiply and is read element by element only. It has the numbers of operands:
// rounding it costs less accuracy than rounding those, and halves the memory that is moved.
func product[T kernel.Float](a *arena, part string, rows, cols int) kernel.Mat[T] {
	return operand[T](a, part, rows, cols)
}

// cut takes the matrix (rows, cols) of bfloat16 off the front of s.
func cut[T kernel.Float](s *[]uint16, rows, cols int) kernel.Mat[T] {
	n, stride := kernel.OperandLen(rows, cols)
	m := kernel.Mat[T]{H: (*s)[:n:n], Rows: rows, Cols: cols, Stride: stride}
	*s = (*s)[n:]
	return m
}

// view is the memory of s, 64-byte aligned, as elements of another type.
func view[To, From any](s []From) []To {
	if len(s) == 0 {
		return nil
	}
	var from From
	var to To
	return unsafe.Slice((*To)(unsafe.Pointer(&s[0])), uintptr(len(s))*unsafe.Sizeof(from)/unsafe.Sizeof(to))
}

// mat returns a matrix in full precision.
func mat[T kernel.Float](a *arena, part string, rows, cols int) kernel.Mat[T] {
	return kernel.Mat[T]{F: alloc[T](a, part, rows*cols), Rows: rows, Cols: cols, Stride: cols}
}

// Memory returns the bytes that New allocates for float32, by part. New takes the number of workers and the meaning
// of the mode auto from its Exec; here they are Options.Workers and Options.Mode, which must not be auto (see
// ResolveMode). The state of an optimizer is not counted.
func Memory(a config.Arch, opt Options) Footprint { return memoryOf[float32](a, opt) }

func memoryOf[T kernel.Float](a config.Arch, opt Options) Footprint {
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	require(opt.Mode != ModeAuto, "model: memory of an unresolved mode")
	ar := arena{dry: true, bf16: opt.Mode == ModeBF16, resident: opt.resident()}
	newBuffers[T](&ar, a, opt)
	return ar.footprint
}

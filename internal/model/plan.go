package model

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
)

// Plan is the memory of a model, known before any of it is allocated.
type Plan struct {
	Parts []Part
	Total int64 // bytes
}

// Part is one purpose's share of a plan.
type Part struct {
	Name  string
	Bytes int64
}

// String lists the parts, one per line.
func (p Plan) String() string {
	var b strings.Builder
	for _, part := range p.Parts {
		fmt.Fprintf(&b, "%-16s %9.1f MB\n", part.Name, float64(part.Bytes)/1e6)
	}
	fmt.Fprintf(&b, "%-16s %9.1f MB\n", "all", float64(p.Total)/1e6)
	return b.String()
}

func (p *Plan) add(name string, bytes int64) {
	p.Total += bytes
	for i := range p.Parts {
		if p.Parts[i].Name == name {
			p.Parts[i].Bytes += bytes
			return
		}
	}
	p.Parts = append(p.Parts, Part{name, bytes})
}

// Parts of a plan.
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

// arena hands out the buffers of a model and accounts for them. A dry one only accounts, so that the plan and the
// allocation are the same code.
type arena struct {
	plan Plan
	dry  bool
	bf16 bool // whether operands of multiplies are bfloat16
}

// alloc returns n zero elements on a boundary of 64 bytes, nil if n is 0 or the arena is dry.
func alloc[T any](a *arena, part string, n int) []T {
	if n == 0 {
		return nil
	}
	var zero T
	size := int(unsafe.Sizeof(zero))
	pad := (64 + size - 1) / size
	a.plan.add(part, int64(n+pad)*int64(size))
	if a.dry {
		return nil
	}
	s := make([]T, n+pad)
	hugePages(s)
	at := 0
	for at < pad && uintptr(unsafe.Pointer(&s[at]))%64 != 0 {
		at++
	}
	return s[at : at+n : at+n]
}

// operand returns a matrix that enters a multiply, of the kind that the numeric mode asks for.
func operand[T kernel.Float](a *arena, part string, rows, cols int) kernel.Mat[T] {
	if !a.bf16 {
		return mat[T](a, part, rows, cols)
	}
	n, stride := kernel.OperandLen(rows, cols)
	return kernel.Mat[T]{H: alloc[uint16](a, part, n), Rows: rows, Cols: cols, Stride: stride}
}

// product returns a matrix that leaves a multiply and is read element by element only. It is of the kind of operands:
// rounding it costs less accuracy than rounding those does, and it halves the memory that is moved.
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

// Memory returns the bytes that New allocates for float32, by part. New counts the workers of its Exec and resolves the
// mode by it; here they are Options.Workers and Options.Mode, which must not be auto (see ResolveMode).
// The state of an optimizer is not in it.
func Memory(a config.Arch, opt Options) Plan { return memory[float32](a, opt) }

func memory[T kernel.Float](a config.Arch, opt Options) Plan {
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.Mode == ModeAuto {
		panic("model: memory of an unresolved mode")
	}
	ar := arena{dry: true, bf16: opt.Mode == ModeBF16}
	newBuffers[T](&ar, a, opt)
	return ar.plan
}

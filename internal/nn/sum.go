package nn

import "gimbal/internal/kernel"

// sumRows is the number of positions whose contributions to a weight's gradient are summed before the blocks are.
// It is a constant of the numerics: changing it changes bits.
const sumRows = 64

// BlockSums adds contributions of positions to the gradient of a vector, with the same bits for any number of
// workers: blocks of 64 positions are summed apart, then in block order. One serves all layers of a model in turn.
type BlockSums[T kernel.Float] struct {
	x       *kernel.Exec
	width   int
	partial []T // (blocks, width)
	scratch []T // (workers, width)

	dst    []T
	offset int
	blocks int
}

// BlockSumsLen is the number of elements that NewBlockSums needs.
func BlockSumsLen(workers, rows, width int) int { return (blocksOf(rows) + workers) * width }

// NewBlockSums returns sums for at most rows positions and width channels. buf has BlockSumsLen(x.Workers(), rows,
// width) elements.
func NewBlockSums[T kernel.Float](x *kernel.Exec, rows, width int, buf []T) *BlockSums[T] {
	require(len(buf) == BlockSumsLen(x.Workers(), rows, width), "nn: short partial sums")
	at := blocksOf(rows) * width
	return &BlockSums[T]{x: x, width: width, partial: buf[:at], scratch: buf[at:]}
}

// block returns the zeroed partial sums of block b, nil for a width of 0.
func (s *BlockSums[T]) block(b, width int) []T {
	require(width <= s.width, "nn: partial sums too narrow")
	if width == 0 {
		return nil
	}
	sum := s.partial[b*s.width : b*s.width+width]
	clear(sum)
	return sum
}

// addTo adds channels offset to offset+len(dst) of the partial sums of n positions to dst, which may be empty.
func (s *BlockSums[T]) addTo(dst []T, offset, n int) {
	s.dst, s.offset, s.blocks = dst, offset, blocksOf(n)
	s.x.Pool().Do(len(dst), 16, (*addBlocks[T])(s))
}

// temp returns n elements of scratch of a worker.
func (s *BlockSums[T]) temp(worker, n int) []T { return s.scratch[worker*s.width : worker*s.width+n] }

func blocksOf(n int) int { return (n + sumRows - 1) / sumRows }

type addBlocks[T kernel.Float] BlockSums[T]

func (s *addBlocks[T]) Part(_, lo, hi int) {
	dst := s.dst[lo:hi]
	for b := range s.blocks {
		from := b*s.width + s.offset
		kernel.Axpy(s.x, dst, 1, s.partial[from+lo:from+hi])
	}
}

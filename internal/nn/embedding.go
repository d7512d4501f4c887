package nn

import "gimbal/internal/kernel"

// Embedding looks tokens up, scales what it finds, adds learned positions where there are any, and applies dropout.
//
// Formula: y_i = dropout(scale·table[token_i] + positions[pos_i]).
type Embedding[T kernel.Float] struct {
	rows[T]
	width   int
	scale   T
	dropout Dropout[T]

	dst              []T
	table, positions []T
	tokens, pos      []int32
	masks            Masks
}

// NewEmbedding returns the look-up of rows of width channels.
func NewEmbedding[T kernel.Float](x *kernel.Exec, width int, scale float64, dropout Dropout[T]) *Embedding[T] {
	return &Embedding[T]{rows: rows[T]{x: x}, width: width, scale: T(scale), dropout: dropout}
}

// Forward overwrites dst (N, C). tokens and pos (N); table (V, C); positions (context, C) or nil.
// Panics if a token is outside the table.
func (l *Embedding[T]) Forward(dst []T, tokens, pos []int32, table, positions []T, masks Masks) {
	require(len(dst) >= len(tokens)*l.width && len(pos) == len(tokens), "nn: embedding: wrong shape")
	l.dst, l.tokens, l.pos, l.table, l.positions, l.masks = dst, tokens, pos, table, positions, masks
	l.each(len(tokens), (*embeddingForward[T])(l))
}

type embeddingForward[T kernel.Float] Embedding[T]

func (l *embeddingForward[T]) row(_, i int, _ []T) {
	dst := l.dst[i*l.width : (i+1)*l.width]
	from := int(l.tokens[i]) * l.width
	copy(dst, l.table[from:from+l.width])
	if l.scale != 1 {
		kernel.Affine(l.x, dst, dst, l.scale, 0)
	}
	if l.positions != nil {
		from := int(l.pos[i]) * l.width
		kernel.Axpy(l.x, dst, 1, l.positions[from:from+l.width])
	}
	if l.dropout.active(l.masks) {
		l.dropout.apply(dst, l.masks, i)
	}
}

// Backward adds to dtable (V, C) and dpositions (context, C) or nil. It overwrites dy (N, C).
//
// Numerics: workers share the channels, so that each element is summed over positions in their order.
func (l *Embedding[T]) Backward(dtable, dpositions, dy []T, tokens, pos []int32, masks Masks) {
	require(len(dy) >= len(tokens)*l.width && len(pos) == len(tokens), "nn: embedding: wrong shape")
	l.dst, l.tokens, l.pos, l.table, l.positions, l.masks = dy, tokens, pos, dtable, dpositions, masks
	if l.dropout.active(masks) {
		l.each(len(tokens), (*embeddingMask[T])(l))
	}
	l.x.Pool().Do(l.width, 16, (*embeddingBackward[T])(l))
}

type embeddingMask[T kernel.Float] Embedding[T]

func (l *embeddingMask[T]) row(_, i int, _ []T) {
	l.dropout.apply(l.dst[i*l.width:(i+1)*l.width], l.masks, i)
}

type embeddingBackward[T kernel.Float] Embedding[T]

func (l *embeddingBackward[T]) Part(_, lo, hi int) {
	for i, token := range l.tokens {
		dy := l.dst[i*l.width+lo : i*l.width+hi]
		from := int(token) * l.width
		kernel.Axpy(l.x, l.table[from+lo:from+hi], l.scale, dy)
		if l.positions != nil {
			from := int(l.pos[i]) * l.width
			kernel.Axpy(l.x, l.positions[from+lo:from+hi], 1, dy)
		}
	}
}

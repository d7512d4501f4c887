package kernel

// tierTable holds all functions of a tier. These tables are the only dispatch here: tiers_<arch>.go fills one for each
// tier that its CPUs may have, and tableOf looks one up. The generic twin has one, too.
type tierTable struct {
	tier Tier
	table[float32]
	bf16 bfTable
	peak peakLoop // multiply-adds of float32
}

// genericTier is the tier that every machine has.
var genericTier = tierTable{tier: Generic, table: generic32, bf16: genericBF16, peak: peakGeneric}

// tableOf returns the functions of a tier that this CPU and build have.
func tableOf(t Tier) (*tierTable, bool) {
	if t == Generic {
		return &genericTier, true
	}
	for i := range tiers {
		if tiers[i].tier == t {
			return &tiers[i], true
		}
	}
	return nil, false
}

// table is a tier's set of kernels for one element type.
type table[T Float] struct {
	mr, nr int // tile computes up to mr rows and nr columns

	// tile computes the product of rows (<= mr) rows of A and cols (<= nr) columns of B over k terms, starting from
	// zero, in ascending order: C = alpha·A·B, or C += alpha·A·B if add. A's element (i, l) is a[i*rs+l*ks], B's (l,
	// j) is b[l*bs+j], C's (i, j) is c[i*ldc+j]. It reads whole rows of nr elements of B and writes only what it
	// computes.
	tile func(rows, k int, a *T, rs, ks int, b *T, bs int, c *T, ldc, cols int, alpha T, add bool)

	lanesA int // elements of a term in a packed panel of A that is stored by terms, at least mr

	// packN copies k rows of cols elements of src to rows of ldd elements of
	// dst, without gaps and filled with zeros; ldd is nr or lanesA.
	packN func(dst *T, ldd int, src *T, lds, k, cols int)

	// packTerms copies k rows of src (row stride lds) to panels that are step elements apart: to each panel mr elements
	// of every row, as a row of lanesA, whose last elements are those that follow in src. Nil where packN does it.
	packTerms func(dst *T, step int, src *T, lds, k, panels int)

	// packT writes the transpose of lanes rows of src (row stride lds, k
	// columns, a multiple of 4) to dst (row stride ldd). Nil where Go does it.
	packT func(dst *T, ldd int, src *T, lds, k int)
	lanes int

	// packRows copies rows of k elements of src (row stride lds) to rows of dst
	// (row stride ldd). Nil where Go does it.
	packRows func(dst *T, ldd int, src *T, lds, rows, k int)

	// dots computes the products of 16 rows of W, ldw apart, with x over k terms, a multiple of 4, starting from zero, in
	// ascending order: c = W·x, or c += W·x if add. It fetches as many terms of 16 rows from next on. Nil where tile
	// does it.
	dots func(c, w *T, ldw int, x, next *T, k int, add bool)

	codedBF16, codedInt8 codedTable

	vectors[T]
}

// vectors are the kernels on slices; the functions of the same name document them.
type vectors[T Float] struct {
	exp, gelu       func(dst, src []T)
	expSub          func(dst, src []T, m T) T
	max, sum        func(src []T) T
	dot             func(a, b []T) T
	sumSquares      func(src []T) float64
	axpy            func(dst []T, alpha T, src []T)
	affine          func(dst, src []T, scale, shift T)
	mul, mulAdd     func(dst, a, b []T)
	geluBackward    func(dx, dy, src []T)
	siluMul         func(dst, gate, up []T)
	siluMulBackward func(dgate, dup, dy, gate, up []T)
	rotate          func(dst1, dst2, a, b, cos, sin []T)
	adamW           func(p, g, m, v []T, c adamCoef[T])
}

// bfTable is a tier's set of kernels for bfloat16.
type bfTable struct {
	name     string // what multiplies; empty for the twin
	faster   bool   // see FasterBF16
	panel    func(p *panel)
	toBF16   func(dst []uint16, src []float32)
	fromBF16 func(dst []float32, src []uint16)

	// packBlocks makes blocks of 32 by 32 at dst, dst+step, ... of 32 rows of src; packBlocksF32, which does not
	// transpose, rounds them first. packEdge makes one: it gets the rows by value, so that the caller can have them
	// on its stack.
	packBlocks    func(kind packKind, dst *uint16, step int, src *uint16, stride, blocks int)
	packBlocksF32 func(kind packKind, dst *uint16, step int, src *float32, stride, blocks int)
	packEdge      func(kind packKind, dst *uint16, step int, rows [tileSize]uint16)

	peak peakLoop // of the multiplies; without a run for the twin
}

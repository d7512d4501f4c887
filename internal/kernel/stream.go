package kernel

const (
	dotRows   = 16 // rows of W that a call of dots takes
	codedRows = 3  // rows of A for which dot is faster than expanding coded weights
)

// stream computes columns [n0, n1) of rows [m0, m1) of a product with W transposed, as multiply does and with the same
// bits, but reads W once, from the first byte to the last. It returns the column up to which it came: n0 where there
// are too many rows or the tier has no such kernel.
func (e *engine[T]) stream(s *scratch[T], p *product[T], m0, m1, n0, n1 int) int {
	switch {
	case p.coded != nil && n0%panelRows == 0:
		switch t, rows := e.codedOf(p.coded.format), m1-m0; {
		case t.tile != nil && rows > 1 && rows <= fewRows:
			return e.streamTiles(p, m0, m1, n0, n1)
		case t.dot != nil && rows <= codedRows:
			return e.streamDots(s, p, m0, m1, n0, n1)
		}
	case p.coded == nil && m1-m0 == 1:
		return e.streamRows(p.c[m0*p.ldc:], p.a[m0*p.rs:], p, n0, n1)
	}
	return n0
}

func (e *engine[T]) streamDots(s *scratch[T], p *product[T], m0, m1, n0, n1 int) int {
	dot, edge := e.codedOf(p.coded.format).dot, float32s(s.a)[:panelRows]
	for j := n0; j < n1; j += panelRows {
		for l0 := 0; l0 < p.k; l0 += kBlock {
			src, k := p.coded.at(j/panelRows, l0), min(kBlock, p.k-l0)
			for i := m0; i < m1; i++ {
				to, x := float32s(p.c[i*p.ldc+j:]), float32s(p.a[i*p.rs+l0:])
				if j+panelRows <= n1 {
					dot(&to[0], src, &x[0], k, l0 > 0)
					continue
				}
				copy(edge, to[:n1-j])
				dot(&edge[0], src, &x[0], k, l0 > 0)
				copy(to[:n1-j], edge)
			}
		}
	}
	return n1
}

// streamTiles takes tiles of equal height, so that none has too few rows to keep the multipliers busy.
func (e *engine[T]) streamTiles(p *product[T], m0, m1, n0, n1 int) int {
	tile := e.codedOf(p.coded.format).tile
	tiles := (m1 - m0 + e.mr - 1) / e.mr
	height := (m1 - m0 + tiles - 1) / tiles
	for j := n0; j < n1; j += panelRows {
		for l0 := 0; l0 < p.k; l0 += kBlock {
			src, k := p.coded.at(j/panelRows, l0), min(kBlock, p.k-l0)
			for i := m0; i < m1; i += height {
				a, c := float32s(p.a[i*p.rs+l0:]), float32s(p.c[i*p.ldc+j:])
				tile(min(height, m1-i), k, &a[0], p.rs, src, &c[0], p.ldc, min(panelRows, n1-j), 1, l0 > 0)
			}
		}
	}
	return n1
}

// streamRows computes one row c of the product from the row a, in groups of dotRows columns.
func (e *engine[T]) streamRows(c, a []T, p *product[T], n0, n1 int) (j int) {
	if e.dots == nil || p.k%4 != 0 {
		return n0
	}
	for j = n0; j+dotRows <= n1; j += dotRows {
		for l0 := 0; l0 < p.k; l0 += kBlock {
			w := p.b[j*p.ldb+l0:]
			// The next call reads the next terms, or the next rows: fetch them meanwhile.
			next := w
			if l0+kBlock < p.k {
				next = w[kBlock:]
			} else if j+2*dotRows <= n1 {
				next = p.b[(j+dotRows)*p.ldb:]
			}
			e.dots(&c[j], &w[0], p.ldb, &a[l0], &next[0], min(kBlock, p.k-l0), l0 > 0)
		}
	}
	return j
}

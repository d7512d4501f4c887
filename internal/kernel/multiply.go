package kernel

// Blocking. kBlock is part of the definition of every sum (see the package doc); the others only bound the scratch
// memory.
const (
	kBlock   = 384                   // terms summed from zero before they are added to the output
	bBlock   = 1024 * kBlock         // elements of B packed at a time: 1.6 MB
	aPad     = 16                    // keeps a panel's rows out of each other's cache sets
	aBlock   = 128 * (kBlock + aPad) // elements of A packed at a time: 0.2 MB
	fewRows  = 32                    // rows of A that make no use of a wide block of B
	packStep = 8                     // rows copied at a time from a row-major operand: streams a prefetcher can follow
)

// scratch is one worker's memory for packed operands.
type scratch[T Float] struct {
	a, b []T
}

func (s *scratch[T]) grow() {
	if s.a == nil {
		s.a, s.b = make([]T, aBlock), make([]T, bBlock)
	}
}

// product describes C = alpha·A·B or C += alpha·A·B with C (m, n) and k terms.
type product[T Float] struct {
	m, n, k int
	a       []T // element (i, l) is a[i*rs+l*ks]; one of rs, ks is 1
	rs, ks  int
	b       []T // element (l, j) is b[l*ldb+j], or b[j*ldb+l] if transB
	ldb     int
	transB  bool
	coded   *coded // of B, transposed, which is read instead; nil: none
	c       []T
	ldc     int
	alpha   T
	add     bool
	inPlace bool // read A and B where they lie if possible: they are small
	lower   bool // leave out tiles above the diagonal of C
}

// job is a product cut over the workers along one of C's dimensions.
type job[T Float] struct {
	e *engine[T]
	product[T]
	byCols bool
}

// run computes a product on the pool.
func (e *engine[T]) run(x *Exec, p product[T]) {
	if p.m <= 0 || p.n <= 0 {
		return
	}
	j := &e.job
	j.product = p
	// Cut the dimension with more tiles. A worker packs the whole of the other operand for itself, so that workers need
	// not wait for each other.
	if j.byCols = (j.n+e.nr-1)/e.nr > (j.m+e.mr-1)/e.mr; j.byCols {
		grain := e.nr
		if j.coded != nil {
			grain = panelRows
		}
		x.pool.Do(j.n, grain, j)
	} else {
		x.pool.Do(j.m, e.mr, j)
	}
	j.a, j.b, j.c, j.coded = nil, nil, nil, nil
}

// alone computes a product on the calling goroutine, with the memory of a worker.
func (e *engine[T]) alone(worker int, p *product[T]) {
	if p.m <= 0 || p.n <= 0 {
		return
	}
	s := &e.scratch[worker]
	s.grow()
	e.multiply(s, p, 0, p.m, 0, p.n)
}

// Part implements par.Job.
func (j *job[T]) Part(worker, lo, hi int) {
	s := &j.e.scratch[worker]
	s.grow()
	if j.byCols {
		j.e.multiply(s, &j.product, 0, j.m, lo, hi)
	} else {
		j.e.multiply(s, &j.product, lo, hi, 0, j.n)
	}
}

// multiply computes rows [m0, m1) and columns [n0, n1) of C.
func (e *engine[T]) multiply(s *scratch[T], p *product[T], m0, m1, n0, n1 int) {
	if p.k <= 0 && !p.add {
		for i := m0; i < m1; i++ {
			clear(p.c[i*p.ldc+n0 : i*p.ldc+n1])
		}
		return
	}
	if p.transB && p.ks == 1 && p.alpha == 1 && !p.add {
		n0 = e.stream(s, p, m0, m1, n0, n1)
	}
	panel := e.lanesA * (kBlock + aPad)
	width, height := bBlock/kBlock/e.nr*e.nr, aBlock/panel*e.mr
	few := m1-m0 <= e.mr || m1-m0 <= fewRows && p.transB && p.ks == 1
	if few {
		width = e.nr // a panel of B is used little: use it while it is in L1
	}
	// Packing costs more than it saves for operands that are used little. But A stored by terms spreads over too many
	// cache lines.
	inPlace := p.inPlace || m1-m0 <= e.mr
	aInPlace := (inPlace || few) && p.ks == 1
	for j0 := n0; j0 < n1; j0 += width {
		j1 := min(j0+width, n1)
		for l0 := 0; l0 < p.k; l0 += kBlock {
			k := min(kBlock, p.k-l0)
			split := j0 // B is read in place before it, packed from there on
			if !p.transB && inPlace {
				split = j0 + (j1-j0)/e.nr*e.nr
			}
			e.packB(s.b, p, l0, k, split, j1)
			for i0 := m0; i0 < m1; i0 += height {
				i1 := min(i0+height, m1)
				if !aInPlace {
					e.packA(s.a, panel, p, l0, k, i0, i1)
				}
				for i := i0; i < i1; i += e.mr {
					a, rs, ks := s.a[(i-i0)/e.mr*panel:], kBlock+aPad, 1
					if aInPlace {
						a, rs, ks = p.a[i*p.rs+l0*p.ks:], p.rs, p.ks
					} else if p.ks != 1 {
						rs, ks = 1, e.lanesA
					}
					for j := j0; j < j1 && !(p.lower && j >= i+e.mr); j += e.nr {
						var b []T
						bs := e.nr
						if j < split {
							b, bs = p.b[l0*p.ldb+j:], p.ldb
						} else {
							b = s.b[(j-split)*k:]
						}
						e.tile(min(e.mr, i1-i), k, &a[0], rs, ks, &b[0], bs,
							&p.c[i*p.ldc+j], p.ldc, min(e.nr, j1-j), p.alpha, p.add || l0 > 0)
					}
				}
			}
		}
	}
}

// packB copies the k terms from l0 of columns [j0, j1) of B to dst: panels of nr columns, in each one row of nr
// elements per term, missing columns zero.
func (e *engine[T]) packB(dst []T, p *product[T], l0, k, j0, j1 int) {
	nr := e.nr
	if p.coded != nil {
		e.packCoded(dst, p.coded, l0, k, j0, j1)
		return
	}
	if p.transB {
		for j := j0; j < j1; j += nr {
			e.packPanelT(dst[(j-j0)*k:], p, l0, k, j, min(nr, j1-j))
		}
		return
	}
	for l := 0; l < k; l += packStep {
		for j := j0; j < j1; j += nr {
			e.packN(&dst[(j-j0)*k+l*nr], nr, &p.b[(l0+l)*p.ldb+j], p.ldb, min(packStep, k-l), min(nr, j1-j))
		}
	}
}

// packPanelT is packB for one panel of cols columns from j of a transposed B.
func (e *engine[T]) packPanelT(dst []T, p *product[T], l0, k, j, cols int) {
	c, whole := 0, k&^3
	if e.packT != nil && whole > 0 {
		for ; c+e.lanes <= cols; c += e.lanes {
			e.packT(&dst[c], e.nr, &p.b[(j+c)*p.ldb+l0], p.ldb, whole)
			for r := c; r < c+e.lanes; r++ {
				for l := whole; l < k; l++ {
					dst[l*e.nr+r] = p.b[(j+r)*p.ldb+l0+l]
				}
			}
		}
	}
	for ; c < cols; c++ {
		for l, v := range p.b[(j+c)*p.ldb+l0:][:k] {
			dst[l*e.nr+c] = v
		}
	}
	for ; c < e.nr; c++ {
		for l := range k {
			dst[l*e.nr+c] = 0
		}
	}
}

// packA copies the k terms from l0 of rows [i0, i1) of A to dst: panels of mr rows, step elements apart, in each one
// row after the other, or one term after the other if that is how A is stored.
func (e *engine[T]) packA(dst []T, step int, p *product[T], l0, k, i0, i1 int) {
	switch {
	case p.ks == 1 && e.packRows != nil:
		for i := i0; i < i1; i += e.mr {
			e.packRows(&dst[(i-i0)/e.mr*step], kBlock+aPad, &p.a[i*p.rs+l0], p.rs, min(e.mr, i1-i), k)
		}
		return
	case p.ks == 1:
		for i := i0; i < i1; i++ {
			o := (i-i0)/e.mr*step + (i-i0)%e.mr*(kBlock+aPad)
			copy(dst[o:o+k], p.a[i*p.rs+l0:])
		}
		return
	}
	if e.packTerms != nil {
		// It reads lanesA elements a panel: the last panel of all has fewer.
		if whole := (min(i1, p.m-(e.lanesA-e.mr)) - i0) / e.mr; whole > 0 {
			e.packTerms(&dst[0], step, &p.a[i0+l0*p.ks], p.ks, k, whole)
			dst, i0 = dst[whole*step:], i0+whole*e.mr
		}
	}
	for l := 0; l < k; l += packStep {
		for i := i0; i < i1; i += e.mr {
			to, from := &dst[(i-i0)/e.mr*step+l*e.lanesA], &p.a[i+(l0+l)*p.ks]
			e.packN(to, e.lanesA, from, p.ks, min(packStep, k-l), min(e.mr, i1-i))
		}
	}
}

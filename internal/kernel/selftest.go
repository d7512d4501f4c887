package kernel

import "fmt"

// selfTest multiplies two small matrices, with edges in every direction, on t and on the generic twin. It returns the
// first difference, or an empty string.
func selfTest(t *table[float32]) string {
	m, n, k := t.mr+3, t.nr+5, 37
	a, b := make([]float32, m*k), make([]float32, n*k)
	for i := range a {
		a[i] = float32(i*i%31-15) / 8 // exact in every order of summation
	}
	for i := range b {
		b[i] = float32(i*i%29-14) / 8
	}
	multiply := func(t *table[float32]) []float32 {
		c, s := make([]float32, m*n), new(scratch[float32])
		s.grow()
		(&engine[float32]{table: t}).multiply(s, &product[float32]{m: m, n: n, k: k, a: a, rs: k, ks: 1,
			b: b, ldb: k, transB: true, c: c, ldc: n, alpha: 1}, 0, m, 0, n)
		return c
	}
	got, want := multiply(t), multiply(&generic32)
	for i := range want {
		if got[i] != want[i] {
			return fmt.Sprintf("element %d of a %d by %d product is %g instead of %g", i, m, n, got[i], want[i])
		}
	}
	return streamSelfTest(t)
}

// streamSelfTest compares the kernels that read W once with the twin, for one row, for several, and for so many that
// coded weights are expanded.
func streamSelfTest(t *table[float32]) string {
	const n, k, rows = 2*panelRows + 3, 44, fewRows + 1
	w, a := make([]float32, n*k), make([]float32, rows*k)
	for i := range w {
		w[i] = float32(i*i%29 - 14) // exact in every order of summation, and in bfloat16
	}
	for i := range a {
		a[i] = float32(i*i%31-15) / 8
	}
	for f := FP32; f <= Int8; f++ {
		h := NewWeightsCoded(w, make([]byte, CodedLen(f, n, k)), f, n, k)
		if h.coded != nil {
			(&encoding{h.coded, w, n, k}).Part(0, 0, 3)
		}
		multiply := func(t *table[float32], m int) []float32 {
			c, s := make([]float32, m*n), new(scratch[float32])
			s.grow()
			(&engine[float32]{table: t}).multiply(s, &product[float32]{m: m, n: n, k: k, a: a, rs: k, ks: 1,
				b: w, ldb: k, transB: true, coded: h.coded, c: c, ldc: n, alpha: 1}, 0, m, 0, n)
			return c
		}
		for _, m := range []int{1, codedRows + 1, rows} {
			got, want := multiply(t, m), multiply(&generic32, m)
			for i, v := range want {
				if d := got[i] - v; !(d <= 0.01 && -d <= 0.01) { // sums of 8 bits are rounded
					return fmt.Sprintf("element %d of %d rows by weights in format %d is %g instead of %g", i, m, f, got[i], v)
				}
			}
		}
	}
	return ""
}

// testedBF16 returns the tier to compute with, given one that passed selfTest, and its bfloat16 kernels if they pass
// their test. If only the tiles fail, the tier is AVX512. The warning says what failed.
func (x *Exec) testedBF16(k *tierTable) (*tierTable, *bfTable) {
	fault := bfSelfTest(&k.bf16)
	if fault == "" {
		return k, &k.bf16
	}
	if k.tier == AMX {
		x.warning = fmt.Sprintf("kernel: tier amx failed its self-test (%s); "+
			"computing with tier avx512, whose bfloat16 multiplies are much slower", fault)
		k, _ = tableOf(AVX512)
		return x.testedBF16(k)
	}
	x.warning = fmt.Sprintf("kernel: bfloat16 multiplies of tier %s failed their self-test (%s); "+
		"this tier offers none", k.tier, fault)
	return k, &genericBF16
}

// bfSelfTest compares the results of bfTestProducts on t and on the generic twin. It returns the first difference, or
// an empty string.
func bfSelfTest(t *bfTable) string {
	got, want := bfTestProducts(t), bfTestProducts(&genericBF16)
	for i := range want {
		for j, v := range want[i] {
			if got[i][j] != v {
				return fmt.Sprintf("element %d of product %d of bfloat16 is %g instead of %g", j, i+1, got[i][j], v)
			}
		}
	}
	return ""
}

// bfTestProducts multiplies small matrices with edges in every direction. Their elements are small integers, whose sums
// are exact in any order.
func bfTestProducts(t *bfTable) (products [4][]float32) {
	const m, n, k, steps = 37, 45, 70, 3
	a, b := make([]uint16, m*k), make([]uint16, k*n)
	w := make([]float32, n*k)
	for i := range a {
		a[i] = roundBF16(float32(i*i%31 - 15))
	}
	for i := range b {
		b[i], w[i] = roundBF16(float32(i*i%29-14)), float32(i*i%27-13)
	}
	for i := range products {
		products[i] = make([]float32, m*n)
	}
	e := new(bfEngine)
	e.init(t, 1)
	s, packed := e.scratch(0), make([]uint16, PackLen(k, n))
	multiply := func(a []uint16, lda int, c []float32) {
		e.multiply(s, &bfProduct{m: m, n: n, k: k, a: a, lda: lda, b: packed, c: Dense(c, m, n)}, 0, m, 0, 2)
	}
	for l := 0; l < k; l += tileSide { // B from its rows
		packRows(t, pairs, packed[l*tileSide:], steps*tileSize, b[l*n:], n, min(tileSide, k-l), n)
	}
	multiply(a, k, products[0])
	for j := 0; j < n; j += tileSide { // B from the rows of its transpose, in float32
		packRows(t, natural, packed[j*steps*tileSide:], tileSize, w[j*k:], k, min(tileSide, n-j), k)
	}
	multiply(a, k, products[1])
	e.transpose(s.trans, a, m, 0, k, 0, m) // a read as (k, m), its transpose as the first operand
	multiply(s.trans, transStride(k), products[2])
	rounded := make([]uint16, m*n)
	t.toBF16(rounded, products[0])
	t.fromBF16(products[3], rounded)
	return products
}

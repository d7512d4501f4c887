package nn

import (
	"math"
	"math/rand/v2"
	"testing"

	"gimbal/internal/kernel"
	"gimbal/internal/rng"
	"gimbal/internal/testseed"
)

// random returns a generator whose seed is printed.
var random = testseed.Rand

func newExec(t testing.TB, tier kernel.Tier) *kernel.Exec {
	t.Helper()
	x, err := kernel.NewExec(2, tier)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

func normal(r *rand.Rand, n int) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = r.NormFloat64()
	}
	return s
}

// padded returns a random matrix whose rows lie apart, and the gaps hold NaN: nothing may read them.
func padded(r *rand.Rand, rows, cols int) kernel.Mat[float64] {
	m := kernel.Mat[float64]{F: normal(r, rows*(cols+3)), Rows: rows, Cols: cols, Stride: cols + 3}
	for i := range rows {
		for c := cols; c < cols+3; c++ {
			m.F[i*m.Stride+c] = math.NaN()
		}
	}
	return m
}

func like(m kernel.Mat[float64]) kernel.Mat[float64] {
	m.F = append([]float64(nil), m.F...)
	return m
}

// weigh is the scalar that gradients are taken of: the sum of the elements of m weighted by w.
func weigh(m, w kernel.Mat[float64]) (s float64) {
	for i := range m.Rows {
		s += dot(row(m, i), row(w, i))
	}
	return s
}

func dot(a, b []float64) (s float64) {
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

// agree wants grad to be the derivative of f at values, at 40 elements of random choice or all if there are fewer.
// NaN values are gaps.
func agree(t *testing.T, r *rand.Rand, name string, grad, values []float64, f func() float64) {
	t.Helper()
	const h = 1e-3
	checked := 0
	for _, i := range r.Perm(len(values))[:min(len(values), 60)] {
		x := values[i]
		if math.IsNaN(x) {
			continue
		}
		at := func(d float64) float64 {
			values[i] = x + d
			return f()
		}
		want := (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h)
		values[i] = x
		if !(math.Abs(grad[i]-want) <= 1e-6*math.Abs(want)+1e-8) {
			t.Errorf("%s[%d]: gradient %.12g, finite difference %.12g", name, i, grad[i], want)
		}
		checked++
	}
	if checked < min(len(values), 20)/2 {
		t.Errorf("%s: only %d elements checked", name, checked)
	}
}

func row[T kernel.Float](m kernel.Mat[T], i int) []T { return m.RowF(i) }

func sumsFor(x *kernel.Exec, rows, width int) *BlockSums[float64] {
	return NewBlockSums(x, rows, width, make([]float64, BlockSumsLen(x.Workers(), rows, width)))
}

func stageFor(x *kernel.Exec, width int) *Stage[float64] {
	return NewStage(x, width, make([]float64, StageLen(x.Workers(), width)))
}

func TestNorms(t *testing.T) {
	const n, c = 150, 12 // three blocks of positions
	x, r := newExec(t, kernel.TierAuto), random(t)
	sums := sumsFor(x, n, 2*c)
	src, gain, bias := normal(r, n*c), normal(r, c), normal(r, c)
	dst, dy := padded(r, n, c), padded(r, n, c)
	mean, rstd := make([]float64, n), make([]float64, n)

	rms := NewNorm(x, stageFor(x, c), sums, c, 1e-5)
	forward := func() float64 {
		rms.Forward(dst, nil, rstd, src, gain, nil, n)
		return weigh(dst, dy)
	}
	forward()
	i := r.IntN(n)
	square := dot(src[i*c:(i+1)*c], src[i*c:(i+1)*c])/c + 1e-5
	if got, want := row(dst, i)[3], src[i*c+3]*gain[3]/math.Sqrt(square); math.Abs(got-want) > 1e-14 {
		t.Errorf("rms norm is %v, want %v", got, want)
	}
	// Gradients are added to what is there.
	dx, dgain := make([]float64, n*c), make([]float64, c)
	dx[0], dgain[0] = 1, 2
	rms.Backward(dx, dgain, nil, nil, rstd, dy, src, gain, n)
	dx[0]--
	dgain[0] -= 2
	agree(t, r, "rms dx", dx, src, forward)
	agree(t, r, "rms dgain", dgain, gain, forward)

	layer := NewNorm(x, stageFor(x, c), sums, c, 1e-5)
	forward = func() float64 {
		layer.Forward(dst, mean, rstd, src, gain, bias, n)
		return weigh(dst, dy)
	}
	forward()
	dx, dgain, dbias := make([]float64, n*c), make([]float64, c), make([]float64, c)
	dx[0], dgain[0], dbias[0] = 1, 2, 3
	layer.Backward(dx, dgain, dbias, mean, rstd, dy, src, gain, n)
	dx[0]--
	dgain[0] -= 2
	dbias[0] -= 3
	agree(t, r, "layer dx", dx, src, forward)
	agree(t, r, "layer dgain", dgain, gain, forward)
	agree(t, r, "layer dbias", dbias, bias, forward)
	for i := range n {
		if m := dot(row(dst, i), bias); math.IsNaN(m) {
			t.Fatal("a gap was read")
		}
	}
}

func TestActivations(t *testing.T) {
	const n, f = 70, 21
	x, r := newExec(t, kernel.TierAuto), random(t)
	stage, sums := stageFor(x, ActivationStage(SwiGLU, f)), sumsFor(x, n, 2*f)
	tanh := func(a float64) float64 { return a / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(a+0.044715*a*a*a))) }
	for _, c := range []struct {
		name  string
		width int
		value func(a, b float64) float64
	}{
		{SwiGLU, 2 * f, func(a, b float64) float64 { return a / (1 + math.Exp(-a)) * b }},
		{GEGLU, 2 * f, func(a, b float64) float64 { return tanh(a) * b }},
		{GELU, f, func(a, _ float64) float64 { return tanh(a) }},
		{ReLU, f, func(a, _ float64) float64 { return max(a, 0) }},
		{GELUExact, f, func(a, _ float64) float64 { return a / 2 * (1 + math.Erf(a/math.Sqrt2)) }},
	} {
		l := NewActivation(x, stage, sums, c.name)
		src, dst, dy := padded(r, n, c.width), padded(r, n, f), padded(r, n, f)
		for _, bias := range [][]float64{nil, normal(r, c.width)} {
			for i := range n * c.width { // where ReLU has a slope
				x, b := &row(src, i/c.width)[i%c.width], 0.0
				if bias != nil {
					b = bias[i%c.width]
				}
				if math.Abs(*x+b) < 0.01 {
					*x += 0.03
				}
			}
			forward := func() float64 {
				l.Forward(dst, src, bias, n)
				return weigh(dst, dy)
			}
			forward()
			s := append([]float64(nil), row(src, 4)...)
			for k, b := range bias {
				s[k] += b
			}
			for k, v := range row(dst, 4) {
				if want := c.value(s[k], s[c.width-f+k]); math.Abs(v-want) > 1e-14 {
					t.Errorf("%s is %v, want %v", c.name, v, want)
				}
			}
			dx := padded(r, n, c.width)
			var dbias []float64
			if bias != nil {
				dbias = make([]float64, c.width)
				dbias[0] = 3 // added to
			}
			from := dy
			if c.width == f { // in place
				from = dx
				for i := range n {
					copy(row(dx, i), row(dy, i))
				}
			}
			l.Backward(dx, dbias, from, src, bias, n)
			agree(t, r, c.name, dx.F, src.F, forward)
			if bias != nil {
				dbias[0] -= 3
				agree(t, r, c.name+" dbias", dbias, bias, forward)
			}
		}
	}
}

func masksFor(r *rand.Rand, bounds ...int) Masks {
	var m Masks
	for s := 1; s < len(bounds); s++ {
		m.Keys = append(m.Keys, rng.New(r.Uint64(), rng.Dropout))
		for p := range bounds[s] - bounds[s-1] {
			m.Span, m.Pos = append(m.Span, int32(s-1)), append(m.Pos, int32(p))
		}
	}
	return m
}

func TestResidualBiasAndDropout(t *testing.T) {
	const n, c = 70, 13
	x, r := newExec(t, kernel.TierAuto), random(t)
	src, branch, bias, w := normal(r, n*c), padded(r, n, c), normal(r, c), padded(r, n, c)
	for _, masks := range []Masks{{}, masksFor(r, 0, 3, 3, n)} {
		l := NewResidual(x, stageFor(x, c), sumsFor(x, n, c), c, 0.3, NewDropout[float64](0.25))
		dst := kernel.Dense(make([]float64, n*c), n, c)
		forward := func() float64 {
			l.Forward(dst.F, src, like(branch), bias, masks, n)
			return weigh(dst, w)
		}
		forward()
		dy := make([]float64, n*c)
		for i := range n {
			copy(dy[i*c:], row(w, i))
		}
		agree(t, r, "residual dx", dy, src, forward)
		dbias := make([]float64, c)
		d := l.Backward(padded(r, n, c), dbias, dy, masks, n)
		dbranch := like(branch)
		for i := range n {
			copy(row(dbranch, i), row(d, i))
		}
		agree(t, r, "residual dbranch", dbranch.F, branch.F, forward)
		agree(t, r, "dbias", dbias, bias, forward)
	}

	// The share that is dropped, its scale, and that masks of positions and sequences differ.
	const wide = 4096
	ones := make([]float64, wide)
	drop, masks := NewDropout[float64](0.25), masksFor(r, 0, 2, 4)
	var seen [4][]float64
	for i := range seen {
		for k := range ones {
			ones[k] = 1
		}
		drop.apply(ones, masks, i)
		zeros := 0
		for k, v := range ones {
			if v == 0 {
				zeros++
			} else if v != 4.0/3 {
				t.Fatalf("kept channel %d is scaled by %v", k, v)
			}
		}
		if share := float64(zeros) / wide; math.Abs(share-0.25) > 5*math.Sqrt(0.25*0.75/wide) {
			t.Errorf("share dropped is %v", share)
		}
		seen[i] = append([]float64(nil), ones...)
		for j := range i {
			if same := dot(seen[i], seen[j]); math.Abs(same/wide-1) > 0.1 {
				t.Errorf("masks of positions %d and %d are correlated: %v", i, j, same/wide)
			}
		}
	}
}

func TestEmbedding(t *testing.T) {
	const vocab, context, c = 7, 30, 18
	x, r := newExec(t, kernel.TierAuto), random(t)
	masks := masksFor(r, 0, 25, 27, 40)
	n := len(masks.Pos)
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = int32(r.IntN(vocab - 1)) // the last token does not occur
	}
	table, positions, w := normal(r, vocab*c), normal(r, context*c), normal(r, n*c)
	l := NewEmbedding(x, c, 2.5, NewDropout[float64](0.2))
	dst := make([]float64, n*c)
	forward := func() float64 {
		l.Forward(dst, tokens, masks.Pos, table, positions, masks)
		return dot(dst, w)
	}
	dtable, dpositions := make([]float64, vocab*c), make([]float64, context*c)
	l.Backward(dtable, dpositions, append([]float64(nil), w...), tokens, masks.Pos, masks)
	agree(t, r, "dtable", dtable, table, forward)
	agree(t, r, "dpositions", dpositions, positions, forward)
	for _, v := range dtable[(vocab-1)*c:] {
		if v != 0 {
			t.Fatal("a token that does not occur has a gradient")
		}
	}
}

func TestHead(t *testing.T) {
	for _, limit := range []float64{0, 1.5} {
		for _, divisor := range []float64{1, 2.5} {
			checkHead(t, divisor, limit)
		}
	}
}

// checkHead checks a head with a bias, a divisor and a cap of its logits.
func checkHead(t *testing.T, divisor, limit float64) {
	const n, c, vocab, chunk = 23, 5, 11, 4
	x, r := newExec(t, kernel.TierAuto), random(t)
	src, w := padded(r, n, c), normal(r, vocab*c)
	labels, counts := make([]int32, n), make([]bool, n)
	for i := range labels {
		labels[i], counts[i] = int32(r.IntN(vocab)), i%3 != 1
		if !counts[i] {
			labels[i] = -1 // may be anything
		}
	}
	weights := kernel.NewWeights(w, vocab, c)
	nats, logZ := make([]float64, n), make([]float64, n)
	const scale, zLoss = 0.3, 0.01
	rows := padded(r, chunk, vocab)
	bias, dbias := normal(r, vocab), make([]float64, vocab)
	made := NewLogits(x, bias, divisor, limit)
	l := NewHead(x, stageFor(x, HeadStage), rows, rows, zLoss, made, dbias)
	var factors []float64 // nil: ones
	forward := func() (sum float64) {
		weights.Refresh(x)
		l.Loss(nats, logZ, src, weights, labels, counts, nil)
		for i := range nats {
			loss := nats[i] + zLoss*logZ[i]*logZ[i]
			if factors != nil {
				loss *= factors[i]
			}
			sum += loss
		}
		return scale * sum
	}
	forward()
	logits := make([]float64, n*vocab)
	weights.Forward(x, kernel.Dense(logits, n, vocab), src, n)
	made.Forward(kernel.Dense(logits, n, vocab), n)
	for i := range n {
		sum := 0.0
		for _, z := range logits[i*vocab : (i+1)*vocab] {
			sum += math.Exp(z)
		}
		want := 0.0
		if counts[i] {
			want = math.Log(sum) - logits[i*vocab+int(labels[i])]
		}
		if math.Abs(nats[i]-want) > 1e-13 {
			t.Errorf("position %d has %v nats, want %v", i, nats[i], want)
		}
	}
	for _, factors = range [][]float64{nil, normal(r, n)} {
		dsrc, dw := padded(r, n, c), make([]float64, vocab*c)
		clear(dbias)
		dw[0] = 5
		l.Backward(nats, logZ, dsrc, dw, src, weights, labels, counts, factors, scale)
		dw[0] -= 5
		agree(t, r, "head dsrc", dsrc.F, src.F, forward)
		agree(t, r, "head dw", dw, w, forward)
		agree(t, r, "head dbias", dbias, bias, forward)
	}
}

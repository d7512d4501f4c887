package judge

import (
	"iter"
	"math"
	"slices"
)

var nan = math.NaN()

// Encoder turns a text into a vector of fixed length that says what it is about. It must be frozen, so that the same
// text has the same vector at every evaluation of a run.
type Encoder interface {
	Dims() int
	// Encode overwrites dst (Dims) with the vector of text.
	Encode(dst []float64, text []byte)
}

const (
	sifDims   = 1024
	sifWeight = 1e-3    // a of a/(a+p)
	sifTable  = 1 << 18 // counters of words
)

// hashSIF is the encoder that needs only the training text: the hash of a word gives a sign and one of 1,024
// dimensions, and rare words count more.
//
// Formula: v = (1/|t|) Σ_{w in t} a/(a+p(w)) · s(w) e(w), with p from the training text.
// Source: SIF weights of Arora et al. 2017 on the feature hashing of Weinberger et al. 2009.
type hashSIF struct {
	chars  bool // features are 3- to 5-grams of characters, for corpora of characters or bytes
	counts []uint32
	total  float64
}

// newHashSIF counts the words of texts.
func newHashSIF(chars bool, texts iter.Seq[[]byte]) *hashSIF {
	e := &hashSIF{chars: chars, counts: make([]uint32, sifTable)}
	for t := range texts {
		e.features(t, func(f []byte) {
			e.counts[hash(f)>>11%sifTable]++
			e.total++
		})
	}
	return e
}

func (e *hashSIF) features(text []byte, yield func([]byte)) {
	if e.chars {
		charGrams(text, yield)
	} else {
		words(text, yield)
	}
}

func (e *hashSIF) Dims() int { return sifDims }

func (e *hashSIF) Encode(dst []float64, text []byte) {
	clear(dst)
	n := 0.0
	e.features(text, func(f []byte) {
		h := hash(f)
		w := 1.0
		if e.total > 0 {
			w = sifWeight / (sifWeight + float64(e.counts[h>>11%sifTable])/e.total)
		}
		if h&(1<<10) != 0 {
			w = -w
		}
		dst[h%sifDims] += w
		n++
	})
	if n > 0 {
		for i := range dst {
			dst[i] /= n
		}
	}
}

// space is an encoder without what all texts of the corpus have in common: their mean, and the direction in which they
// differ most.
//
// Source: all-but-the-top, Mu and Viswanath 2018, with one component.
type space struct {
	Encoder
	mean, top []float64
}

const powerSteps = 300 // of the power iteration

// newSpace learns the common part from texts, which should be as long as those to be compared.
func newSpace(e Encoder, texts [][]byte) *space {
	s := &space{Encoder: e, mean: make([]float64, e.Dims()), top: make([]float64, e.Dims())}
	if len(texts) < 2 {
		return s
	}
	rows := make([][]float64, len(texts))
	for i, t := range texts {
		rows[i] = make([]float64, e.Dims())
		e.Encode(rows[i], t)
		for k, v := range rows[i] {
			s.mean[k] += v / float64(len(texts))
		}
	}
	for _, row := range rows {
		for k := range row {
			row[k] -= s.mean[k]
		}
	}
	u := slices.Clone(rows[0]) // any start that is not orthogonal will do
	for range powerSteps {
		next := make([]float64, len(u))
		for _, row := range rows {
			d := dot(row, u)
			for k, v := range row {
				next[k] += d * v
			}
		}
		if !unit(next) {
			return s // all texts are the same
		}
		u = next
	}
	s.top = u
	return s
}

// vector returns the unit vector of a text in the space; all zero if nothing is left of it.
func (s *space) vector(text []byte) []float64 {
	v := make([]float64, s.Dims())
	s.Encode(v, text)
	for k := range v {
		v[k] -= s.mean[k]
	}
	d := dot(v, s.top)
	for k := range v {
		v[k] -= d * s.top[k]
	}
	unit(v)
	return v
}

func dot(a, b []float64) (sum float64) {
	for i, x := range a {
		sum += x * b[i]
	}
	return sum
}

// unit scales v to length 1. A v without length becomes zeros, and the result is false.
func unit(v []float64) bool {
	n := math.Sqrt(dot(v, v))
	if !(n > 1e-12) {
		clear(v)
		return false
	}
	for i := range v {
		v[i] /= n
	}
	return true
}

package param

import (
	"math"
	"slices"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/rng"
)

// TakeLengths sets the magnitudes of an adapter with DoRA, whose parameters are p, to the lengths of the rows of base,
// as they are kept.
func (ad Adapter) TakeLengths(p, base *Params[float32], a config.Arch) {
	if !ad.DoRA {
		return
	}
	for i, m := range AdaptedViews(a, ad) {
		rows := base.Flat[m.Lo:m.Hi]
		if ad.Base == FormatBF16 {
			rows = slices.Clone(rows)
			for k, w := range rows {
				rows[k] = RoundBF16(w)
			}
		}
		v := p.Views[3*i+2]
		RowLengths(p.Flat[v.Lo:v.Hi], rows)
	}
}

// RowLengths overwrites dst by the Euclidean lengths of the rows of w, which has as many as dst has elements.
func RowLengths[To, From kernel.Float](dst []To, w []From) {
	for o := range dst {
		n := len(w) / len(dst)
		dst[o] = To(length(w[o*n : (o+1)*n]))
	}
}

// length is the Euclidean length of a row.
func length[T kernel.Float](row []T) float64 {
	sum := 0.0
	for _, v := range row {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}

// InitAdapter sets A to numbers that are uniform within ±1/√in, and B to zero, so that the model is as it was.
//
// Source: PEFT, after torch.nn.init.kaiming_uniform_ with a = √5.
func InitAdapter[T kernel.Float](p *Params[T], ad Adapter, seed uint64) {
	base := rng.New(seed, rng.Init)
	for i, v := range p.Views {
		dst := p.Flat[v.Lo:v.Hi]
		if clear(dst); i%ad.Parts() == 0 {
			key, most := base.Sub(uint64(2*(i/ad.Parts()))).Sub(1), 1/math.Sqrt(float64(v.Shape[1]))
			for j := range dst {
				dst[j] = T((2*key.Float64(uint64(j)) - 1) * most)
			}
		}
	}
}

package model

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/param"
)

// formatDecoder returns a decoder of weights far from their initial ones, in a format.
func formatDecoder(t *testing.T, a config.Arch, x *kernel.Exec, format string) *Decoder[float32] {
	t.Helper()
	d, err := NewDecoder[float32](a, x, DecoderOptions{Tokens: 40, Rows: 6, Weights: format})
	if err != nil {
		t.Fatal(err)
	}
	d.Params().Init(x.Pool(), a.Layers, 3)
	for _, v := range d.params.Views {
		for i := v.Lo; i < v.Hi && v.Kind != param.KindNorm; i++ {
			d.params.Flat[i] *= 3
		}
	}
	d.Refresh()
	return d
}

// matricesOf lists the handles of a network and what they multiply by.
func matricesOf(net *network[float32]) (handles []*kernel.Weights[float32], views [][]float32) {
	for l := range net.blocks {
		b := &net.blocks[l]
		handles = append(handles, b.qkv, b.o, b.gateUp, b.down)
		views = append(views, b.tensors[param.SlotQKV], b.tensors[param.SlotO], b.tensors[param.SlotGateUp],
			b.tensors[param.SlotDown])
	}
	return append(handles, net.headWeights), append(views, net.outside[param.SlotHead])
}

// takeValues makes the values that from multiplies by the weights of to, which has the architecture of from.
func takeValues(to, from *Decoder[float32]) {
	handles, views := matricesOf(&from.network)
	_, own := matricesOf(&to.network)
	a := from.arch
	ins := []int{a.Width, queryWidth(a), a.Width, a.MLP}
	for i, h := range handles {
		in := ins[i%4]
		out := len(views[i]) / in
		identity, columns := make([]float32, in*in), make([]float32, in*out)
		for j := range in {
			identity[j*in+j] = 1
		}
		h.Forward(from.x, kernel.Dense(columns, in, out), kernel.Dense(identity, in, in), in)
		for o := range out {
			for j := range in {
				own[i][o*in+j] = columns[j*out+o]
			}
		}
	}
	to.Refresh()
}

// write reads prompts of several rows, then decodes greedily; it returns all logits on the way.
func write(d *Decoder[float32], rows, steps int) (logits []float32, tokens []int32) {
	cache := NewCache[float32](d.arch, rows, 60)
	var read, owner []int32
	for r := range int32(rows) {
		for i := range 3 + 9*r {
			read, owner = append(read, (17*r+5*i)%int32(d.arch.Vocab)), append(owner, r)
		}
	}
	step := make([]float32, rows*d.arch.Vocab)
	next, each := make([]int32, rows), make([]int32, rows)
	for range steps {
		d.Decode(cache, read, owner, step)
		for r := range rows {
			at := step[r*d.arch.Vocab:][:d.arch.Vocab]
			next[r], each[r] = int32(slices.Index(at, slices.Max(at))), int32(r)
		}
		logits, tokens = append(logits, step...), append(tokens, next...)
		read, owner = next, each
	}
	return logits, tokens
}

// A decoder in a format computes, bit for bit, what a decoder in float32 does with the values of its weights: for all
// shapes, tiers, numbers of rows and workers.
func TestFormatIsItsValues(t *testing.T) {
	for _, tier := range kernel.Tiers() {
		x := newExec(t, 2, tier)
		for shape := range shapes() {
			for _, format := range []string{param.FormatBF16, param.FormatInt8} {
				a := testArch(shape)
				coded, plain := formatDecoder(t, a, x, format), formatDecoder(t, a, x, param.FormatFP32)
				before, _ := write(plain, 1, 5)
				takeValues(plain, coded)
				for _, rows := range []int{1, 2, 5} {
					got, _ := write(coded, rows, 5)
					want, _ := write(plain, rows, 5)
					if !slices.Equal(got, want) {
						t.Errorf("%s, %s in %s: %d rows differ from those of its values", tier, a.Shape, format, rows)
					}
					if rows == 1 && slices.Equal(got, before) {
						t.Errorf("%s, %s in %s: the format changes nothing", tier, a.Shape, format)
					}
					alone, _ := write(formatDecoder(t, a, newExec(t, 1, tier), format), rows, 5)
					if !slices.Equal(got, alone) {
						t.Errorf("%s, %s in %s: workers change %d rows", tier, a.Shape, format, rows)
					}
				}
			}
		}
	}
}

// Weights that bfloat16 can hold, as those of many models from elsewhere, give the same text in it.
func TestBF16WeightsOfBF16Model(t *testing.T) {
	x := newExec(t, 2, kernel.TierAuto)
	for shape := range shapes() {
		a := testArch(shape)
		plain := formatDecoder(t, a, x, param.FormatFP32)
		coded := formatDecoder(t, a, x, param.FormatBF16)
		for _, d := range []*Decoder[float32]{plain, coded} {
			for i, v := range d.params.Flat {
				d.params.Flat[i] = math.Float32frombits(math.Float32bits(v) &^ 0xffff)
			}
			d.Refresh()
		}
		got, text := write(coded, 3, 8)
		want, same := write(plain, 3, 8)
		if !slices.Equal(got, want) || !slices.Equal(text, same) {
			t.Errorf("%s: %v in bf16, %v in fp32", a.Shape, text, same)
		}
	}
}

// The logits of a format are as near those of float32 as rounding can leave them. Rounding changes a matrix by a
// share ε (Frobenius), and so its product with a vector that does not know the roundings by about ε. The 4·L+1
// multiplies on the way to a logit add such independent shares, of which norms and residuals pass on at most about
// the whole: ε·√(4L+1) in all.
func TestFormatError(t *testing.T) {
	x := newExec(t, 2, kernel.TierAuto)
	for shape := range shapes() {
		a := testArch(shape)
		a.Width, a.MLP, a.HeadSize, a.Layers = 64, 160, 16, 4
		for format, most := range map[string]float64{param.FormatBF16: 1.0 / 256, param.FormatInt8: 1.0 / 127} {
			coded, plain := formatDecoder(t, a, x, format), formatDecoder(t, a, x, param.FormatFP32)
			want, _ := write(plain, 3, 1)
			got, _ := write(coded, 3, 1)
			_, views := matricesOf(&plain.network)
			var original [][]float32
			for _, v := range views {
				original = append(original, slices.Clone(v))
			}
			takeValues(plain, coded)
			eps := 0.0
			for i, v := range views {
				eps = max(eps, distance(v, original[i]))
			}
			bound := eps * math.Sqrt(float64(4*a.Layers+1))
			if a.Norms != "" { // a norm after a half passes on more: it makes what is added as large as what is there
				bound *= 2
			}
			if e := distance(got, want); !(eps < most && eps > most/16 && e < bound && e > eps/4) {
				t.Errorf("%s in %s: logits differ by %.5f, at most %.5f were expected of weights by %.5f", a.Shape, format,
					e, bound, eps)
			}
		}
	}
}

// distance is |a−b| ÷ |b|.
func distance[T kernel.Float](a, b []T) float64 {
	var d, n float64
	for i, v := range b {
		d, n = d+math.Pow(float64(a[i])-float64(v), 2), n+math.Pow(float64(v), 2)
	}
	return math.Sqrt(d / n)
}

func TestFormatsNeedLittleMemory(t *testing.T) {
	x := newExec(t, 2, kernel.TierAuto)
	for format, bytes := range map[string]float64{param.FormatFP32: 4, param.FormatBF16: 6, param.FormatInt8: 5.0625} {
		a := testArch(1)
		a.Width, a.MLP, a.Layers = 128, 512, 6
		d, err := NewDecoder[float32](a, x, DecoderOptions{Tokens: 64, Rows: 4, Weights: format})
		if err != nil {
			t.Fatal(err)
		}
		_, total := param.Layout(a)
		if got := float64(d.footprint.Total) / float64(total); got > bytes*1.3 || got < bytes {
			t.Errorf("a decoder in %s takes %.2f bytes for a parameter", format, got)
		}
		cache, logits := NewCache[float32](a, 2, 50), make([]float32, 2*a.Vocab)
		d.Refresh()
		for _, n := range []int{1, 2} {
			tokens, rows := []int32{1, 2}[:n], []int32{0, 1}[:n]
			if n := testing.AllocsPerRun(3, func() { d.Decode(cache, tokens, rows, logits) }); n != 0 {
				t.Errorf("%s: %v allocations per call", format, n)
			}
		}
	}
}

func TestFormatsRefused(t *testing.T) {
	x := newExec(t, 1, kernel.TierAuto)
	for _, format := range []string{"int4", "fp16", "auto"} {
		_, err := NewDecoder[float32](testArch(0), x, DecoderOptions{Tokens: 1, Rows: 1, Weights: format})
		if want := fmt.Sprintf("model: weights %q: want fp32, bf16, int8", format); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := NewDecoder[float64](testArch(0), x, DecoderOptions{Tokens: 1, Rows: 1, Weights: "int8"}); err == nil {
		t.Error("8 bits for float64")
	}
}

package device

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gimbal/internal/engine"
	"gimbal/internal/graph"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/param"
	"gimbal/internal/rng"
)

// SelfTest implements engine.Opener. Every device makes the multiplies.
func (o *opener) SelfTest(s engine.Spec) (difference string) {
	e, ctx := o.engine(s, graph.Plain), context.Background()
	for device := range o.options.Devices {
		var err error
		difference = engine.CompareMultiplies(func(w, x, dy []float32, n, out, in int) (y, dx, dw []float32) {
			y, dx, dw = make([]float32, n*out), make([]float32, n*in), make([]float32, out*in)
			var results, a, b, c []Array
			defer e.free(&a, &b, &c)
			a, err = e.numbers(ctx, w, out, in)
			if err == nil {
				b, err = e.numbers(ctx, x, n, in)
			}
			if err == nil {
				c, err = e.numbers(ctx, dy, n, out)
			}
			if err == nil {
				results, err = e.runOf(ctx, "multiplies", func() graph.Program {
					return graph.Multiplies(s.Mode, n, out, in, o.options.Devices)
				}, a, b, c)
			}
			if err == nil {
				err = e.take(ctx, device, results, bytesOf(y), bytesOf(dx), bytesOf(dw))
			}
			return y, dx, dw
		}, s, o.numerics(s.Mode))
		if err != nil {
			return err.Error()
		}
		if difference != "" {
			return difference
		}
	}
	return ""
}

// shortRows is the length up to which plain attention needs little memory and is as fast as attention in blocks.
const shortRows = 512

// attentionOf returns the attention for a spec: the first that agrees with plain attention on these devices.
func (o *opener) attentionOf(ctx context.Context, s engine.Spec) (attention string, err error) {
	defer func() { o.attention = attention }()
	_, length := o.rowsOf(s)
	var kinds []string
	switch {
	case o.options.Attention != "":
		kinds = []string{o.options.Attention}
	case o.session.Plugin().Platform == "cuda" && s.Mode == model.ModeBF16 && s.Arch.HeadSize%8 == 0 &&
		s.Arch.HeadSize <= 128 && s.Arch.ScoreCap == 0 &&
		(s.Arch.Window == 0 || s.Arch.Window >= s.Arch.Context): // what the library takes
		kinds = []string{graph.CuDNN, graph.Blocks}
	case length > shortRows:
		kinds = []string{graph.Blocks}
	}
	for _, kind := range kinds {
		if kind == graph.Plain {
			break
		}
		if o.options.Untested {
			return kind, nil
		}
		key := fmt.Sprint(kind, s.Mode, length, s.Arch.Heads, s.Arch.KVHeads, s.Arch.HeadSize)
		wrong, known := o.tested[key]
		if !known {
			wrong = o.compareAttention(ctx, kind, s)
			if errors.Is(wrong, ErrLost) || ctx.Err() != nil {
				return "", wrong
			}
			o.tested[key] = wrong
			if wrong != nil {
				o.options.Note("attention %s is not used: %v", kind, wrong)
			} else {
				o.options.Note("attention: %s, which agrees with plain attention here", kind)
			}
		}
		if wrong == nil {
			return kind, nil
		}
	}
	return graph.Plain, nil
}

// agree is how far gradients of matrices may be from those of plain attention, relative to their norm. Where a
// sequence sees its neighbour they are far from it; that of a bias of keys is nothing but rounding.
var agree = map[string]float64{model.ModeFP32: 1e-4, model.ModeBF16: 5e-2}

// compareAttention computes the gradients of one block of a spec with a kind of attention and with plain attention, on
// rows of several sequences.
func (o *opener) compareAttention(ctx context.Context, kind string, s engine.Spec) error {
	_, length := o.rowsOf(s)
	s.Arch.Layers, s.Arch.Vocab, s.Arch.Dropout = 1, min(s.Arch.Vocab, 256), 0
	s.Adapter = param.Adapter{}
	s.MicroTokens, s.Forward = length*o.options.Devices, false
	s.Optim = optim.Options{Beta1: 0.9, Beta2: 0.9, Eps: 1e-8}
	want, err := o.gradients(ctx, graph.Plain, s)
	if err != nil {
		return err
	}
	got, err := o.gradients(ctx, kind, s)
	if err != nil {
		return err
	}
	views, _ := param.Layout(s.Arch)
	for _, v := range views {
		var apart, norm float64
		for k := v.Lo; k < v.Hi; k++ {
			d, w := float64(got[k])-float64(want[k]), float64(want[k])
			apart, norm = apart+d*d, norm+w*w
		}
		if share := math.Sqrt(apart / norm); len(v.Shape) == 2 && !(share <= agree[s.Mode]) {
			return fmt.Errorf("the gradient of %s is %.2g away from that of plain attention", v.Name, share)
		}
	}
	return nil
}

// gradients are those of random weights, larger than fresh ones so that attention has an opinion.
func (o *opener) gradients(ctx context.Context, attention string, s engine.Spec) (flat []float32, err error) {
	e, err := o.open(s, attention)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if err := e.Init(1); err != nil {
		return nil, err
	}
	for i, v := range e.host.params.Views {
		for k := v.Lo; k < v.Hi && len(v.Shape) == 2 && i > 0; k++ {
			e.host.params.Flat[k] *= 8
		}
	}
	if err := e.uploadParams(ctx); err != nil {
		return nil, err
	}
	length, key := e.pass.Length, rng.New(1, rng.Probe)
	in := engine.Input{Bounds: []int32{0}}
	for i := range 3 * o.options.Devices { // and a rest of each row that is empty
		for range []int{length / 2, length / 3, max(1, length/8)}[i%3] {
			a, b := key.Block(uint64(len(in.Tokens)))
			in.Tokens = append(in.Tokens, int32(a%uint64(s.Arch.Vocab)))
			in.Labels = append(in.Labels, int32(b%uint64(s.Arch.Vocab)))
			in.Counts = append(in.Counts, true)
		}
		in.Bounds = append(in.Bounds, int32(len(in.Tokens)))
	}
	in.Scale = 1 / float64(len(in.Tokens))
	if _, err := e.Pass(ctx, in, engine.Gradient); err != nil {
		return nil, err
	}
	return e.gradients(ctx)
}

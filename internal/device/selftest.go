package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"gimbal/internal/engine"
	"gimbal/internal/graph"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/rng"
)

// SelfTest implements engine.Opener.
func (o *opener) SelfTest(s engine.Spec) (difference string) {
	var failed error
	multiply := func(w, x, dy []float32, n, out, in int) (y, dx, dw []float32) {
		y, dx, dw = make([]float32, n*out), make([]float32, n*in), make([]float32, out*in)
		failed = o.multiply(s.Mode, [3]int{n, out, in}, [][]float32{w, x, dy}, [][]float32{y, dx, dw})
		return y, dx, dw
	}
	difference = engine.CompareMultiplies(multiply, s, o.numerics(s.Mode))
	if failed != nil {
		return failed.Error()
	}
	return difference
}

// multiply runs the three multiplies of training on every device and copies their results, which must be the same.
func (o *opener) multiply(mode string, size [3]int, in, out [][]float32) (err error) {
	ctx, devices := context.Background(), o.options.Devices
	x, err := o.session.Compile(ctx, graph.Multiplies(mode, size[0], size[1], size[2], devices))
	if err != nil {
		return fmt.Errorf("device: compile a multiply: %w", err)
	}
	var arrays []Array
	defer func() { err = errors.Join(err, o.session.Free(arrays...)) }()
	for i, values := range in {
		a, err := o.session.Upload(ctx, x.In[i], devices, bytesOf(values))
		if err != nil {
			return fmt.Errorf("device: upload: %w", err)
		}
		arrays = append(arrays, a)
	}
	results, err := o.session.Run(ctx, x, arrays)
	if err != nil {
		return fmt.Errorf("device: run a multiply: %w", err)
	}
	arrays = append(arrays, results...)
	for i, dst := range out {
		for d := range devices {
			got := make([]float32, len(dst))
			if err := o.session.Fetch(ctx, results[i], d, bytesOf(got)); err != nil {
				return fmt.Errorf("device: fetch: %w", err)
			}
			if d > 0 && !slices.Equal(got, dst) {
				return fmt.Errorf("device %d multiplies otherwise than the first", d)
			}
			copy(dst, got)
		}
	}
	return nil
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
	case o.session.Plugin().Platform == "cuda" && s.Mode == model.ModeBF16:
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

// agree is how far gradients of matrices may be from those of plain attention, relative to their norm. Where a sequence
// sees its neighbour they are far from it; that of a bias of keys is nothing but rounding.
var agree = map[string]float64{model.ModeFP32: 1e-4, model.ModeBF16: 5e-2}

// compareAttention computes the gradients of one block of a spec with a kind of attention and with plain attention, on
// rows of several sequences.
func (o *opener) compareAttention(ctx context.Context, kind string, s engine.Spec) error {
	_, length := o.rowsOf(s)
	s.Arch.Layers, s.Arch.Vocab, s.Arch.Dropout = 1, min(s.Arch.Vocab, 256), 0
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
	for i, t := range engine.Tensors(s.Arch) {
		var apart, norm float64
		for k, w := range want[i] {
			d := float64(got[i][k]) - float64(w)
			apart, norm = apart+d*d, norm+float64(w)*float64(w)
		}
		if share := math.Sqrt(apart / norm); len(t.Shape) == 2 && !(share <= agree[s.Mode]) {
			return fmt.Errorf("the gradient of %s is %.2g away from that of plain attention", t.Name, share)
		}
	}
	return nil
}

// gradients are those of random weights, larger than fresh ones so that attention has an opinion.
func (o *opener) gradients(ctx context.Context, attention string, s engine.Spec) (list [][]float32, err error) {
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
	in := engine.Input{Bounds: []int32{0}, Scale: 1}
	for range o.options.Devices {
		for _, n := range []int{length / 2, length / 3, max(1, length/8)} { // and a rest that is empty
			for range n {
				a, b := key.Block(uint64(len(in.Tokens)))
				in.Tokens = append(in.Tokens, int32(a%uint64(s.Arch.Vocab)))
				in.Labels = append(in.Labels, int32(b%uint64(s.Arch.Vocab)))
				in.Counts = append(in.Counts, true)
			}
			in.Bounds = append(in.Bounds, int32(len(in.Tokens)))
		}
	}
	in.Scale = 1 / float64(len(in.Tokens))
	if _, err := e.Pass(ctx, in, engine.Gradient); err != nil {
		return nil, err
	}
	err = e.eachGradient(ctx, func(_ int, values []float32) bool {
		list = append(list, values)
		return true
	})
	return list, err
}

package device

import (
	"context"
	"errors"

	"gimbal/internal/engine"
	"gimbal/internal/graph"
)

// batch is the rows of a pass, computed in one run or in several.
type batch struct {
	*rows
	runs  []run
	nats  float64 // of all, added in their order
	known bool    // the nats are fetched
}

// run is the results of a run of a program on some rows: as many on each device, one device after the other.
type run struct {
	first, each int
	out         []Array // nats; then for a gradient what is finite, else logZ
}

// Pass implements engine.Engine. Gradient alone does not wait for the devices.
func (e *deviceEngine) Pass(ctx context.Context, in engine.Input, want engine.Want) (v engine.Values, err error) {
	if err := errors.Join(e.broken, ctx.Err()); err != nil {
		return v, err
	}
	switch gradient := want&engine.Gradient != 0; {
	case gradient && (e.opt == nil || want&engine.Probe != 0):
		panic("device: gradient of a pass, or on an engine, that has none")
	case gradient:
		if err = e.accumulate(ctx, in); err == nil && want&engine.Nats != 0 {
			_, err = e.settle(ctx)
			v.Nats = e.passes[len(e.passes)-1].nats
		}
	case want&engine.Probe != 0:
		v, err = e.probe(ctx, in)
	case want&engine.Nats != 0:
		v, err = e.forward(ctx, in, want)
	}
	if err == nil && want&engine.PerToken != 0 && v.TokenNats == nil {
		var perToken engine.Values
		perToken, err = e.forward(ctx, in, want)
		v.TokenNats, v.TokenLogZ = perToken.TokenNats, perToken.TokenLogZ
	}
	if want&engine.PerToken == 0 {
		v.TokenNats, v.TokenLogZ = nil, nil
	}
	if want&engine.Nats == 0 {
		v.Nats = 0
	}
	return v, err
}

func total(nats []float64) (sum float64) {
	for _, n := range nats {
		sum += n
	}
	return sum
}

// accumulate adds the gradient of a pass.
func (e *deviceEngine) accumulate(ctx context.Context, in engine.Input) error {
	e.changed()
	if err := e.needGrads(ctx); err != nil {
		return err
	}
	scale, err := e.numbers(ctx, []float32{float32(in.Scale)})
	if err != nil {
		return err
	}
	defer e.free(&scale)
	b, err := e.compute(ctx, in, "gradient", func(x *Executable, rows []Array) ([]Array, error) {
		n := len(e.grads)
		out, err := e.run(ctx, x, e.frozen, e.params, e.grads, rows, scale)
		if err != nil {
			return nil, err
		}
		e.grads = out[:n:n]
		return out[n:], nil
	})
	e.passes = append(e.passes, b)
	return err
}

// needGrads makes gradients of zero where there are none.
func (e *deviceEngine) needGrads(ctx context.Context) (err error) {
	if e.grads == nil {
		_, shapes := graph.Params(e.spec.Arch, e.spec.Adapter, 1, false)
		e.grads, err = e.zeros(ctx, "grads", shapes)
	}
	return err
}

// A program of few rows does the last rows of a batch, and sequences that are asked about alone.
const (
	fewer = 8 // times fewer rows than the large program has
	often = 4 // runs of it at most in place of one of the large program
)

// compute runs a program of the model on a pass: the large program, or the one of few rows where that is less.
func (e *deviceEngine) compute(ctx context.Context, in engine.Input, kind string,
	do func(*Executable, []Array) ([]Array, error)) (b batch, err error) {
	few := up(e.pass.Rows, fewer)
	b.rows = packRows(in, e.pass.Length, e.pass.Segments)
	for first := 0; first < b.count; {
		p := e.pass
		if up(b.count-first, p.Devices) <= often*few {
			p.Rows = few
		}
		p.Dropout, p.Weighted = in.Dropout != nil, in.Weights != nil
		x, err := e.program(ctx, kind, p)
		if err != nil {
			return b, err
		}
		b.grow(in, first+p.Devices*p.Rows, 0)
		arrays, err := e.uploadRows(ctx, p, b.rows, first)
		if err == nil {
			var out []Array
			out, err = do(x, arrays)
			b.runs = append(b.runs, run{first, p.Rows, out})
		}
		if err = errors.Join(err, e.free(&arrays)); err != nil {
			return b, err
		}
		first += p.Devices * p.Rows
	}
	return b, nil
}

// program returns a compiled program of the model.
func (e *deviceEngine) program(ctx context.Context, kind string, p graph.Pass) (*Executable, error) {
	key := programKey{kind: kind, rows: p.Rows, dropout: p.Dropout, weighted: p.Weighted, faults: e.faults()}
	return e.compiled(ctx, key, func() graph.Program {
		if kind == "gradient" {
			return graph.Gradient(p)
		}
		return graph.Forward(p)
	})
}

// uploadRows makes the arrays of the rows of all devices from row first on, in the order of graph.Gradient.
func (e *deviceEngine) uploadRows(ctx context.Context, p graph.Pass, r *rows, first int) (list []Array, err error) {
	put := func(t graph.Type, data []byte, dims ...int) {
		if a, wrong := e.put(ctx, graph.Shape{Type: t, Dims: append([]int{p.Rows}, dims...)}, data); wrong != nil {
			err = wrong
		} else {
			list = append(list, a)
		}
	}
	lo, hi := first*r.length, (first+p.Devices*p.Rows)*r.length
	put(graph.I32, bytesOf(r.tokens[lo:hi]), r.length)
	put(graph.I32, bytesOf(r.labels[lo:hi]), r.length)
	put(graph.F32, bytesOf(r.counts[lo:hi]), r.length)
	put(graph.I32, bytesOf(r.segments[lo:hi]), r.length)
	put(graph.I32, bytesOf(r.positions[lo:hi]), r.length)
	if p.Weighted {
		put(graph.F32, bytesOf(r.weights[lo:hi]), r.length)
	}
	if p.Dropout {
		put(graph.U32, bytesOf(r.keys[4*lo:4*hi]), r.length, 4)
	}
	if p.Attention == graph.CuDNN {
		var lengths, offsets []int32
		for ; lo < hi; lo += p.Rows * r.length {
			own, places, wrong := p.Packed(r.segments[lo : lo+p.Rows*r.length])
			err = errors.Join(err, wrong)
			lengths, offsets = append(lengths, own...), append(offsets, places...)
		}
		put(graph.I32, bytesOf(lengths), p.Segments)
		put(graph.I32, bytesOf(offsets), p.Segments+1)
	}
	return list, err
}

// fetchPositions returns a result of the runs of a batch by position of its pass.
func (e *deviceEngine) fetchPositions(ctx context.Context, b batch, result int) ([]float64, error) {
	all := make([]float32, len(b.tokens))
	for _, r := range b.runs {
		for d := range e.pass.Devices {
			lo := (r.first + d*r.each) * b.length
			if err := e.fetch(ctx, r.out[result], d, bytesOf(all[lo:lo+r.each*b.length])); err != nil {
				return nil, err
			}
		}
	}
	var list []float64
	for _, p := range b.places {
		list = append(list, widen(all[p.at:p.at+p.hi-p.lo])...)
	}
	return list, nil
}

// settle fetches the nats of all passes and returns their sum.
func (e *deviceEngine) settle(ctx context.Context) (sum float64, err error) {
	for i := range e.passes {
		b := &e.passes[i]
		if !b.known {
			nats, err := e.fetchPositions(ctx, *b, 0)
			if err != nil {
				return 0, err
			}
			b.nats, b.known = total(nats), true
		}
		sum += b.nats
	}
	return sum, nil
}

// forward returns the values of a pass without gradient.
func (e *deviceEngine) forward(ctx context.Context, in engine.Input, want engine.Want) (v engine.Values, err error) {
	in.Dropout, in.Weights = nil, nil
	b, err := e.compute(ctx, in, "forward", func(x *Executable, rows []Array) ([]Array, error) {
		return e.run(ctx, x, e.frozen, e.params, rows)
	})
	if err == nil {
		v.TokenNats, err = e.fetchPositions(ctx, b, 0)
		v.Nats = total(v.TokenNats)
	}
	if err == nil && want&engine.PerToken != 0 {
		v.TokenLogZ, err = e.fetchPositions(ctx, b, 1)
	}
	e.freeRuns(b)
	return v, err
}

func (e *deviceEngine) freeRuns(b batch) {
	for i := range b.runs {
		e.free(&b.runs[i].out)
	}
}

// Discard implements engine.Engine. Gradients of zero are made when they are needed.
func (e *deviceEngine) Discard() {
	for _, b := range e.passes {
		e.freeRuns(b)
	}
	e.passes = e.passes[:0]
	e.changed()
	e.free(&e.grads)
}

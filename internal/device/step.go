package device

import (
	"context"
	"errors"

	"gimbal/internal/engine"
	"gimbal/internal/graph"
)

// batch is the rows of a pass, computed in one run or in several.
type batch struct {
	length int
	places []place
	runs   []run
	nats   float64 // of all, added in their order
	known  bool    // the nats are fetched
}

// run is the results of a run of a program on some rows of each device.
type run struct {
	first, rows int
	out         []Array // nats; then for a gradient what is finite, else logZ
}

// Pass implements engine.Engine. Gradient alone does not wait for the devices.
func (e *deviceEngine) Pass(ctx context.Context, in engine.Input, want engine.Want) (v engine.Values, err error) {
	if err := errors.Join(e.broken, ctx.Err()); err != nil {
		return v, err
	}
	switch {
	case want&engine.Gradient != 0 && (e.opt == nil || want&engine.Probe != 0):
		panic("device: gradient of a pass, or on an engine, that has none")
	case want&engine.Gradient != 0:
		if err := e.accumulate(ctx, in); err != nil || want == engine.Gradient {
			return v, err
		}
		if _, err := e.settle(ctx); err != nil {
			return v, err
		}
		v.Nats = e.passes[len(e.passes)-1].nats
	case want&engine.Probe != 0:
		if v, err = e.probe(ctx, in); err != nil {
			return v, err
		}
	}
	if want&engine.Probe == 0 && (want&engine.PerToken != 0 || want == engine.Nats) {
		nats, logZ, err := e.forward(ctx, in, want&engine.PerToken != 0)
		if err != nil {
			return v, err
		}
		if want&engine.Gradient == 0 {
			v.Nats = total(nats)
		}
		v.TokenNats, v.TokenLogZ = nats, logZ
	}
	if want&engine.PerToken == 0 {
		v.TokenNats, v.TokenLogZ = nil, nil
	}
	if want&engine.Nats == 0 {
		v.Nats = 0
	}
	return v, nil
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
	scale, err := e.upload(ctx, []float32{float32(in.Scale)})
	if err != nil {
		return err
	}
	defer e.free(&scale)
	b, err := e.compute(ctx, in, "gradient", func(x *Executable, rows []Array) ([]Array, error) {
		n := len(e.grads)
		out, err := e.run(ctx, x, e.params, e.grads, rows, scale)
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
		e.grads, err = e.zeros(ctx, "grads", e.shapes())
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
	devices, few := e.opener.options.Devices, up(e.pass.Rows, fewer)
	r := packRows(in, e.pass.Length, e.pass.Segments)
	b = batch{length: r.length, places: r.places}
	need := up(len(r.used), devices)
	for first, size := 0, 0; first < need; first += size {
		if size = e.pass.Rows; need-first <= often*few {
			size = few
		}
		r.grow((first+size)*devices, in)
		x, err := e.program(ctx, kind, size, in.Dropout != nil)
		if err != nil {
			return b, err
		}
		p := e.pass
		p.Rows = size
		arrays, err := e.uploadRows(ctx, p, r, first)
		if err == nil {
			var out []Array
			out, err = do(x, arrays)
			b.runs = append(b.runs, run{first, size, out})
		}
		if err = errors.Join(err, e.free(&arrays)); err != nil {
			return b, err
		}
	}
	return b, nil
}

// program returns a compiled program of the model.
func (e *deviceEngine) program(ctx context.Context, kind string, rows int, dropout bool) (*Executable, error) {
	key := programKey{kind: kind, rows: rows, dropout: dropout, faults: e.faults()}
	return e.compiled(ctx, key, func() graph.Program {
		p := e.pass
		p.Rows, p.Dropout = rows, dropout
		switch kind {
		case "gradient":
			return graph.Gradient(p)
		}
		return graph.Forward(p)
	})
}

// uploadRows makes the arrays of rows of each device from row first on, in the order of graph.Gradient.
func (e *deviceEngine) uploadRows(ctx context.Context, p graph.Pass, r *rows, first int) (list []Array, err error) {
	devices, n := p.Devices, p.Rows
	put := func(t graph.Type, data []byte, dims ...int) {
		var a Array
		if err == nil {
			a, err = e.opener.session.Upload(ctx, graph.Shape{Type: t, Dims: dims}, devices, data)
		}
		if err == nil {
			list = append(list, a)
		}
	}
	numbers := func(all []int32) []int32 { return deal(all, r.length, devices, first, n) }
	segments := numbers(r.segments)
	put(graph.I32, bytesOf(numbers(r.tokens)), n, r.length)
	put(graph.I32, bytesOf(numbers(r.labels)), n, r.length)
	put(graph.F32, bytesOf(deal(r.counts, r.length, devices, first, n)), n, r.length)
	put(graph.I32, bytesOf(segments), n, r.length)
	put(graph.I32, bytesOf(numbers(r.positions)), n, r.length)
	if r.keys != nil {
		put(graph.U32, bytesOf(deal(r.keys, 4*r.length, devices, first, n)), n, r.length, 4)
	}
	if p.Attention == graph.CuDNN {
		var lengths, offsets []int32
		for d := range devices {
			own, places, wrong := p.Packed(segments[d*n*r.length : (d+1)*n*r.length])
			err = errors.Join(err, wrong)
			lengths, offsets = append(lengths, own...), append(offsets, places...)
		}
		put(graph.I32, bytesOf(lengths), n, p.Segments)
		put(graph.I32, bytesOf(offsets), n, p.Segments+1)
	}
	return list, err
}

// fetchRows returns a result of the runs of a batch, by row.
func (e *deviceEngine) fetchRows(ctx context.Context, b batch, result int) ([]float32, error) {
	devices := e.opener.options.Devices
	last := b.runs[len(b.runs)-1]
	all := make([]float32, (last.first+last.rows)*devices*b.length)
	for _, r := range b.runs {
		part := make([]float32, r.rows*b.length)
		for d := range devices {
			if err := e.fetch(ctx, r.out[result], d, bytesOf(part)); err != nil {
				return nil, err
			}
			collect(all, part, b.length, devices, d, r.first)
		}
	}
	return all, nil
}

// settle fetches the nats of all passes and returns their sum.
func (e *deviceEngine) settle(ctx context.Context) (sum float64, err error) {
	for i := range e.passes {
		b := &e.passes[i]
		if !b.known && len(b.runs) > 0 {
			nats, err := e.fetchRows(ctx, *b, 0)
			if err != nil {
				return 0, err
			}
			for _, p := range b.places {
				for _, n := range nats[p.at : p.at+p.hi-p.lo] {
					b.nats += float64(n)
				}
			}
		}
		b.known = true
		sum += b.nats
	}
	return sum, nil
}

// forward returns the nats of every position of a pass, and with logZ the logarithm of its sum of exponentials.
func (e *deviceEngine) forward(ctx context.Context, in engine.Input, logZ bool) (nats, z []float64, err error) {
	in.Dropout = nil
	b, err := e.compute(ctx, in, "forward", func(x *Executable, rows []Array) ([]Array, error) {
		return e.run(ctx, x, e.params, rows)
	})
	defer e.freeRuns(b)
	results := []*[]float64{&nats, &z}
	if !logZ {
		results = results[:1]
	}
	for k, dst := range results {
		*dst = make([]float64, len(in.Tokens))
		if err != nil || len(b.runs) == 0 {
			continue
		}
		var got []float32
		got, err = e.fetchRows(ctx, b, k)
		for _, p := range b.places {
			for i := range min(p.hi-p.lo, len(got)) {
				(*dst)[p.lo+i] = float64(got[p.at+i])
			}
		}
	}
	return nats, z, err
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

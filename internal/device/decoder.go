package device

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gimbal/internal/generate"
	"gimbal/internal/graph"
	"gimbal/internal/par"
)

// promptTokens is how many tokens of a prompt each row reads at once.
const promptTokens = 64

// decoder is a generate.Decoder on the devices, which share the rows. It reads the engine's parameters as they are.
// While all rows are empty it has no memory there.
type decoder struct {
	e      *deviceEngine
	of     graph.Decode // its Rows are those of a device
	length []int        // of each row
	cache  []Array      // none: rows are empty
	broken error        // of a call that returns none
	logits []float32    // of one device
}

// reading is the tokens of a call that extend one row.
type reading struct {
	row, at int // at is the place of its logits
	tokens  []int32
}

// Decoder implements engine.Engine.
func (e *deviceEngine) Decoder(rows, capacity int) (generate.Decoder, error) {
	if rows < 1 {
		return nil, fmt.Errorf("device: decoder of %d rows", rows)
	}
	if capacity < 1 || capacity > e.spec.Arch.Context {
		panic("device: cache of no positions or beyond the context")
	}
	devices := e.pass.Devices
	of := graph.Decode{Arch: e.spec.Arch, Adapter: e.spec.Adapter, Mode: e.spec.Mode, Rows: up(rows, devices),
		Capacity: capacity, Devices: devices, Sharded: e.pass.Sharded}
	if e.pool == nil {
		e.pool = par.New(0)
	}
	d := &decoder{e: e, of: of, length: make([]int, rows), logits: make([]float32, of.Rows*e.spec.Arch.Vocab)}
	e.decoders = append(e.decoders, d)
	return d, nil
}

func (d *decoder) Refresh()        {}
func (d *decoder) Vocab() int      { return d.of.Arch.Vocab }
func (d *decoder) Rows() int       { return len(d.length) }
func (d *decoder) Capacity() int   { return d.of.Capacity }
func (d *decoder) Len(row int) int { return d.length[row] }
func (d *decoder) Pool() *par.Pool { return d.e.pool }

// Truncate implements generate.Decoder.
func (d *decoder) Truncate(row, n int) {
	if n < 0 || n > d.length[row] {
		panic("device: cache truncated to more than it holds")
	}
	d.length[row] = n
	if slices.Max(d.length) == 0 {
		d.broken = errors.Join(d.broken, d.e.free(&d.cache))
	}
}

// Decode implements generate.Decoder. It waits for the devices. After an error all rows are empty.
func (d *decoder) Decode(ctx context.Context, tokens, rows []int32, logits []float32) error {
	err := errors.Join(d.broken, d.e.broken, ctx.Err())
	if err == nil && d.cache == nil {
		d.cache, err = d.e.zeros(ctx, fmt.Sprintf("a cache of %d", d.of.Cache().Dims[0]),
			slices.Repeat([]graph.Shape{d.of.Cache()}, 2*d.of.Arch.Layers))
	}
	var runs []reading
	for i, row := range rows {
		if i == 0 || row != rows[i-1] {
			runs = append(runs, reading{row: int(row), at: len(runs)})
		}
		last := &runs[len(runs)-1]
		last.tokens = append(last.tokens, tokens[i])
	}
	for err == nil && len(runs) > 0 {
		runs, err = d.extend(ctx, runs, logits)
	}
	if err != nil {
		clear(d.length)
		return errors.Join(err, d.e.free(&d.cache))
	}
	return nil
}

// extend runs the program once and returns what is left to read.
func (d *decoder) extend(ctx context.Context, runs []reading, logits []float32) (left []reading, err error) {
	of := d.of
	of.Tokens = 1
	if slices.ContainsFunc(runs, func(r reading) bool { return len(r.tokens) > 1 }) {
		of.Tokens = min(promptTokens, of.Capacity)
	}
	width, done := 2+of.Tokens, make([][]reading, of.Devices)
	rows := make([]int32, of.Devices*of.Rows*width)
	for _, r := range runs {
		n := min(len(r.tokens), of.Tokens)
		if d.length[r.row]+n > of.Capacity {
			panic("device: decode: cache is full")
		}
		x := rows[r.row*width:][:width]
		x[0], x[1] = int32(d.length[r.row]), int32(n)
		copy(x[2:], r.tokens[:n])
		d.length[r.row] += n
		if r.tokens = r.tokens[n:]; len(r.tokens) > 0 {
			left = append(left, r)
		} else {
			done[r.row/of.Rows] = append(done[r.row/of.Rows], r)
		}
	}
	shape := graph.Shape{Type: graph.I32, Dims: []int{of.Rows, width}}
	in, err := d.e.put(ctx, shape, bytesOf(rows))
	if err != nil {
		return nil, err
	}
	inputs := []Array{in}
	kind := fmt.Sprintf("decode %d of %d, %d at once", of.Rows, of.Capacity, of.Tokens)
	out, err := d.e.runOf(ctx, kind, of.Program, d.e.frozen, d.e.params, d.cache, inputs)
	if err != nil {
		return nil, errors.Join(err, d.e.free(&inputs))
	}
	d.cache = out[:len(d.cache)]
	inputs = append(inputs, out[len(d.cache)])
	for device, list := range done {
		if len(list) > 0 && err == nil {
			err = d.e.fetch(ctx, out[len(d.cache)], device, bytesOf(d.logits))
		}
		for _, r := range list {
			v := of.Arch.Vocab
			copy(logits[r.at*v:][:v], d.logits[r.row%of.Rows*v:])
		}
	}
	return left, errors.Join(err, d.e.free(&inputs))
}

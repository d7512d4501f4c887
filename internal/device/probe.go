package device

import (
	"context"
	"errors"

	"gimbal/internal/engine"
	"gimbal/internal/graph"
	"gimbal/internal/model"
)

// probe runs one short sequence in one row, on the first device, and describes how the model computes it.
func (e *deviceEngine) probe(ctx context.Context, in engine.Input) (v engine.Values, err error) {
	if len(in.Bounds) != 2 || len(in.Tokens) == 0 || len(in.Tokens) > engine.ProbeTokens {
		panic("device: probe of more than one short sequence")
	}
	in.Dropout, in.Weights = nil, nil
	p := e.pass
	p.Rows, p.Length, p.Attention, p.Segments = 1, min(p.Length, engine.ProbeTokens), graph.Plain, 0
	key := programKey{kind: "probe", faults: e.faults()}
	x, err := e.compiled(ctx, key, func() graph.Program { return graph.Probe(p) })
	if err != nil {
		return v, err
	}
	r := packRows(in, p.Length, 0)
	r.grow(in, p.Devices, 0)
	rows, err := e.uploadRows(ctx, p, r, 0)
	if err == nil {
		var out []Array
		if out, err = e.run(ctx, x, e.frozen, e.params, rows); err == nil {
			v, err = e.readProbe(ctx, out, in)
		}
	}
	return v, errors.Join(err, e.free(&rows))
}

// readProbe takes the results of graph.Probe, of which empty places are left out.
func (e *deviceEngine) readProbe(ctx context.Context, out []Array, in engine.Input) (v engine.Values, err error) {
	results, raw := make([][]float32, len(out)), make([][]byte, len(out))
	for i, a := range out {
		results[i] = make([]float32, a.Bytes()/4)
		raw[i] = bytesOf(results[i])
	}
	if err := e.take(ctx, 0, out, raw...); err != nil {
		return v, err
	}
	v.TokenNats = widen(results[0][:len(in.Tokens)])
	v.Nats = total(v.TokenNats)
	a := activations(results, in.Counts)
	v.TokenLogZ = a.LogZ
	v.Probe, err = a.Stats(e.spec.Arch)
	return v, err
}

// activations takes the results of graph.Probe, without the empty places of the row.
func activations(results [][]float32, counts []bool) model.Activations {
	places := len(results[0])
	for i, all := range results {
		results[i] = all[:len(all)/places*len(counts)]
	}
	a := model.Activations{LogZ: widen(results[1]), Top: widen(results[2]), Counts: counts}
	blocks := (len(results) - 4) / 4
	a.Stream, results = results[3:4+blocks], results[4+blocks:]
	for ; len(results) > 0; results = results[3:] {
		a.Queries, a.Keys = append(a.Queries, results[0]), append(a.Keys, results[1])
		a.Active = append(a.Active, results[2])
	}
	return a
}

func widen(values []float32) []float64 {
	list := make([]float64, len(values))
	for i, v := range values {
		list[i] = float64(v)
	}
	return list
}

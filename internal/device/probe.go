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
	in.Dropout = nil
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
		if out, err = e.run(ctx, x, e.params, rows); err == nil {
			v, err = e.readProbe(ctx, out, len(in.Tokens))
		}
	}
	return v, errors.Join(err, e.free(&rows))
}

// readProbe takes the results of graph.Probe for n positions.
func (e *deviceEngine) readProbe(ctx context.Context, out []Array, n int) (v engine.Values, err error) {
	results, raw := make([][]float32, len(out)), make([][]byte, len(out))
	for i, a := range out {
		results[i] = make([]float32, a.Bytes()/4)
		raw[i] = bytesOf(results[i])
	}
	if err := e.take(ctx, 0, out, raw...); err != nil {
		return v, err
	}
	s := &engine.ProbeStats{}
	for stream := results[0]; len(stream) > 0; stream = stream[3:] {
		s.Stream = append(s.Stream, model.StreamStats{RMS: float64(stream[0]), Kept: float64(stream[1]),
			Peak: float64(stream[2])})
	}
	for heads := results[1]; len(heads) > 0; heads = heads[2:] {
		s.Heads = append(s.Heads, struct{ Logit, Entropy float64 }{float64(heads[0]), float64(heads[1])})
	}
	s.Dead, s.LogZ, s.Logit = widen(results[2]), float64(results[3][0]), float64(results[3][1])
	v.Probe, v.TokenNats, v.TokenLogZ = s, widen(results[4][:n]), widen(results[5][:n])
	v.Nats = total(v.TokenNats)
	return v, nil
}

func widen(values []float32) []float64 {
	list := make([]float64, len(values))
	for i, v := range values {
		list[i] = float64(v)
	}
	return list
}

package device

import (
	"slices"
	"testing"

	"gimbal/internal/engine"
	"gimbal/internal/graph"
	"gimbal/internal/model"
	"gimbal/internal/safetensors"
)

// Parameters in parts train, decode and are saved as whole ones, and take their share of memory.
func TestShardedParameters(t *testing.T) {
	for k, a := range []int{0, 3} {
		s := spec(shapes[a], model.ModeFP32, k == 0)
		s.Checkpointing = []string{model.CheckpointBlock, model.CheckpointNone}[k]
		var losses, nats [2][]float64
		var weights [2]engine.Snapshot
		for i, sharded := range []bool{false, true} {
			on(t, 4)
			e := open(t, New(sessions[4], EngineOptions{Devices: 4, Sharded: sharded}), s)
			losses[i] = train(t, e, 1, 3)
			snapshot, err := e.Get()
			if err != nil {
				t.Fatal(err)
			}
			weights[i] = clone(snapshot)
			if err := e.Set(safetensors.Memory(weights[0].Params), safetensors.Memory(weights[0].Slots)); err != nil {
				t.Fatal(err)
			}
			in := engine.SequenceInput(batchOf(9), batchOf(9).Spans[0])
			v, err := e.Pass(t.Context(), in, engine.PerToken)
			if err != nil {
				t.Fatal(err)
			}
			d, err := e.Decoder(4, 8)
			if err != nil {
				t.Fatal(err)
			}
			logits := make([]float32, vocab)
			if err := d.Decode(t.Context(), []int32{3, 1, 4}, []int32{2, 2, 2}, logits); err != nil {
				t.Fatal(err)
			}
			nats[i] = append(v.TokenNats, widen(logits)...)
			own := e.(*deviceEngine)
			for j, p := range own.params {
				if whole := 4 * int(own.info.Tensors[j].Len()); sharded && p.Bytes() != up(whole/4, 4)*4 {
					t.Errorf("%s: %d bytes on a device, %d in all", own.info.Tensors[j].Name, p.Bytes(), whole)
				}
			}
			e.Close()
		}
		if d := max(apart(losses[0], losses[1]), apart(nats[0], nats[1])); d > 2e-5 {
			t.Errorf("%s: losses %v, and %v in parts; values are %g apart", s.Arch.Shape, losses[0], losses[1], d)
		}
		for i, w := range weights[0].Params {
			if far := farApart(weights[1].Params[i].Data, w.Data); far > 1e-4 {
				t.Errorf("%s: %s is off by %g", s.Arch.Shape, w.Name, far)
			}
		}
	}
}

// Muon's directions have the same bits on any number of devices, which deal the matrices.
func TestDealtDirections(t *testing.T) {
	for _, a := range parityArchs {
		var first [][]float32
		for _, devices := range []int{1, 2, 4, 8} {
			u := newUpdater(t, a, devices, true)
			flat, grads := u.noise(1), []Array{}
			for i, v := range u.views {
				dims := u.Slots()[slices.IndexFunc(u.Slots(), func(s graph.Slot) bool { return s.Tensor == i })].Dims
				data := slices.Clone(flat[v.Lo:v.Hi])
				if part := (graph.Shape{Type: graph.F32, Dims: dims}).Bytes() / 4; devices > 1 {
					data = append(data, make([]float32, devices*part-len(data))...)
				}
				grads = append(grads, u.upload(graph.F32, dims, data))
			}
			_, directions := u.propose(grads, 1, 1e-3, 1e9)
			var all [][]float32
			for _, d := range directions {
				var parts []float32
				for k := range devices {
					parts = append(parts, fetch[float32](u, d, k)...)
				}
				all = append(all, parts)
			}
			if first == nil {
				first = all
			}
			for i, want := range first {
				if !slices.Equal(all[i][:len(want)], want) {
					t.Errorf("%s on %d devices: direction %d differs by %g", a.Shape, devices, i,
						farApart(all[i][:len(want)], want))
				}
			}
		}
	}
}

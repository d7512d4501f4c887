package device

import (
	"context"
	"math"
	"slices"

	"gimbal/internal/engine"
	"gimbal/internal/graph"
	"gimbal/internal/par"
	"gimbal/internal/param"
	"gimbal/internal/safetensors"
)

// mirror is the memory of this machine through which parameters and slots pass on their way to a device and back.
type mirror struct {
	params *param.Params[float32] // what is trained
	slots  [][]float32            // whole, in the order of the optimizer's slots
}

func (e *deviceEngine) mirror() *mirror {
	h := &e.host
	if h.params == nil {
		h.params = param.NewTrained[float32](e.spec.Arch, e.spec.Adapter)
	}
	if h.slots == nil && e.opt != nil {
		for _, s := range e.opt.Slots() {
			h.slots = append(h.slots, make([]float32, e.info.Tensors[s.Tensor].Len()))
		}
	}
	return h
}

// Init implements engine.Engine. The weights are those of the CPU engine for the seed.
func (e *deviceEngine) Init(seed uint64) error {
	ctx, h := context.Background(), e.mirror()
	pool := par.New(0)
	defer pool.Close()
	whole := h.params
	if e.spec.Adapter.Rank > 0 {
		whole = param.New[float32](e.spec.Arch)
		param.InitAdapter(h.params, e.spec.Adapter, seed)
	}
	whole.Init(pool, e.spec.Arch.Layers, seed)
	if err := e.uploadWhole(ctx, whole); err != nil {
		return err
	}
	e.Discard()
	if e.opt == nil {
		return nil
	}
	e.free(&e.slots)
	var err error
	e.slots, err = e.zeros(ctx, "slots", e.slotShapes())
	return err
}

// uploadWhole overwrites the weights beside an adapter by p, and what is trained by the copy here.
func (e *deviceEngine) uploadWhole(ctx context.Context, p *param.Params[float32]) (err error) {
	if e.spec.Adapter.Rank > 0 {
		e.spec.Adapter.TakeLengths(e.host.params, p, e.spec.Arch)
		shapes, _ := e.paramShapes()
		err = e.uploadTensors(ctx, &e.frozen, p, shapes)
	}
	if err != nil {
		return err
	}
	return e.uploadParams(ctx)
}

// uploadParams overwrites what is trained by the copy here.
func (e *deviceEngine) uploadParams(ctx context.Context) error {
	_, shapes := e.paramShapes()
	return e.uploadTensors(ctx, &e.params, e.host.params, shapes)
}

func (e *deviceEngine) uploadTensors(ctx context.Context, to *[]Array, p *param.Params[float32],
	shapes []graph.Shape) (err error) {
	e.free(to)
	for i, s := range shapes {
		v := p.Views[i]
		if err == nil {
			*to, err = e.upload(ctx, *to, s, p.Flat[v.Lo:v.Hi], e.pass.Sharded)
		}
	}
	return err
}

// uploadSlots overwrites the slots by the copy here: on several devices each gets its part.
func (e *deviceEngine) uploadSlots(ctx context.Context) (err error) {
	e.free(&e.slots)
	for i, s := range e.opt.Slots() {
		if err == nil {
			e.slots, err = e.upload(ctx, e.slots, s.Shape, e.host.slots[i], true)
		}
	}
	return err
}

// upload makes an array of a tensor and appends it to a list: each device gets its part, or all.
func (e *deviceEngine) upload(ctx context.Context, list []Array, s graph.Shape, data []float32, parts bool) (
	[]Array, error) {
	if n := e.pass.Devices * s.Bytes() / s.Type.Bytes(); parts && n > len(data) {
		data = append(slices.Clip(data), make([]float32, n-len(data))...)
	}
	raw := bytesOf(data)
	if s.Type == graph.BF16 {
		halves := make([]uint16, len(data))
		for i, x := range data {
			halves[i] = uint16(math.Float32bits(param.RoundBF16(x)) >> 16)
		}
		raw = bytesOf(halves)
	}
	a, err := e.put(ctx, s, raw)
	if err != nil {
		return list, err
	}
	return append(list, a), nil
}

// fetchParams renews the copy of the parameters here.
func (e *deviceEngine) fetchParams(ctx context.Context) (*param.Params[float32], error) {
	p := e.mirror().params
	for i, v := range p.Views {
		if err := e.fetchShards(ctx, e.params[i], p.Flat[v.Lo:v.Hi]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// fetchShards copies a tensor of which each device holds all, or an equal part, the last one filled up.
func (e *deviceEngine) fetchShards(ctx context.Context, a Array, dst []float32) error {
	part := a.Shape.Bytes() / 4
	for d := range e.pass.Devices {
		mine := dst[min(d*part, len(dst)):min((d+1)*part, len(dst))]
		if len(mine) == part {
			if err := e.fetch(ctx, a, d, bytesOf(mine)); err != nil {
				return err
			}
		} else if len(mine) > 0 {
			filled := make([]float32, part)
			if err := e.fetch(ctx, a, d, bytesOf(filled)); err != nil {
				return err
			}
			copy(mine, filled)
		}
	}
	return nil
}

// Get implements engine.Engine.
func (e *deviceEngine) Get() (s engine.Snapshot, err error) {
	ctx := context.Background()
	p, err := e.fetchParams(ctx)
	if err != nil {
		return s, err
	}
	for i, a := range e.slots {
		if err := e.fetchShards(ctx, a, e.host.slots[i]); err != nil {
			return s, err
		}
	}
	return engine.Checked(p, e.slotEntries())
}

// slotEntries are the copies of the slots here, under their names in a checkpoint.
func (e *deviceEngine) slotEntries() (list []safetensors.Entry) {
	if e.opt == nil {
		return nil
	}
	for i, s := range e.opt.Slots() {
		t := e.info.Tensors[s.Tensor]
		list = append(list, safetensors.Entry{Name: s.Name + "." + t.Name, Shape: t.Shape, Data: e.host.slots[i]})
	}
	return list
}

// Set implements engine.Engine. The devices keep what they have if reading fails.
func (e *deviceEngine) Set(params, slots *safetensors.File) error {
	if slots != nil && e.opt == nil {
		panic("device: slots for an engine without an optimizer")
	}
	ctx, h := context.Background(), e.mirror()
	var own []safetensors.Entry // the slots to overwrite
	if slots != nil {
		own = e.slotEntries()
	}
	load, read, upload := param.LoadEntries, h.params, e.uploadParams
	switch {
	case e.spec.Adapter.Rank > 0 && param.IsAdapter(params):
		load = param.LoadAdapter
	case e.spec.Adapter.Rank > 0:
		whole := param.New[float32](e.spec.Arch)
		read = whole
		upload = func(ctx context.Context) error {
			if _, err := e.fetchParams(ctx); err != nil { // whose magnitudes will be others
				return err
			}
			return e.uploadWhole(ctx, whole)
		}
	}
	err := engine.Restore(own, slots, func() error {
		if err := load(read, params); err != nil {
			return err
		}
		return engine.Finite(read)
	})
	if err != nil {
		return err
	}
	if err := upload(ctx); err != nil {
		return err
	}
	e.Discard()
	if slots == nil {
		return nil
	}
	return e.uploadSlots(ctx)
}

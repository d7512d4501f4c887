package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"math"
	"slices"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/device"
	"gimbal/internal/engine"
	"gimbal/internal/optim"
	"gimbal/internal/rng"
	"gimbal/internal/safetensors"
)

// Parity is how far a device is from the CPU engine on one architecture: one gradient and one update.
type Parity struct {
	Shape    string  `json:"shape"`
	Mode     string  `json:"mode"`
	Loss     float64 `json:"loss"`     // relative difference
	Gradient float64 `json:"gradient"` // largest of a tensor: norm of the difference over the norm
	Tensor   string  `json:"tensor"`   // that has it
	Update   float64 `json:"update"`   // of all parameters after the update, relative to its size
	Limit    float64 `json:"limit"`    // of Gradient, above which the device is wrong
	OK       bool    `json:"ok"`       // it is not
	Bits     string  `json:"bits"`     // hash of parameters and slots: the same in every process
}

// limits are of a gradient's difference, and of an update's. In bf16 both sides round every operand, and sums of other
// orders round otherwise. Where a gradient is almost zero, the first update of AdamW has any sign.
var limits = map[string][2]float64{"fp32": {1e-5, 1e-4}, "bf16": {3e-2, 1e-2}}

// Plugin is a plugin of devices, as JSON has it.
type Plugin struct {
	Kind     string   `json:"kind"` // cuda, rocm, oneapi, tpu or cpu
	Path     string   `json:"path"`
	Platform string   `json:"platform,omitempty"`
	Version  string   `json:"version,omitempty"`
	API      string   `json:"interface,omitempty"`
	Devices  []Device `json:"devices,omitempty"`
	Error    string   `json:"error,omitempty"` // why it does not work; empty: it does
}

// Device is one of a plugin's.
type Device struct {
	Name   string `json:"name"`
	Memory int64  `json:"memory_bytes"` // 0: unknown
}

// Plugins opens every plugin that is found, or the one at a path, and closes it again.
func Plugins(ctx context.Context, path string) (list []Plugin) {
	found := []device.Found{{Path: path, Kind: device.KindOf(path)}}
	if path == "" {
		found = device.Find()
	}
	for _, f := range found {
		p := Plugin{Kind: f.Kind, Path: f.Path}
		s, _, err := device.Start(ctx, config.Numeric{Device: f.Path}, "")
		if err == nil {
			p = describe(s.Plugin())
			err = s.Close()
		}
		if err != nil {
			p.Error = err.Error()
		}
		list = append(list, p)
	}
	return list
}

func describe(p device.Plugin) Plugin {
	r := Plugin{Kind: device.KindOf(p.Path), Path: p.Path, Platform: p.Platform, Version: p.Version, API: p.API}
	for _, d := range p.Devices {
		r.Devices = append(r.Devices, Device{d.Kind, d.Memory})
	}
	return r
}

// DeviceCheck is what a check of devices found.
type DeviceCheck struct {
	Plugin
	Multiplies []string `json:"multiplies"` // what is wrong with them; empty: nothing
	Parity     []Parity `json:"parity"`
	Notes      []string `json:"notes"` // about attention
	OK         bool     `json:"ok"`
}

// CheckDevice compares the multiplies of the devices that n names with plain Go, and small engines with those of the
// CPU. tell hears of each of these.
func CheckDevice(ctx context.Context, n config.Numeric, tell func(Parity)) (*DeviceCheck, error) {
	s, with, err := device.Start(ctx, n, "")
	if err != nil {
		return nil, err
	}
	r := &DeviceCheck{Plugin: describe(s.Plugin()), OK: true}
	with.Note = func(format string, args ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, args...)) }
	o := device.New(s, with)
	defer o.Close()
	cpu, err := engine.CPU(0)
	if err != nil {
		return nil, err
	}
	defer cpu.Close()
	for _, mode := range []string{"fp32", "bf16"} {
		if wrong := o.SelfTest(paritySpec(parityArchs()[0], mode)); wrong != "" {
			r.Multiplies, r.OK = append(r.Multiplies, wrong), false
		}
		err := CompareEngines(ctx, cpu, o, mode, func(p Parity) {
			r.Parity, r.OK = append(r.Parity, p), r.OK && p.OK
			tell(p)
		})
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// parityArchs are a small model of every family.
func parityArchs() (list []config.Arch) {
	for _, shape := range []string{"gpt2", "llama", "qwen2", "qwen3"} {
		cfg := config.Default()
		cfg.Model.Shape, cfg.Model.Layers, cfg.Model.Width, cfg.Model.Heads = shape, 2, 64, 4
		cfg.Model.Tie, cfg.Train.Context = shape != "llama", 64
		a, err := cfg.Arch(259)
		if err != nil {
			panic("bench: parity: an architecture that is none")
		}
		list = append(list, a)
	}
	return list
}

func paritySpec(a config.Arch, mode string) engine.Spec {
	return engine.Spec{Arch: a, MicroTokens: 4 * a.Context, Checkpointing: "none", Mode: mode, Optim: optim.Options{
		Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1, Muon: a.Shape == "qwen3", Momentum: 0.95}}
}

// CompareEngines makes one gradient and one update with the engines of both openers, on every family, and compares
// them. The slots of a first update hold the gradient, so that it is compared by tensor.
func CompareEngines(ctx context.Context, want, got engine.Opener, mode string, tell func(Parity)) error {
	for _, a := range parityArchs() {
		spec := paritySpec(a, mode)
		p := Parity{Shape: a.Shape, Mode: mode, Limit: limits[mode][0]}
		ours, loss, err := firstUpdate(ctx, want, spec)
		if err != nil {
			return err
		}
		theirs, loss2, err := firstUpdate(ctx, got, spec)
		if err != nil {
			return err
		}
		p.Loss = math.Abs(loss2-loss) / loss
		h := fnv.New64a()
		for i, e := range ours.Slots {
			t := theirs.Slots[i]
			hashInto(h, t.Data)
			if strings.HasPrefix(e.Name, "exp_avg_sq.") {
				continue
			}
			if d := apart(e.Data, t.Data); d > p.Gradient || d != d {
				p.Gradient, p.Tensor = d, e.Name[strings.IndexByte(e.Name, '.')+1:]
			}
		}
		var all, other []float32
		for i, e := range ours.Params {
			all, other = append(all, e.Data...), append(other, theirs.Params[i].Data...)
		}
		hashInto(h, other)
		p.Update = apart(all, other)
		p.Bits, p.OK = fmt.Sprintf("%016x", h.Sum64()), p.Gradient <= p.Limit && p.Update <= limits[mode][1]
		tell(p)
	}
	return nil
}

// firstUpdate returns parameters and slots after one update of fresh weights on random tokens, and the loss before it.
func firstUpdate(ctx context.Context, o engine.Opener, spec engine.Spec) (s engine.Snapshot, loss float64, err error) {
	e, err := o.Open(spec)
	if err != nil {
		return s, 0, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := e.Init(1); err != nil {
		return s, 0, err
	}
	in, k := engine.Input{Bounds: []int32{0}}, rng.New(1, rng.Probe)
	for _, n := range []int{spec.Arch.Context, 40, 17, 1, 33} { // sequences of a row, and those that share one
		for range n {
			a, b := k.Block(uint64(len(in.Tokens)))
			in.Tokens = append(in.Tokens, int32(a%uint64(spec.Arch.Vocab)))
			in.Labels = append(in.Labels, int32(b%uint64(spec.Arch.Vocab)))
			in.Counts = append(in.Counts, a>>40%8 != 0)
		}
		in.Bounds = append(in.Bounds, int32(len(in.Tokens)))
	}
	in.Scale = 1 / float64(len(in.Tokens))
	e.Discard()
	if _, err = e.Pass(ctx, in, engine.Gradient); err != nil {
		return s, 0, err
	}
	r, err := e.Propose(ctx, engine.Proposal{Step: 1, LR: 1e-3, Clip: 1e9, Scale: in.Scale, Detail: engine.NoUpdate})
	if err != nil {
		return s, 0, err
	}
	if _, err = e.Commit(engine.Update{Step: 1, LR: 1e-3, Scale: r.ClipScale}); err != nil {
		return s, 0, err
	}
	s, err = e.Get()
	return engine.Snapshot{Params: copied(s.Params), Slots: copied(s.Slots)}, r.Loss, err
}

// copied are the values of tensors, with memory of their own, under the names of the tensors.
func copied(list []safetensors.Entry) []safetensors.Entry {
	out := slices.Clone(list)
	for i, e := range list {
		out[i].Data = slices.Clone(e.Data)
	}
	return out
}

// hashInto adds the bits of numbers to a hash.
func hashInto(h hash.Hash, values []float32) {
	var buffer []byte
	for piece := range slices.Chunk(values, 1<<14) {
		buffer = buffer[:0]
		for _, v := range piece {
			buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(v))
		}
		h.Write(buffer)
	}
}

// apart is the norm of the difference of two vectors over the norm of the first; 0 where both are zero.
func apart(want, got []float32) float64 {
	var d, n float64
	for i, w := range want {
		x := float64(got[i]) - float64(w)
		d, n = d+x*x, n+float64(w)*float64(w)
	}
	if d == 0 {
		return 0
	}
	return math.Sqrt(d / n)
}

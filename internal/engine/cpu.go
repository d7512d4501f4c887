package engine

import (
	"fmt"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/memory"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/param"
)

// CPU returns the opener of engines on this machine's CPUs: model.Model and optim.Optimizer on one kernel.Exec that all
// engines share. workers is the number of threads, 0 for as many as Go may use at once.
//
// It fails when GIMBAL_KERNEL names a tier that this machine lacks.
func CPU(workers int) (Opener, error) {
	x, err := kernel.NewExec(workers, kernel.TierAuto)
	if err != nil {
		return nil, err
	}
	return &cpuOpener{x}, nil
}

type cpuOpener struct{ x *kernel.Exec }

func (o *cpuOpener) Hardware() Hardware {
	return Hardware{Name: o.x.Tier().String(), Workers: o.x.Workers(), BF16: o.x.BF16(), FasterBF16: o.x.FasterBF16(),
		Free: memory.Free(), Warning: o.x.Warning()}
}

// modelOptions are those of the model of a spec.
func (o *cpuOpener) modelOptions(s Spec) model.Options {
	return model.Options{MicroTokens: s.MicroTokens, Checkpointing: s.Checkpointing, Mode: s.Mode, Forward: s.Forward,
		Adapter: s.Adapter,
		Workers: o.x.Workers()}
}

func (o *cpuOpener) Estimate(s Spec) Memory {
	m := Memory{Model: model.Memory(s.Arch, o.modelOptions(s)).Total}
	if !s.Forward {
		n, _ := s.Arch.Params()
		views, total := param.TrainedLayout(s.Arch, s.Adapter)
		if s.Adapter.Rank > 0 {
			n = int64(total)
		}
		m.Slots = optim.Bytes(n, segmentsOf(views), s.Optim, o.x.Workers())
	}
	return m
}

func (o *cpuOpener) Open(s Spec) (Engine, error) {
	m, err := model.New[float32](s.Arch, o.x, o.modelOptions(s))
	if err != nil {
		return nil, err
	}
	e := &cpuEngine{model: m, passes: passes{bad: -1}, probe: m.NewProbeStats()}
	e.info = Info{Arch: s.Arch, Tensors: tensorsOf(m.Trained().Views), Mode: m.Mode(), Numerics: numerics(o.x,
		m.Mode())}
	if !s.Forward {
		e.opt = optim.New[float32](o.x, len(m.Trained().Flat), segmentsOf(m.Trained().Views), s.Optim)
		n := len(m.Trained().Views)
		e.report = Report{Norms: make([]float64, n), Tensors: make([]TensorState, n), Hashes: make([]uint64, n)}
	}
	return e, nil
}

func (o *cpuOpener) Close() { o.x.Close() }

// Tensors returns the trained tensors of an architecture in the order of every list by tensor.
func Tensors(a config.Arch, ad param.Adapter) []Tensor {
	views, _ := param.TrainedLayout(a, ad)
	return tensorsOf(views)
}

func tensorsOf(views []param.View) (list []Tensor) {
	for _, v := range views {
		list = append(list, Tensor{Name: v.Name, Kind: kindOf(v.Kind), Block: v.Block, Shape: v.Shape,
			Waits: strings.HasSuffix(v.Name, ".lora_A.weight")})
	}
	return list
}

// Segments returns the trained tensors of an architecture as an optimizer sees them.
func Segments(a config.Arch, ad param.Adapter) []optim.Segment {
	views, _ := param.TrainedLayout(a, ad)
	return segmentsOf(views)
}

// segmentsOf are tensors as the optimizer sees them. Muon is for the matrices of blocks. Where q, k and v of one
// size are a single tensor, each is a matrix of its own.
func segmentsOf(views []param.View) []optim.Segment {
	list := make([]optim.Segment, len(views))
	for i, v := range views {
		s := optim.Segment{Lo: v.Lo, Hi: v.Hi, Decay: v.Decay}
		if v.Block >= 0 && len(v.Shape) == 2 {
			s.Rows, s.Cols = v.Shape[0], v.Shape[1]
			if v.Kind == param.KindQKV && s.Rows == 3*s.Cols {
				s.Rows = s.Cols
			}
		}
		list[i] = s
	}
	return list
}

// numerics names what the bits depend on.
func numerics(x *kernel.Exec, mode string) string { return fmt.Sprintf("%s %s", x.Tier(), mode) }

// kindOf is the kind under which a tensor is summed up.
func kindOf(k param.Kind) string {
	switch k {
	case param.KindEmbed, param.KindPosition:
		return "embed"
	case param.KindQKV, param.KindO:
		return "attn"
	case param.KindGateUp, param.KindDown:
		return "mlp"
	case param.KindHead:
		return "head"
	}
	return "norm"
}

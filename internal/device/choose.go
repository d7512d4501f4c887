package device

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/engine"
)

// sameBits are flags of the compiler for GPUs: no operation that adds in another order each time, and no choice of
// multiplies by a race between them.
const sameBits = "--xla_gpu_exclude_nondeterministic_ops=true --xla_gpu_enable_triton_gemm=false"

// Choose returns the opener of the hardware that n names: engine.CPU, or one of devices. auto is a device that is found
// and passes its test, else the CPU; a plugin for CPUs is taken by its path only. note is told why a device that is
// there is not used.
func Choose(ctx context.Context, n config.Numeric, workers int, note func(string, ...any)) (engine.Opener, error) {
	if n.Device == "auto" {
		if o, err := automatic(ctx, n, note); o != nil || err != nil {
			return o, err
		}
	}
	if n.Device == "auto" || n.Device == "cpu" {
		o, err := engine.CPU(workers)
		if err != nil {
			return nil, &config.Error{Faults: []config.Fault{{Text: err.Error()}}}
		}
		return o, nil
	}
	s, o, err := Start(ctx, n, "")
	if err != nil {
		return nil, err
	}
	o.Note = note
	return New(s, o), nil
}

// automatic returns the opener of the first plugin for accelerators whose devices work; nil: there is none.
func automatic(ctx context.Context, n config.Numeric, note func(string, ...any)) (engine.Opener, error) {
	list := named()
	if driven() { // to ask python takes a part of a second
		list = Find()
	}
	for _, f := range list {
		if f.Kind == "cpu" {
			continue
		}
		n.Device = f.Path
		s, options, err := openNamed(ctx, n, "")
		if err == nil {
			options.Note = note
			o := New(s, options)
			wrong := o.SelfTest(small(o.Hardware()))
			if wrong == "" {
				return o, nil
			}
			o.Close()
			err = errors.New(wrong)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		note("warning: the CPU is used, because %s does not work: %v", f.Path, err)
	}
	return nil, nil
}

// small is an engine that takes a moment to test.
func small(hw engine.Hardware) engine.Spec {
	s := engine.Spec{MicroTokens: 64, Mode: "fp32", Checkpointing: "none", Arch: config.Arch{Layers: 1, Width: 64,
		Heads: 1, KVHeads: 1, HeadSize: 64, MLP: 256, Vocab: 256, Context: 64, MLPKind: "gelu"}}
	if hw.FasterBF16 {
		s.Mode = "bf16"
	}
	return s
}

// Target returns an opener that measures for cards that are not there, of the kind that target names among Targets. Its
// engines cannot be opened.
func Target(ctx context.Context, n config.Numeric, target string, note func(string, ...any)) (engine.Opener, error) {
	if n.Device == "cpu" {
		n.Device = "auto"
	}
	s, o, err := Start(ctx, n, target)
	if err != nil {
		return nil, err
	}
	o.Note, o.Untested = note, true
	return New(s, o), nil
}

// Start opens a session on the devices that n names, or one that compiles for cards that are not there: target is one
// of Targets. It fails with a *config.Error where there are none.
func Start(ctx context.Context, n config.Numeric, target string) (Session, EngineOptions, error) {
	s, o, err := openNamed(ctx, n, target)
	if err != nil && !errors.Is(err, ErrLost) && ctx.Err() == nil {
		err = &config.Error{Faults: []config.Fault{{Key: "numeric.device", Text: err.Error()}}}
	}
	return s, o, err
}

func openNamed(ctx context.Context, n config.Numeric, target string) (Session, EngineOptions, error) {
	o := Options{Plugin: n.Device, Devices: cmp.Or(n.Devices, -1), Target: target}
	if !strings.ContainsAny(n.Device, `/\`) {
		o.Plugin = ""
		for _, f := range Find() {
			if o.Plugin == "" && (f.Kind == n.Device || n.Device == "auto" && f.Kind != "cpu") {
				o.Plugin, o.Kind = f.Path, f.Kind
			}
		}
		if o.Plugin == "" {
			return nil, EngineOptions{}, fmt.Errorf("no plugin was found; \"gimbal device\" says where it looked; "+
				"to install one: %s", Kinds[rank(n.Device)%len(Kinds)].Install)
		}
	}
	path, err := filepath.Abs(o.Plugin)
	if err != nil {
		return nil, EngineOptions{}, err
	}
	o.Plugin = path
	flags := os.Getenv("XLA_FLAGS")
	if kind := cmp.Or(o.Kind, KindOf(o.Plugin)); !n.Fast && (kind == "cuda" || kind == "rocm") {
		o.Env = append(o.Env, "XLA_FLAGS="+sameBits)
		flags = strings.TrimSpace(sameBits + " " + flags)
	}
	if n.Fast {
		flags = strings.TrimSpace("fast " + flags)
	}
	s, err := Open(ctx, o)
	return s, EngineOptions{Devices: n.Devices, Sharded: n.Shard == "parameters", Flags: flags}, err
}

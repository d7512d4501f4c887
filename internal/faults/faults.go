// Package faults plants faults in a run on purpose, so that anyone can watch the guard handle them. It wraps what a run
// is made of: the source of its batches, its engine, and the disk that it is saved to. A run without faults is not
// wrapped.
//
//	set, err := faults.New(planted, env)
//	source, e := set.Source(loader.Source()), set.Engine(e)
//	…                                               // each step: a batch from source, passes, a proposal, a commit
//	fsys := set.Disk(fsys, step, batch)             // of the next save
//	saved := set.State()                            // is saved with the run
//
// A fault begins with the first batch whose update has at least the fault's step, and is planted once: New makes the
// same set again from what State returned. A nil set is one without faults.
//
// docs/guards.md describes each fault.
package faults

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/engine"
)

// kind says when a fault may begin, what its target may be, and what it does.
type kind struct {
	earliest int64  // step from which the rule that must answer it is armed
	batches  int64  // how long it lasts; 0: to the end of the run
	target   string // "tensor" or "block": what may be named; empty: nothing

	batch  func(*Set, *data.Batch)          // changes each batch
	before engine.FaultKind                 // changes the weights, before the passes of its first batch
	plant  engine.FaultKind                 // stays in the model; NaNActivation only for the first pass of a batch
	scale  func(*Set, engine.Input) float64 // changes the scale of each pass
	after  engine.FaultKind                 // changes the gradients, after the passes; ScaleGradients also the loss
	factor float64                          // of before or after
	rate   float64                          // multiplies the learning rate; 0: does not
	update engine.FaultKind                 // changes the weights, after each update
	disk   bool                             // acts on the first save from its step on
}

// kinds are the faults by name.
var kinds = map[string]kind{
	"nan-grad":        {earliest: 1, batches: 1, target: "tensor", after: engine.NaNGradient},
	"inf-grad":        {earliest: 1, batches: 1, target: "tensor", after: engine.InfGradient},
	"nan-activation":  {earliest: 1, batches: 1, target: "block", plant: engine.NaNActivation},
	"loss-spike":      {earliest: armed, batches: 1, after: engine.ScaleGradients, factor: 1000},
	"poison-batch":    {earliest: armed, batches: 1, batch: (*Set).poison},
	"poison-batches":  {earliest: armed, batches: 20, batch: (*Set).poison},
	"repetition":      {earliest: 1, batch: (*Set).repeat},
	"lr-bomb":         {earliest: armed, batches: 50, rate: 30},
	"bit-flip":        {earliest: armed, batches: 1, target: "tensor", before: engine.FlipBit},
	"frozen-layer":    {earliest: 1, target: "block", plant: engine.StopGradient},
	"cut-residual":    {earliest: 1, target: "block", plant: engine.CutResidual},
	starved:           {earliest: 1, before: engine.ScaleBlock, factor: 0.01},
	"torn-checkpoint": {batches: 1, disk: true},
	"full-disk":       {batches: 1, disk: true},
	"slow-disk":       {batches: 1, disk: true},
}

const (
	starved   = "starved-init" // weights that are drawn too small, in block 0
	armed     = 70             // steps after which the guard's windows are full enough
	aftermath = 100            // batches after a fault in which events are marked as injected
)

// Planted is a fault of a run. It is saved with the run, so that a resumed run meets the same fault at the same
// batch. A rewind does not plant it again.
type Planted struct {
	Spec  string `json:"spec"`  // NAME@STEP or NAME:TARGET@STEP
	Begun int64  `json:"begun"` // the batch with which it began; 0: not yet
}

// Env is what faults need to know of the run.
type Env struct {
	Info        engine.Info
	Steps       int64      // of the run
	Text        *data.Text // whose training part is read
	Seed        uint64     // of the run
	MicroTokens int        // most positions of one pass
	Note        func(format string, args ...any)
}

// fault is a Planted that was parsed.
type fault struct {
	Planted
	kind
	name   string
	step   int64
	target engine.Fault // the tensor and block that the engine changes
}

// Set is the faults of a run. Not safe for concurrent use.
type Set struct {
	env    Env
	faults []fault

	batch  int64 // in progress; 0: none yet
	stage  stage // of the step on it
	passes int   // into which the batch is cut
	rarest int32 // the token of poisoned batches; -1: not counted yet
}

// New makes the set of the faults that are or were planted in a run. The error is a *config.Error with all mistakes.
func New(planted []Planted, env Env) (*Set, error) {
	s := &Set{env: env, rarest: -1}
	if env.Note == nil {
		s.env.Note = func(string, ...any) {}
	}
	var bad []config.Fault
	for _, p := range planted {
		f, err := parse(p.Spec, env)
		if err != nil {
			bad = append(bad, config.Fault{Where: "flag --inject", Text: fmt.Sprintf("%q: %v", p.Spec, err)})
			continue
		}
		f.Planted = p
		s.faults = append(s.faults, f)
	}
	if len(bad) > 0 {
		return nil, &config.Error{Faults: bad}
	}
	return s, nil
}

func parse(spec string, env Env) (f fault, err error) {
	what, at, ok := strings.Cut(spec, "@")
	if !ok {
		return f, errors.New("want FAULT@STEP, such as nan-grad@100")
	}
	name, target, named := strings.Cut(what, ":")
	k, known := kinds[name]
	if !known {
		return f, fmt.Errorf("no such fault; there are %s", strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	}
	f = fault{kind: k, name: name}
	if f.step, err = strconv.ParseInt(at, 10, 64); err != nil || f.step < 0 {
		return f, fmt.Errorf("%q is not the number of a step", at)
	}
	switch {
	case f.step < k.earliest:
		return f, fmt.Errorf("the earliest step for it is %d, because the guard cannot detect it before", k.earliest)
	case name == starved && f.step != 1:
		return f, errors.New("weights are initialised before step 1, so this fault is only possible there")
	case f.step > env.Steps:
		return f, fmt.Errorf("the run ends at step %d", env.Steps)
	case named && k.target == "":
		return f, errors.New("this fault takes no target")
	}
	f.target, err = aim(k, target, named, env.Info)
	if name == starved {
		f.target.Block = 0
	}
	return f, err
}

// aim returns the target of a fault: what is named, or else the middle block and its down projection.
func aim(k kind, target string, named bool, info engine.Info) (f engine.Fault, err error) {
	f = engine.Fault{Block: info.Arch.Layers / 2, Factor: k.factor}
	for _, t := range info.Tensors {
		if t.Block == f.Block && t.Kind == "mlp" {
			f.Tensor = t.Name // the down projection is the last
		}
	}
	switch {
	case named && k.target == "tensor":
		if !slices.ContainsFunc(info.Tensors, func(t engine.Tensor) bool { return t.Name == target }) {
			return f, fmt.Errorf("the model has no tensor %q", target)
		}
		f.Tensor = target
	case named:
		if f.Block, err = strconv.Atoi(target); err != nil || f.Block < 0 || f.Block >= info.Arch.Layers {
			return f, fmt.Errorf("%q is not a block: the blocks are 0 to %d", target, info.Arch.Layers-1)
		}
	}
	return f, nil
}

// in is the fault as the engine plants it.
func (f *fault) in(k engine.FaultKind) engine.Fault {
	f.target.Kind = k
	return f.target
}

// on reports whether a fault acts on a batch.
func (f *fault) on(batch int64) bool {
	return f.Begun > 0 && batch >= f.Begun && (f.batches == 0 || batch < f.Begun+f.batches)
}

// none reports whether the set has no faults.
func (s *Set) none() bool { return s == nil || len(s.faults) == 0 }

// Active reports whether a fault acts on a batch.
func (s *Set) Active(batch int64) bool {
	return !s.none() && slices.ContainsFunc(s.faults, func(f fault) bool { return f.on(batch) })
}

// Tainted reports whether what is seen at a batch may be caused by a fault.
func (s *Set) Tainted(batch int64) bool {
	return !s.none() && slices.ContainsFunc(s.faults, func(f fault) bool {
		return f.Begun > 0 && (f.batches == 0 || batch < f.Begun+f.batches+aftermath)
	})
}

// State returns what is saved: New makes the same set from it.
func (s *Set) State() (planted []Planted) {
	if s.none() {
		return nil
	}
	for _, f := range s.faults {
		planted = append(planted, f.Planted)
	}
	return planted
}

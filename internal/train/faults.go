package train

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/model"
)

// faultKind is a fault that can be planted on purpose, so that anyone can watch the guard work.
type faultKind struct {
	earliest int64  // step from which the rule that must meet it is armed
	batches  int64  // how many it lasts; 0: for the rest of the run
	target   string // "tensor" or "block" that may be named; empty: none
}

// faultKinds are the faults by name; docs/guards.md defines each.
var faultKinds = map[string]faultKind{
	"nan-grad":        {earliest: 1, batches: 1, target: "tensor"},
	"inf-grad":        {earliest: 1, batches: 1, target: "tensor"},
	"nan-activation":  {earliest: 1, batches: 1, target: "block"},
	"loss-spike":      {earliest: armed, batches: 1},
	"poison-batch":    {earliest: armed, batches: 1},
	"poison-batches":  {earliest: armed, batches: 20},
	"repetition":      {earliest: 1},
	"lr-bomb":         {earliest: armed, batches: 50},
	"bit-flip":        {earliest: armed, batches: 1, target: "tensor"},
	"frozen-layer":    {earliest: 1, target: "block"},
	"cut-residual":    {earliest: 1, target: "block"},
	"starved-init":    {earliest: 1},
	"torn-checkpoint": {batches: 1},
	"full-disk":       {batches: 1},
	"slow-disk":       {batches: 1},
}

const (
	armed       = 70   // steps after which the guard's windows are full enough to judge by
	bombFactor  = 30   // lr-bomb, on the learning rate
	paragraph   = 64   // repetition, tokens of the text that comes again and again
	spikeFactor = 1000 // loss-spike, on loss and gradients
	starvation  = 0.01 // starved-init, on the matrices of block 0
	aftermath   = 100  // batches after a fault in which what is seen is put down to it
)

// plantedFault is a fault of a run and what became of it. It is saved with the run, so that a resumed run meets the
// same fault at the same batch; a rewind does not take it back.
type plantedFault struct {
	Spec  string `json:"spec"`  // NAME@STEP or NAME:TARGET@STEP
	Begun int64  `json:"begun"` // the batch it began with; 0: not yet
}

// fault is a parsed plantedFault.
type fault struct {
	faultKind
	name   string
	step   int64
	tensor model.View // what nan-grad, inf-grad and bit-flip hit
	block  int        // what nan-activation, frozen-layer and cut-residual hit
}

// plantFaults parses what is to be planted in a run.
func (t *trainer) plantFaults(specs []string) error {
	var bad []config.Fault
	for _, spec := range specs {
		f, err := t.parseFault(spec)
		if err != nil {
			bad = append(bad, config.Fault{Where: "flag --inject", Text: fmt.Sprintf("%q: %v", spec, err)})
			continue
		}
		t.faults = append(t.faults, f)
		t.state.Faults = append(t.state.Faults, plantedFault{Spec: spec})
	}
	if len(bad) > 0 {
		return &config.Error{Faults: bad}
	}
	return nil
}

// restoreFaults makes the faults of a saved run again, as far as they had come.
func (t *trainer) restoreFaults() error {
	saved := t.state.Faults
	var specs []string
	for _, s := range saved {
		specs = append(specs, s.Spec)
	}
	t.faults, t.state.Faults = nil, nil
	if err := t.plantFaults(specs); err != nil {
		return err
	}
	copy(t.state.Faults, saved)
	return nil
}

func (t *trainer) parseFault(spec string) (f fault, err error) {
	what, at, ok := strings.Cut(spec, "@")
	if !ok {
		return f, errors.New("want FAULT@STEP, such as nan-grad@100")
	}
	name, target, named := strings.Cut(what, ":")
	kind, known := faultKinds[name]
	if !known {
		return f, fmt.Errorf("no such fault; there are %s", strings.Join(slices.Sorted(maps.Keys(faultKinds)), ", "))
	}
	f = fault{faultKind: kind, name: name, block: t.arch.Layers / 2}
	if f.step, err = strconv.ParseInt(at, 10, 64); err != nil || f.step < 0 {
		return f, fmt.Errorf("%q is no step", at)
	}
	switch {
	case f.step < kind.earliest:
		return f, fmt.Errorf("the earliest step for it is %d: before that nothing could be told from a beginning", kind.earliest)
	case name == "starved-init" && f.step != 1:
		return f, errors.New("the weights are initialised before step 1 only")
	case f.step > t.cfg.Train.Steps:
		return f, fmt.Errorf("the run has %d steps", t.cfg.Train.Steps)
	case named && kind.target == "":
		return f, errors.New("it has no target to name")
	}
	views := t.model.Params().Views
	hit := slices.IndexFunc(views, func(v model.View) bool { return v.Block == f.block && v.Kind == model.KindDown })
	switch {
	case named && kind.target == "tensor":
		hit = slices.IndexFunc(views, func(v model.View) bool { return v.Name == target })
		if hit < 0 {
			return f, fmt.Errorf("the model has no tensor %q", target)
		}
	case named:
		if f.block, err = strconv.Atoi(target); err != nil || f.block < 0 || f.block >= t.arch.Layers {
			return f, fmt.Errorf("%q is no block: the model has 0 to %d", target, t.arch.Layers-1)
		}
	}
	f.tensor = views[hit]
	return f, nil
}

// faultOn reports whether fault i acts on a batch.
func (t *trainer) faultOn(i int, batch int64) bool {
	begun, lasts := t.state.Faults[i].Begun, t.faults[i].batches
	return begun > 0 && batch >= begun && (lasts == 0 || batch < begun+lasts)
}

// injected reports whether a fault acts on a batch.
func (t *trainer) injected(batch int64) bool {
	for i := range t.faults {
		if t.faultOn(i, batch) {
			return true
		}
	}
	return false
}

// tainted reports whether what is seen at a batch may come of a fault.
func (t *trainer) tainted(batch int64) bool {
	for i, f := range t.faults {
		if begun := t.state.Faults[i].Begun; begun > 0 && (f.batches == 0 || batch < begun+f.batches+aftermath) {
			return true
		}
	}
	return false
}

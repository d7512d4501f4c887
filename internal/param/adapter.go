package param

import (
	"fmt"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/family"
	"gimbal/internal/memory"
)

// Adapter is changes of low rank to matrices of the blocks, beside weights that stay as they are.
//
// For a matrix W (out, in) the model computes with W + Scale·B·A, where A (Rank, in) and B (out, Rank) are trained.
// Source: Hu et al. 2021, arXiv:2106.09685; the names and shapes are those of PEFT.
type Adapter struct {
	Rank    int     // 0: there is none, and all weights are trained
	Scale   float64 // alpha/Rank, or alpha/√Rank (Kalajdzievski 2023, arXiv:2312.03732)
	Targets Targets
	Dropout float64 // share of what A reads that is dropped where the passes of training drop
	DoRA    bool    // a trained magnitude is the length of each row of W + Scale·B·A (Liu 2024, arXiv:2402.09353)
	Base    string  // one of Formats for matrices of blocks, "" is fp32; of others one block at a time is there in full
}

// Targets is a set of the matrices of a block.
type Targets uint8

// The matrices of a block. Where one tensor holds q, k and v, TargetQ means it, and TargetGate one of gate and up.
const (
	TargetQ Targets = 1 << iota
	TargetK
	TargetV
	TargetO
	TargetGate
	TargetUp
	TargetDown

	AllTargets Targets = 1<<iota - 1
)

// adapterPrefix begins the names of an adapter's tensors.
const adapterPrefix = "base_model.model."

// targets are the matrices of an architecture that an adapter may change, by their place in a block: the multiplies by
// q, k and v, by o, by gate and up, and by down.
func targets(a config.Arch) map[Slot][]Targets {
	t := map[Slot][]Targets{SlotQKV: {TargetQ, TargetK, TargetV}, SlotO: {TargetO}, SlotGateUp: {TargetGate, TargetUp},
		SlotDown: {TargetDown}}
	names := family.NamesOf(a.Shape)
	if len(names.QKV) == 1 {
		t[SlotQKV] = []Targets{TargetQ}
	}
	if !a.Gated() {
		t[SlotGateUp] = []Targets{TargetUp}
	} else if len(names.GateUp) == 1 {
		t[SlotGateUp] = []Targets{TargetGate}
	}
	return t
}

// Adapted is one matrix that an adapter changes.
type Adapted struct {
	View
	Tensor int    // its number in Layout
	Place  uint64 // of the masks of dropout before A
	RowLo  int    // its rows of the multiply: from RowLo to RowHi
	RowHi  int
	Target Targets
}

// AdapterPlaces is the first place of masks of adapters.
const AdapterPlaces = 1 << 32

// AdaptedViews are the matrices that an adapter changes, in the order of Layout.
func AdaptedViews(a config.Arch, ad Adapter) (list []Adapted) {
	views, _ := Layout(a)
	kinds := targets(a)
	at, row := 0, 0 // of the multiply in progress
	for i, v := range views {
		if i == 0 || views[i-1].Slot != v.Slot || views[i-1].Block != v.Block {
			at, row = 0, 0
		}
		if all := kinds[v.Slot]; v.Block >= 0 && all != nil {
			if all[at]&ad.Targets != 0 {
				place := AdapterPlaces | uint64(v.Block)<<8 | uint64(all[at])
				list = append(list, Adapted{v, i, place, row, row + v.Shape[0], all[at]})
			}
			at, row = at+1, row+v.Shape[0]
		}
	}
	return list
}

// The tensors that belong to a matrix, in their order.
const (
	suffixA         = ".lora_A.weight"
	suffixB         = ".lora_B.weight"
	suffixMagnitude = ".lora_magnitude_vector" // with DoRA
)

// Parts is how many tensors belong to a matrix.
func (ad Adapter) Parts() int {
	if ad.DoRA {
		return 3
	}
	return 2
}

// AdapterLayout returns the tensors of an adapter: those of each matrix together, by the names that PEFT gives them.
func AdapterLayout(a config.Arch, ad Adapter) (views []View, total int) {
	for _, t := range AdaptedViews(a, ad) {
		name := adapterPrefix + strings.TrimSuffix(t.Name, ".weight")
		for _, v := range []View{
			{Name: name + suffixA, Shape: []int{ad.Rank, t.Shape[1]}, Hi: ad.Rank * t.Shape[1], Decay: true},
			{Name: name + suffixB, Shape: []int{t.Shape[0], ad.Rank}, Hi: t.Shape[0] * ad.Rank, heads: t.heads},
			{Name: name + suffixMagnitude, Shape: t.Shape[:1], Hi: t.Shape[0], heads: t.heads},
		}[:ad.Parts()] {
			v.Lo, v.Hi, v.Kind, v.Block, v.Slot = total, total+v.Hi, t.Kind, t.Block, t.Slot
			views, total = append(views, v), memory.RoundUp(total+v.Len())
		}
	}
	return views, total
}

// TrainedLayout returns the tensors that training changes: those of an adapter, or without one all, as Layout.
func TrainedLayout(a config.Arch, ad Adapter) (views []View, total int) {
	if ad.Rank > 0 {
		return AdapterLayout(a, ad)
	}
	return Layout(a)
}

// ModuleNames are the names of the matrices that targets mean, as PEFT's target_modules has them.
func ModuleNames(a config.Arch, set Targets) (names []string) {
	seen := map[string]bool{}
	for _, t := range AdaptedViews(a, Adapter{Rank: 1, Targets: set}) {
		name := strings.TrimSuffix(t.Name, ".weight")
		name = name[strings.LastIndexByte(name, '.')+1:]
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// ParseTargets returns the targets that names mean: the end of the names of modules, as in PEFT's target_modules, or
// "all". It fails where a name means nothing, or where only some layers of a target are meant.
func ParseTargets(a config.Arch, names []string) (set Targets, err error) {
	means := map[string]bool{"all": true}
	for t := TargetQ; t < AllTargets; t <<= 1 {
		views, meant := AdaptedViews(a, Adapter{Rank: 1, Targets: t}), 0
		for _, v := range views {
			module, here := strings.TrimSuffix(v.Name, ".weight"), false
			for _, name := range names {
				if name == "all" || module == name || strings.HasSuffix(module, "."+name) {
					means[name], here = true, true
				}
			}
			if here {
				meant++
			}
		}
		if meant == len(views) && meant > 0 {
			set |= t
		} else if meant > 0 {
			return 0, fmt.Errorf("an adapter of %s in %d of %d layers is not computed, only in all of them",
				ModuleNames(a, t)[0], meant, len(views))
		}
	}
	for _, name := range names {
		if !means[name] {
			return 0, fmt.Errorf("an adapter of %s has no target %q; it has %s", a.Shape, name,
				strings.Join(ModuleNames(a, AllTargets), ", "))
		}
	}
	return set, nil
}

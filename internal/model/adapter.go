package model

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/family"
	"gimbal/internal/kernel"
	"gimbal/internal/par"
	"gimbal/internal/rng"
	"gimbal/internal/safetensors"
)

// Adapter is changes of low rank to matrices of the blocks, beside weights that stay as they are.
//
// For a matrix W (out, in) the model computes with W + Scale·B·A, where A (Rank, in) and B (out, Rank) are trained.
// Source: Hu et al. 2021, arXiv:2106.09685; the names and shapes are those of PEFT.
type Adapter struct {
	Rank    int     // 0: there is none, and all weights are trained
	Scale   float64 // alpha/Rank, or alpha/√Rank (Kalajdzievski 2023, arXiv:2312.03732)
	Targets Targets
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
func targets(a config.Arch) map[slot][]Targets {
	t := map[slot][]Targets{slotQKV: {TargetQ, TargetK, TargetV}, slotO: {TargetO}, slotGateUp: {TargetGate, TargetUp},
		slotDown: {TargetDown}}
	names := family.NamesOf(a.Shape)
	if len(names.QKV) == 1 {
		t[slotQKV] = []Targets{TargetQ}
	}
	if !a.Gated() {
		t[slotGateUp] = []Targets{TargetUp}
	} else if len(names.GateUp) == 1 {
		t[slotGateUp] = []Targets{TargetGate}
	}
	return t
}

// adapted is one matrix that an adapter changes: its view, and the rows of the multiply that it has.
type adapted struct {
	View
	lo, hi int
}

// adaptedViews are the matrices that an adapter changes, in the order of Layout.
func adaptedViews(a config.Arch, ad Adapter) (list []adapted) {
	views, _ := Layout(a)
	kinds := targets(a)
	at, row := 0, 0 // of the multiply in progress
	for i, v := range views {
		if i == 0 || views[i-1].slot != v.slot || views[i-1].Block != v.Block {
			at, row = 0, 0
		}
		if all := kinds[v.slot]; v.Block >= 0 && all != nil {
			if all[at]&ad.Targets != 0 {
				list = append(list, adapted{v, row, row + v.Shape[0]})
			}
			at, row = at+1, row+v.Shape[0]
		}
	}
	return list
}

// AdapterLayout returns the tensors of an adapter: A and then B of each matrix, by the names that PEFT gives them.
func AdapterLayout(a config.Arch, ad Adapter) (views []View, total int) {
	for _, t := range adaptedViews(a, ad) {
		name := adapterPrefix + strings.TrimSuffix(t.Name, ".weight")
		for _, part := range []struct {
			name  string
			shape []int
		}{{".lora_A.weight", []int{ad.Rank, t.Shape[1]}}, {".lora_B.weight", []int{t.Shape[0], ad.Rank}}} {
			n, isA := part.shape[0]*part.shape[1], strings.Contains(part.name, "_A.")
			v := View{Name: name + part.name, Shape: part.shape, Lo: total, Hi: total + n, Decay: isA, Kind: t.Kind,
				Block: t.Block, slot: t.slot}
			if !isA {
				v.heads = t.heads
			}
			views = append(views, v)
			total = roundUp(total + n)
		}
	}
	return views, total
}

// ModuleNames are the names of the matrices that targets mean, as PEFT's target_modules has them.
func ModuleNames(a config.Arch, set Targets) (names []string) {
	seen := map[string]bool{}
	for _, t := range adaptedViews(a, Adapter{Rank: 1, Targets: set}) {
		name := strings.TrimSuffix(t.Name, ".weight")
		name = name[strings.LastIndexByte(name, '.')+1:]
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// ParseTargets returns the targets that names mean: those of PEFT for the architecture, or "all".
func ParseTargets(a config.Arch, names []string) (set Targets, err error) {
	for _, name := range names {
		found := name == "all"
		if found {
			set |= AllTargets
		}
		for t := TargetQ; t < AllTargets; t <<= 1 {
			if own := ModuleNames(a, t); len(own) == 1 && own[0] == name {
				set, found = set|t, true
			}
		}
		if !found {
			return 0, fmt.Errorf("an adapter of %s has no target %q; it has %s", a.Shape, name,
				strings.Join(ModuleNames(a, AllTargets), ", "))
		}
	}
	return set, nil
}

// lowRank is an adapter of a model: its parameters and gradients, the weights beside it, and the multiplies by it.
type lowRank[T kernel.Float] struct {
	Adapter
	x      *kernel.Exec
	params *Params[T]
	grads  []T
	blocks []map[slot][]lowMatrix[T]
	u, t   kernel.Mat[T] // (N, Rank) operands: x·Aᵀ and dy·B
	part   []T           // a gradient without the scale
}

// lowMatrix is one matrix W that is changed.
type lowMatrix[T kernel.Float] struct {
	adapted
	a, b   *kernel.Weights[T]
	aw, bw []T // what a and b multiply by
	da, db []T
	w      []T // (out, in) W + Scale·B·A, which the model computes with
	base   []T // W
}

// newLowRank makes the adapter of a model whose parameters are p. With a dry arena it counts memory only.
func newLowRank[T kernel.Float](ar *arena, arch config.Arch, ad Adapter, n int) *lowRank[T] {
	views, total := AdapterLayout(arch, ad)
	l := &lowRank[T]{Adapter: ad, grads: alloc[T](ar, partGrads, total)}
	l.params = newParams(alloc[T](ar, partParams, total), views)
	l.u, l.t = product[T](ar, partBackward, n, ad.Rank), product[T](ar, partBackward, n, ad.Rank)
	l.blocks = make([]map[slot][]lowMatrix[T], arch.Layers)
	part := 0
	for i, t := range adaptedViews(arch, ad) {
		m := lowMatrix[T]{adapted: t, base: alloc[T](ar, partParams, t.Len())}
		if av, bv := views[2*i], views[2*i+1]; !ar.dry {
			m.aw, m.da = l.params.Flat[av.Lo:av.Hi], l.grads[av.Lo:av.Hi]
			m.bw, m.db = l.params.Flat[bv.Lo:bv.Hi], l.grads[bv.Lo:bv.Hi]
			m.a, m.b = newHandle[T](ar, m.aw, av.Shape), newHandle[T](ar, m.bw, bv.Shape)
		}
		part = max(part, ad.Rank*t.Shape[1], ad.Rank*t.Shape[0])
		if l.blocks[t.Block] == nil {
			l.blocks[t.Block] = map[slot][]lowMatrix[T]{}
		}
		l.blocks[t.Block][t.slot] = append(l.blocks[t.Block][t.slot], m)
	}
	l.part = alloc[T](ar, partBackward, part)
	return l
}

// newHandle returns the handle of a small matrix, in the numbers of the mode.
func newHandle[T kernel.Float](ar *arena, w []T, shape []int) *kernel.Weights[T] {
	if ar.bf16 {
		return any(kernel.NewWeightsBF16(float32s(w), shape[0], shape[1])).(*kernel.Weights[T])
	}
	return kernel.NewWeights(w, shape[0], shape[1])
}

// bind tells the adapter of the weights that the model computes with.
func (l *lowRank[T]) bind(x *kernel.Exec, p *Params[T]) {
	l.x = x
	for _, block := range l.blocks {
		for _, list := range block {
			for i := range list {
				list[i].w = p.Flat[list[i].Lo:list[i].Hi]
			}
		}
	}
}

// rebase takes the weights of the model as those beside the adapter.
func (l *lowRank[T]) rebase() {
	for _, block := range l.blocks {
		for _, list := range block {
			for _, m := range list {
				copy(m.base, m.w)
			}
		}
	}
}

// IsAdapter reports whether a file holds an adapter and no model.
func IsAdapter(f *safetensors.File) bool {
	return slices.ContainsFunc(f.Tensors(), func(t safetensors.Tensor) bool {
		return strings.HasPrefix(t.Name,
			adapterPrefix)
	})
}

// CheckAdapter returns what keeps an adapter from being read from f, by name.
func CheckAdapter(a config.Arch, ad Adapter, f *safetensors.File) error {
	views, _ := AdapterLayout(a, ad)
	return checkAdapter(views, f)
}

func checkAdapter(views []View, f *safetensors.File) error {
	var bad family.Faults
	expected := map[string]bool{}
	for _, v := range views {
		expected[v.Name] = true
		if wrong := f.Mismatch(v.Name, v.Shape); wrong != "" {
			bad.Add("%s", wrong)
		}
	}
	for _, t := range f.Tensors() {
		if !expected[t.Name] {
			bad.Add("%s %v is unexpected", t.Name, t.Shape)
		}
	}
	if err := bad.Err(); err != nil {
		return fmt.Errorf("model: load: the adapter does not fit its configuration: %w", err)
	}
	return nil
}

// Merged returns the weights in base with those of an adapter added.
func Merged(a config.Arch, ad Adapter, base, adapter *safetensors.File) *safetensors.File {
	places := map[string]adapted{}
	for _, m := range adaptedViews(a, ad) {
		places[m.Name] = m
	}
	return base.Changed(func(name string, w []float32) error {
		m, ok := places[name]
		for _, prefix := range []string{"model.", "transformer."} { // which files of the bare decoder leave out
			if !ok {
				m, ok = places[prefix+name]
			}
		}
		if !ok {
			return nil
		}
		stem := adapterPrefix + strings.TrimSuffix(m.Name, ".weight")
		out, in, r := m.Shape[0], m.Shape[1], ad.Rank
		low, high := make([]float32, r*in), make([]float32, out*r)
		err := adapter.ReadF32(low, stem+".lora_A.weight")
		if err == nil {
			err = adapter.ReadF32(high, stem+".lora_B.weight")
		}
		if err != nil {
			return err
		}
		row := make([]float64, in) // of B·A
		for o := range out {
			clear(row)
			for k, b := range high[o*r : (o+1)*r] {
				for c, a := range low[k*in : (k+1)*in] {
					row[c] += float64(b) * float64(a)
				}
			}
			for c, sum := range row {
				at := o*in + c
				if m.conv1D {
					at = c*out + o
				}
				w[at] += float32(ad.Scale * sum)
			}
		}
		return nil
	})
}

// Load overwrites the parameters by those of a file: an adapter's by an adapter, else all of the model, beside which
// the adapter stays. See LoadEntries. The caller refreshes the model.
func (m *Model[T]) Load(f *safetensors.File) error {
	if m.adapter == nil || !IsAdapter(f) {
		err := LoadEntries(any(m.params).(*Params[float32]), f)
		m.Rebase()
		return err
	}
	views := m.adapter.params.Views
	err := checkAdapter(views, f)
	for _, v := range views {
		if err == nil {
			err = v.read(f, float32s(m.adapter.params.Flat[v.Lo:v.Hi]), v.Name)
		}
	}
	return err
}

// Init sets A to numbers that are uniform within ±1/√in, and B to zero, so that the model is as it was.
//
// Source: PEFT, after torch.nn.init.kaiming_uniform_ with a = √5.
func (l *lowRank[T]) Init(pool *par.Pool, seed uint64) {
	base := rng.New(seed, rng.Init)
	for i, v := range l.params.Views {
		dst := l.params.Flat[v.Lo:v.Hi]
		if clear(dst); i%2 == 0 {
			key, most := base.Sub(uint64(i)).Sub(1), 1/math.Sqrt(float64(v.Shape[1]))
			for j := range dst {
				dst[j] = T((2*key.Float64(uint64(j)) - 1) * most)
			}
		}
	}
}

// merge renews the weights that the model computes with: W + Scale·B·A.
func (l *lowRank[T]) merge() {
	for _, block := range l.blocks {
		for _, list := range block {
			for _, m := range list {
				l.x.Pool().Do(m.Shape[0], 16, &merging[T]{l, m})
				m.a.Refresh(l.x)
				m.b.Refresh(l.x)
			}
		}
	}
}

// merging is the loop of merge over the rows of a matrix.
type merging[T kernel.Float] struct {
	*lowRank[T]
	lowMatrix[T]
}

func (l *merging[T]) Part(worker, lo, hi int) {
	in, r := l.Shape[1], l.Rank
	copy(l.w[lo*in:hi*in], l.base[lo*in:hi*in])
	kernel.Gemm(l.x, worker, false, false, hi-lo, in, r, T(l.Scale), l.bw[lo*r:], r, l.aw, in, 1, l.w[lo*in:], in)
}

// backWeight adds the gradients of A and B for a multiply of a block: dB += Scale·dyᵀ·(x·Aᵀ), dA += Scale·(dy·B)ᵀ·x.
//
// Shapes: dy (n, out of the multiply), src (n, in).
func (l *lowRank[T]) backWeight(block int, s slot, dy, src kernel.Mat[T], n int) {
	for _, m := range l.blocks[block][s] {
		part := dy.Columns(m.lo, m.hi)
		m.a.Forward(l.x, l.u, src, n)
		m.b.BackInput(l.x, l.t, part, n)
		l.add(m.db, func(dw []T) { m.b.BackWeight(l.x, dw, part, l.u, n) })
		l.add(m.da, func(dw []T) { m.a.BackWeight(l.x, dw, l.t, src, n) })
	}
}

// add adds Scale times a gradient to dw.
func (l *lowRank[T]) add(dw []T, gradient func(dw []T)) {
	part := l.part[:len(dw)]
	clear(part)
	gradient(part)
	kernel.Axpy(l.x, dw, T(l.Scale), part)
}

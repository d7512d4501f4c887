package param

import (
	"hash/fnv"
	"math"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/memory"
	"gimbal/internal/par"
	"gimbal/internal/rng"
)

// Params is the parameters of a model: one flat slice, 64-byte aligned, whose gaps between tensors stay zero.
type Params[T kernel.Float] struct {
	Flat  []T
	Views []View
	index map[string]int
}

// New allocates the parameters of an architecture, all zero.
func New[T kernel.Float](a config.Arch) *Params[T] {
	return NewTrained[T](a, Adapter{})
}

// NewTrained allocates the parameters that training changes, all zero.
func NewTrained[T kernel.Float](a config.Arch, ad Adapter) *Params[T] {
	views, total := TrainedLayout(a, ad)
	return NewIn(memory.Aligned[T](total), views)
}

// NewIn returns parameters that lie in flat, which has the layout of views.
func NewIn[T kernel.Float](flat []T, views []View) *Params[T] {
	p := &Params[T]{Flat: flat, Views: views, index: make(map[string]int, len(views))}
	for i, v := range views {
		p.index[v.Name] = i
	}
	return p
}

// Lookup finds a view by name.
func (p *Params[T]) Lookup(name string) (View, bool) {
	i, ok := p.index[name]
	if !ok {
		return View{}, false
	}
	return p.Views[i], true
}

// Tensor returns the elements of a named tensor, nil if there is none.
func (p *Params[T]) Tensor(name string) []T {
	v, ok := p.Lookup(name)
	if !ok {
		return nil
	}
	return p.Flat[v.Lo:v.Hi:v.Hi]
}

// FirstNonFinite returns the first tensor that holds a NaN or an infinity, the index inside the tensor and the value.
// flat has the layout of the parameters: it may be gradients or moments. found is false if all elements are finite.
func (p *Params[T]) FirstNonFinite(flat []T) (name string, index int, value float64, found bool) {
	for _, v := range p.Views {
		for i, e := range flat[v.Lo:v.Hi] {
			if e-e != 0 {
				return v.Name, i, float64(e), true
			}
		}
	}
	return "", 0, 0, false
}

// Init sets the initial weights: N(0, 0.02²), with the projections that write to the residual stream divided by
// √(2·layers); gains are 1 and biases 0. Each tensor has its own random stream, keyed by its name.
//
// Source: Radford et al. 2019 (GPT-2), section 2.3.
func (p *Params[T]) Init(pool *par.Pool, layers int, seed uint64) {
	base := rng.New(seed, rng.Init)
	for _, v := range p.Views {
		dst := p.Flat[v.Lo:v.Hi]
		switch v.Kind {
		case KindNorm:
			for i := range dst {
				if dst[i] = 1; v.Unit {
					dst[i] = 0
				}
			}
		case KindBias:
			clear(dst)
		default:
			std := 0.02
			if v.Kind == KindO || v.Kind == KindDown {
				std /= math.Sqrt(2 * float64(layers))
			}
			h := fnv.New64a()
			h.Write([]byte(v.Name))
			pool.Do(len(dst), 1024, &normalFill[T]{dst, base.Sub(h.Sum64()), std})
		}
	}
}

type normalFill[T kernel.Float] struct {
	dst []T
	key rng.Key
	std float64
}

func (f *normalFill[T]) Part(_, lo, hi int) {
	for i := lo; i < hi; i++ {
		f.dst[i] = T(f.key.Normal(uint64(i)) * f.std)
	}
}

// ScaleBlock multiplies the matrices of a block by factor. Call Refresh of the model after it.
func (p *Params[T]) ScaleBlock(block int, factor float64) {
	for _, v := range p.Views {
		if v.Block == block && len(v.Shape) == 2 {
			for i := v.Lo; i < v.Hi; i++ {
				p.Flat[i] = T(float64(p.Flat[i]) * factor)
			}
		}
	}
}

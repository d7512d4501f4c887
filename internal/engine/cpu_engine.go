package engine

import (
	"fmt"
	"slices"

	"gimbal/internal/generate"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/safetensors"
)

// cpuEngine is the engine on CPUs. All its memory is allocated when it is opened.
type cpuEngine struct {
	model *model.Model[float32]
	adam  *optim.AdamW[float32] // nil: for passes without gradient only
	info  Info

	passes passes    // since Discard
	report *reporter // memory of Propose; nil as adam is
	probe  *prober   // memory of passes with Probe
	plants []model.PlantedFault
}

// Info implements Engine.
func (e *cpuEngine) Info() Info { return e.info }

// Init implements Engine.
func (e *cpuEngine) Init(seed uint64) error {
	e.model.Init(seed)
	if e.adam != nil {
		clear(e.adam.M)
		clear(e.adam.V)
	}
	e.Discard()
	return nil
}

// Names of the slots: PyTorch's.
const (
	firstMoment  = "exp_avg."
	secondMoment = "exp_avg_sq."
)

// Get implements Engine.
func (e *cpuEngine) Get() (s Snapshot, err error) {
	p := e.model.Params()
	if err := e.finite("weight", p.Flat); err != nil {
		return s, err
	}
	if e.adam != nil {
		if err := e.finite("first moment of", e.adam.M); err != nil {
			return s, err
		}
		if err := e.finite("second moment of", e.adam.V); err != nil {
			return s, err
		}
		for _, v := range p.Views {
			s.Slots = append(s.Slots,
				safetensors.Entry{Name: firstMoment + v.Name, Shape: v.Shape, Data: e.adam.M[v.Lo:v.Hi]},
				safetensors.Entry{Name: secondMoment + v.Name, Shape: v.Shape, Data: e.adam.V[v.Lo:v.Hi]})
		}
	}
	s.Params = model.Entries(p)
	return s, nil
}

// finite returns a *NonFiniteError for the first of values, laid out as the parameters, that is not finite.
func (e *cpuEngine) finite(what string, values []float32) error {
	if name, index, value, bad := e.model.Params().FirstNonFinite(values); bad {
		return &NonFiniteError{what, Element{name, index, value}}
	}
	return nil
}

// Set implements Engine. An error while reading leaves parameters and slots partly overwritten.
func (e *cpuEngine) Set(params, slots Tensors) error {
	p := e.model.Params()
	if slots != nil {
		if err := e.checkSlots(slots); err != nil {
			return err
		}
	}
	if err := model.LoadEntries(p, params); err != nil {
		return err
	}
	if slots != nil {
		for _, v := range p.Views {
			if err := slots.ReadF32(e.adam.M[v.Lo:v.Hi], firstMoment+v.Name); err != nil {
				return err
			}
			if err := slots.ReadF32(e.adam.V[v.Lo:v.Hi], secondMoment+v.Name); err != nil {
				return err
			}
		}
	}
	e.model.Refresh()
	e.Discard()
	return nil
}

// checkSlots returns what keeps the slots from being read from f.
func (e *cpuEngine) checkSlots(f Tensors) error {
	if e.adam == nil {
		panic("engine: slots for an engine without an optimizer")
	}
	for _, v := range e.model.Params().Views {
		for _, prefix := range []string{firstMoment, secondMoment} {
			t, ok := f.Lookup(prefix + v.Name)
			switch {
			case !ok:
				return fmt.Errorf("engine: the state of the optimizer lacks %s%s", prefix, v.Name)
			case !slices.Equal(t.Shape, v.Shape):
				return fmt.Errorf("engine: %s%s has shape %v, the model asks for %v", prefix, v.Name, t.Shape, v.Shape)
			case !t.Float():
				return fmt.Errorf("engine: %s%s has dtype %s, not F32, BF16, F16 or F64", prefix, v.Name, t.DType)
			}
		}
	}
	return nil
}

// readAtOnce is the tokens of prompts that a decoder computes at once.
const readAtOnce = 1024

// Decoder implements Engine. The decoder shares the engine's parameters: it and the engine are used one at a time.
func (e *cpuEngine) Decoder(rows, capacity int) (generate.Decoder, error) {
	d, err := e.model.Decoder(model.DecoderOptions{Tokens: readAtOnce, Rows: rows})
	if err != nil {
		return nil, err
	}
	return model.NewWriter(d, rows, capacity), nil
}

// Close implements Engine: its memory can be collected afterwards.
func (e *cpuEngine) Close() error {
	*e = cpuEngine{}
	return nil
}

package engine

import (
	"fmt"

	"gimbal/internal/generate"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/safetensors"
)

// cpuEngine is the Engine, and Planter, on CPUs. All its memory is allocated when it is opened.
type cpuEngine struct {
	model *model.Model[float32]
	adam  *optim.AdamW[float32] // nil: for passes without gradient only
	info  Info

	passes passes            // since Discard
	report Report            // memory for lists in reports
	probe  *model.ProbeStats // memory of passes with Probe
	plants []model.Plant
}

func (e *cpuEngine) Info() Info { return e.info }

func (e *cpuEngine) Init(seed uint64) error {
	e.model.Init(seed)
	for _, s := range e.slots() {
		clear(s.Data)
	}
	e.Discard()
	return nil
}

// slots returns the optimizer's slots under PyTorch's names. It shares their memory.
func (e *cpuEngine) slots() (list []safetensors.Entry) {
	if e.adam == nil {
		return nil
	}
	for _, v := range e.model.Params().Views {
		list = append(list,
			safetensors.Entry{Name: "exp_avg." + v.Name, Shape: v.Shape, Data: e.adam.M[v.Lo:v.Hi]},
			safetensors.Entry{Name: "exp_avg_sq." + v.Name, Shape: v.Shape, Data: e.adam.V[v.Lo:v.Hi]})
	}
	return list
}

func (e *cpuEngine) Get() (s Snapshot, err error) {
	p := e.model.Params()
	check := func(what string, values []float32) { // values are laid out as the parameters
		if name, index, value, bad := p.FirstNonFinite(values); bad && err == nil {
			err = fmt.Errorf("engine: %s %s[%d] is %v", what, name, index, value)
		}
	}
	check("weight", p.Flat)
	if e.adam != nil {
		check("first moment of", e.adam.M)
		check("second moment of", e.adam.V)
	}
	if err != nil {
		return s, err
	}
	return Snapshot{Params: model.Entries(p), Slots: e.slots()}, nil
}

// Set leaves parameters and slots partly overwritten if reading fails.
func (e *cpuEngine) Set(params, slots *safetensors.File) error {
	var own []safetensors.Entry // the slots to overwrite
	if slots != nil {
		if own = e.slots(); own == nil {
			panic("engine: slots for an engine without an optimizer")
		}
	}
	for _, s := range own {
		if wrong := slots.Mismatch(s.Name, s.Shape); wrong != "" {
			return fmt.Errorf("engine: the state of the optimizer does not fit the model: %s", wrong)
		}
	}
	if err := model.LoadEntries(e.model.Params(), params); err != nil {
		return err
	}
	for _, s := range own {
		if err := slots.ReadF32(s.Data, s.Name); err != nil {
			return err
		}
	}
	e.model.Refresh()
	e.Discard()
	return nil
}

// promptTokens is how many tokens of prompts a decoder computes at once.
const promptTokens = 1024

// Decoder returns a decoder that shares the engine's parameters: use one of the two at a time.
func (e *cpuEngine) Decoder(rows, capacity int) (generate.Decoder, error) {
	d, err := e.model.Decoder(model.DecoderOptions{Tokens: promptTokens, Rows: rows})
	if err != nil {
		return nil, err
	}
	return model.NewWriter(d, rows, capacity), nil
}

// Close drops all memory, so that it can be collected.
func (e *cpuEngine) Close() error {
	*e = cpuEngine{}
	return nil
}

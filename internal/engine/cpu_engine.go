package engine

import (
	"fmt"

	"gimbal/internal/generate"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/param"
	"gimbal/internal/safetensors"
)

// cpuEngine is the Engine, and Planter, on CPUs. All its memory is allocated when it is opened.
type cpuEngine struct {
	model *model.Model[float32]
	opt   *optim.Optimizer[float32] // nil: for passes without gradient only
	info  Info

	passes passes            // since Discard
	report Report            // memory for lists in reports
	probe  *model.ProbeStats // memory of passes with Probe
	plants []model.PlantedFault
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
	if e.opt == nil {
		return nil
	}
	for i, v := range e.model.Trained().Views {
		for _, s := range e.opt.States(i) {
			list = append(list, safetensors.Entry{Name: s.Name + "." + v.Name, Shape: v.Shape, Data: s.Data})
		}
	}
	return list
}

func (e *cpuEngine) Get() (Snapshot, error) { return Checked(e.model.Trained(), e.slots()) }

// Checked is parameters and slots as a snapshot. It fails if one of them is not finite.
func Checked(p *param.Params[float32], slots []safetensors.Entry) (s Snapshot, err error) {
	if err := Finite(p); err != nil {
		return s, err
	}
	for _, slot := range slots {
		for i, value := range slot.Data {
			if value-value != 0 {
				return s, fmt.Errorf("engine: slot %s[%d] is %v", slot.Name, i, value)
			}
		}
	}
	return Snapshot{Params: param.Entries(p), Slots: slots}, nil
}

// Finite returns an error if a parameter is not finite.
func Finite(p *param.Params[float32]) error {
	if name, index, value, bad := p.FirstNonFinite(p.Flat); bad {
		return fmt.Errorf("engine: weight %s[%d] is %v", name, index, value)
	}
	return nil
}

// Set leaves parameters and slots partly overwritten if reading fails.
func (e *cpuEngine) Set(params, slots *safetensors.File) error {
	var own []safetensors.Entry // the slots to overwrite
	if slots != nil {
		if own = e.slots(); own == nil {
			panic("engine: slots for an engine without an optimizer")
		}
	}
	err := Restore(own, slots, func() error {
		if err := e.model.Load(params); err != nil {
			return err
		}
		return Finite(e.model.Trained())
	})
	if err != nil {
		return err
	}
	e.model.Refresh()
	e.Discard()
	return nil
}

// Restore overwrites the slots own by those of a file that fits them, after load has overwritten the parameters.
func Restore(own []safetensors.Entry, slots *safetensors.File, load func() error) error {
	for _, s := range own {
		if wrong := slots.Mismatch(s.Name, s.Shape); wrong != "" {
			return fmt.Errorf("engine: the state of the optimizer does not fit the model: %s", wrong)
		}
	}
	if err := load(); err != nil {
		return err
	}
	for _, s := range own {
		if err := slots.ReadF32(s.Data, s.Name); err != nil {
			return err
		}
	}
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

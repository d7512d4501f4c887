package gimbal

import (
	"context"
	"errors"

	"gimbal/internal/config"
	"gimbal/internal/device"
	"gimbal/internal/engine"
	"gimbal/internal/generate"
	"gimbal/internal/hub"
)

// onDevice is a model on accelerators.
type onDevice struct {
	opener engine.Opener
	engine engine.Engine
	idle   map[[2]int][]generate.Decoder // by rows and capacity: made once, for the calls that follow
}

// openDevice opens a model on the device that the options name; nil: auto found none.
func openDevice(c *hub.Model, opt OpenOptions) (d *onDevice, err error) {
	numeric := config.Default().Numeric
	numeric.Device = opt.Device
	o, err := device.Choose(context.Background(), numeric, opt.Workers, func(string, ...any) {})
	if err != nil {
		return nil, err
	}
	defer func() {
		if d == nil {
			o.Close()
		}
	}()
	hw := o.Hardware()
	switch {
	case hw.Device == "":
		return nil, nil
	case opt.Weights != "":
		return nil, errors.New("gimbal: OpenOptions.Weights is for the CPU")
	}
	spec := engine.Spec{Arch: c.Arch, MicroTokens: min(c.Arch.Context, longestPiece), Checkpointing: "block",
		Mode:    "fp32",
		Forward: true}
	if hw.FasterBF16 {
		spec.Mode = "bf16"
	}
	e, err := o.Open(spec)
	if err != nil {
		return nil, err
	}
	if err := e.Set(c.Model(), nil); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return &onDevice{o, e, map[[2]int][]generate.Decoder{}}, nil
}

// decoder returns a decoder of at least that many rows and positions. A program is compiled for both, so they are
// rounded up.
func (d *onDevice) decoder(rows, capacity int) (generate.Decoder, error) {
	size := [2]int{1, 64}
	for size[0] < rows {
		size[0] *= 2
	}
	for size[1] < capacity {
		size[1] *= 2
	}
	size[1] = min(size[1], d.engine.Info().Arch.Context)
	if list := d.idle[size]; len(list) > 0 {
		d.idle[size] = list[:len(list)-1]
		return list[len(list)-1], nil
	}
	return d.engine.Decoder(size[0], size[1])
}

// giveBack forgets the texts of a decoder and keeps it for another call.
func (d *onDevice) giveBack(w generate.Decoder) {
	for row := range w.Rows() {
		w.Truncate(row, 0)
	}
	size := [2]int{w.Rows(), w.Capacity()}
	d.idle[size] = append(d.idle[size], w)
}

func (d *onDevice) close() {
	d.engine.Close()
	d.opener.Close()
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"

	"gimbal/internal/bench"
	"gimbal/internal/config"
	"gimbal/internal/device"
	"gimbal/internal/runs"
)

// deviceCmd lists accelerators and tests them.
type deviceCmd struct {
	List  deviceListCmd  `cmd:"" default:"withargs" help:"List plugins, their devices, and what to install."`
	Check deviceCheckCmd `cmd:"" help:"Test a device, and compare it with the CPU."`
}

type deviceListCmd struct {
	Plugin string `help:"Only the plugin at a path." placeholder:"PATH"`
	JSON   bool   `name:"json" help:"Print the plugins as JSON."`
}

func (c *deviceListCmd) Run(e *env) error {
	list := bench.Plugins(e.ctx, c.Plugin)
	if c.JSON {
		return printJSON(e.stdout, list)
	}
	for _, p := range list {
		printPlugin(e.stdout, p)
	}
	if len(list) > 0 {
		return nil
	}
	fmt.Fprint(e.stdout, "no accelerator was found, so the CPU computes; looked in\n")
	for _, place := range device.Places() {
		fmt.Fprintf(e.stdout, "  %s\n", runs.Escape(place))
	}
	fmt.Fprintln(e.stdout, "install one of")
	for _, kind := range device.Kinds[:4] { // the last is for tests
		fmt.Fprintf(e.stdout, "  %s\n", kind.Install)
	}
	return nil
}

// printPlugin prints a plugin in a few lines.
func printPlugin(w io.Writer, p bench.Plugin) {
	fmt.Fprintf(w, "%-7s %s\n", cmp.Or(p.Platform, p.Kind, "unknown"), runs.Escape(p.Path))
	if p.Error != "" {
		fmt.Fprintf(w, "        does not work: %s\n", runs.Escape(p.Error))
		return
	}
	fmt.Fprintf(w, "        version %s, interface %s\n", runs.Escape(p.Version), runs.Escape(p.API))
	for i, d := range p.Devices {
		memory := "memory unknown"
		if d.Memory > 0 {
			memory = runs.Size(d.Memory)
		}
		fmt.Fprintf(w, "        device %d: %s, %s\n", i, runs.Escape(d.Name), memory)
	}
}

type deviceCheckCmd struct {
	Device  string `default:"auto" help:"Which, as for train. Default: the first accelerator." placeholder:"NAME|PATH"`
	Devices int    `help:"Devices that compute together. Default: all there are." placeholder:"N"`
	JSON    bool   `name:"json" help:"Print what was found as JSON."`
}

// Help implements kong.HelpProvider.
func (*deviceCheckCmd) Help() string {
	return `Compares the multiplies of a device with plain Go, and a gradient and an update of a small model of every
family with those of the CPU engine. Attention that differs from plain attention is named, and not used. The exit code is
1 if something differs, 2 if there is no such device, 6 if it was lost.`
}

func (c *deviceCheckCmd) Run(e *env) error {
	const row = "%-6s %-5s %10s %10s %10s  %s\n"
	small := func(x float64) string { return fmt.Sprintf("%.1e", x) }
	begun := false
	r, err := bench.CheckDevice(e.ctx, config.Numeric{Device: c.Device, Devices: c.Devices}, func(p bench.Parity) {
		if c.JSON {
			return
		}
		if !begun {
			fmt.Fprintf(e.stdout, row, "family", "mode", "loss", "gradient", "update", "")
		}
		begun = true
		verdict := "ok"
		if !p.OK {
			verdict = fmt.Sprintf("too far: %s, limit %.0e", p.Tensor, p.Limit)
		}
		fmt.Fprintf(e.stdout, row, p.Shape, p.Mode, small(p.Loss), small(p.Gradient), small(p.Update), verdict)
	})
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(e.stdout, r)
	} else {
		printPlugin(e.stdout, r.Plugin)
		for _, note := range append(r.Notes, r.Multiplies...) {
			fmt.Fprintln(e.stdout, runs.Escape(note))
		}
	}
	if err == nil && !r.OK {
		return errors.New("the device computes otherwise than the CPU: do not train on it")
	}
	return err
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"gimbal/internal/bench"
	"gimbal/internal/config"
	"gimbal/internal/device"
	"gimbal/internal/engine"
	"gimbal/internal/runs"
)

// deviceCmd lists accelerators and tests them.
type deviceCmd struct {
	List  deviceListCmd  `cmd:"" default:"withargs" help:"List plugins and their devices, where they were looked for, and what to install."`
	Check deviceCheckCmd `cmd:"" help:"Test a device, and compare it with the CPU."`
}

// pluginInfo is a plugin and its devices, as JSON has them.
type pluginInfo struct {
	Kind     string       `json:"kind"` // cuda, rocm, oneapi, tpu or cpu
	Path     string       `json:"path"`
	Platform string       `json:"platform,omitempty"`
	Version  string       `json:"version,omitempty"`
	API      string       `json:"interface,omitempty"`
	Devices  []deviceInfo `json:"devices,omitempty"`
	Error    string       `json:"error,omitempty"` // why it does not work; empty: it does
}

type deviceInfo struct {
	Name   string `json:"name"`
	Memory int64  `json:"memory_bytes"` // 0: unknown
}

// describe describes a plugin that was loaded.
func describe(p device.Plugin) pluginInfo {
	r := pluginInfo{Kind: device.KindOf(p.Path), Path: p.Path, Platform: p.Platform, Version: p.Version, API: p.API}
	for _, d := range p.Devices {
		r.Devices = append(r.Devices, deviceInfo{d.Kind, d.Memory})
	}
	return r
}

// print prints a plugin in a few lines.
func (r pluginInfo) print(w io.Writer) {
	fmt.Fprintf(w, "%-7s %s\n", cmp.Or(r.Platform, r.Kind), runs.Escape(r.Path))
	if r.Error != "" {
		fmt.Fprintf(w, "        does not work: %s\n", runs.Escape(r.Error))
		return
	}
	fmt.Fprintf(w, "        version %s, interface %s\n", runs.Escape(r.Version), runs.Escape(r.API))
	for i, d := range r.Devices {
		memory := "memory unknown"
		if d.Memory > 0 {
			memory = runs.Size(d.Memory)
		}
		fmt.Fprintf(w, "        device %d: %s, %s\n", i, runs.Escape(d.Name), memory)
	}
}

// deviceCheck is what a check of a device found.
type deviceCheck struct {
	pluginInfo
	Multiplies []string       `json:"multiplies"` // what is wrong with them; empty: nothing
	Parity     []bench.Parity `json:"parity"`
	Notes      []string       `json:"notes"`
	OK         bool           `json:"ok"`
}

type deviceListCmd struct {
	Device string `help:"Only this kind, or the plugin at a path." placeholder:"NAME|PATH"`
	JSON   bool   `name:"json" help:"Print the plugins as JSON."`
}

func (c *deviceListCmd) Run(e *env) error {
	found := device.Find(true)
	if filepath.Base(c.Device) != c.Device && c.Device != "" {
		found = []device.Found{{Path: c.Device, Kind: device.KindOf(c.Device)}}
	}
	var rows []pluginInfo
	for _, f := range found {
		if c.Device != "" && c.Device != f.Kind && c.Device != f.Path {
			continue
		}
		row := pluginInfo{Kind: f.Kind, Path: f.Path}
		s, _, err := device.Start(e.ctx, config.Numeric{Device: f.Path}, "")
		if err == nil {
			row = describe(s.Plugin())
			err = s.Close()
		}
		if err != nil {
			row.Error = err.Error()
		}
		rows = append(rows, row)
	}
	if c.JSON {
		return printJSON(e.stdout, rows)
	}
	for _, r := range rows {
		r.print(e.stdout)
	}
	if len(rows) == 0 {
		fmt.Fprint(e.stdout, "no accelerator was found, so the CPU computes; looked in\n")
		for _, place := range device.Places(true) {
			fmt.Fprintf(e.stdout, "  %s\n", runs.Escape(place))
		}
		fmt.Fprintln(e.stdout, "install one of")
		for _, kind := range device.Kinds()[:4] { // the last is for tests
			fmt.Fprintf(e.stdout, "  %s\n", device.Install(kind))
		}
	}
	return nil
}

type deviceCheckCmd struct {
	Device  string `default:"auto" help:"Which: cuda, rocm, oneapi, tpu, or a plugin. Default: the first accelerator." placeholder:"NAME|PATH"`
	Devices int    `help:"Devices that compute together. Default: all there are." placeholder:"N"`
	JSON    bool   `name:"json" help:"Print what was found as JSON."`
}

// Help implements kong.HelpProvider.
func (*deviceCheckCmd) Help() string {
	return `Compares the multiplies of a device with plain Go, and a gradient and an update of a small model of every family
with those of the CPU engine. Attention that does not agree with plain attention is told and not used. Exit code 1 says
that something differs, 2 that there is no such device, 6 that it was lost.`
}

func (c *deviceCheckCmd) Run(e *env) error {
	s, with, err := device.Start(e.ctx, config.Numeric{Device: c.Device, Devices: c.Devices}, "")
	if err != nil {
		return err
	}
	r := deviceCheck{pluginInfo: describe(s.Plugin()), OK: true}
	with.Note = func(format string, args ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, args...)) }
	o := device.New(s, with)
	defer o.Close()
	cpu, err := engine.CPU(0)
	if err != nil {
		return err
	}
	defer cpu.Close()
	if !c.JSON {
		r.print(e.stdout)
		fmt.Fprintf(e.stdout, "\n%-6s %-5s %10s %10s %10s  %s\n", "shape", "mode", "loss", "gradient", "update", "")
	}
	for _, mode := range []string{"fp32", "bf16"} {
		wrong := o.SelfTest(bench.ParitySpec(mode))
		if wrong != "" {
			r.Multiplies, r.OK = append(r.Multiplies, wrong), false
		}
		err := bench.CompareEngines(e.ctx, cpu, o, mode, func(p bench.Parity) {
			r.Parity, r.OK = append(r.Parity, p), r.OK && p.OK
			if c.JSON {
				return
			}
			verdict := "ok"
			if !p.OK {
				verdict = fmt.Sprintf("too far: %s, limit %.0e", p.Tensor, p.Limit)
			}
			fmt.Fprintf(e.stdout, "%-6s %-5s %10.1e %10.1e %10.1e  %s\n", p.Shape, p.Mode, p.Loss, p.Gradient, p.Update, verdict)
		})
		if err != nil {
			return err
		}
	}
	if c.JSON {
		err = printJSON(e.stdout, r)
	} else {
		for _, note := range append(r.Notes, r.Multiplies...) {
			fmt.Fprintln(e.stdout, runs.Escape(note))
		}
	}
	if err == nil && !r.OK {
		return errors.New("the device computes otherwise than the CPU: do not train on it")
	}
	return err
}

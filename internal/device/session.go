// Package device trains and runs a model on accelerators: an engine.Engine over programs of package graph. A process
// of its own, gimbal-device, loads the plugin of the vendor and owns the devices; what fails there ends that process
// and not the run.
package device

import (
	"context"

	"gimbal/internal/graph"
)

// Session is a process that owns devices, and what lies on them. Calls are made one at a time.
//
// An error of the process itself, and of a device that is lost, wraps ErrLost: close the session and open another. That
// of a device without enough memory wraps ErrMemory. Where ctx ends, Compile returns at once; the other calls do not
// begin, or end as they would.
type Session interface {
	// Plugin describes the plugin and its devices.
	Plugin() Plugin
	// Compile compiles a program, or takes it from the cache of programs.
	Compile(ctx context.Context, p graph.Program) (*Executable, error)
	// Upload makes an array. data holds one part after the other, a part of the shape for each of devices; or one part,
	// which every device gets.
	Upload(ctx context.Context, shape graph.Shape, devices int, data []byte) (Array, error)
	// Run runs a program on its arrays and returns the results, which may not be there yet: a later Fetch waits for
	// them, and returns the error of a run that failed. The donated arrays are gone.
	Run(ctx context.Context, p *Executable, in []Array) (out []Array, err error)
	// Fetch copies the part of one device to dst, which has its length.
	Fetch(ctx context.Context, a Array, device int, dst []byte) error
	// Free gives arrays back. Those that are gone are left out.
	Free(a ...Array) error
	// Close ends the process.
	Close() error
}

// Meter is a Session that knows the memory of its devices, as that of Open does.
type Meter interface {
	// Usage returns the memory of each device. It is zero where the plugin does not know.
	Usage(ctx context.Context) ([]Usage, error)
}

// Usage is the memory of a device in bytes: what is in use, and the most that was.
type Usage struct{ Used, Peak int64 }

// Array is a value on the devices: a part of its shape on each.
type Array struct {
	ID int64 // 0: none
	graph.Shape
}

// Executable is a program that was compiled for the devices of a session.
type Executable struct {
	ID int64
	graph.Program
	Memory Footprint
	Cached bool // not compiled by this session
}

// Footprint is the memory of a compiled program on each device, in bytes.
type Footprint struct {
	Code, In, Out, Shared, Temporary int64 // Shared: of results in the memory of inputs
}

// Peak is the memory that a run of the program takes.
func (f Footprint) Peak() int64 { return f.Code + f.In + f.Out - f.Shared + f.Temporary }

// Plugin describes a plugin and its devices.
type Plugin struct {
	Path     string
	Platform string // such as cpu or cuda
	Version  string
	API      string // version of the interface
	Devices  []Device
}

// Device is one accelerator.
type Device struct {
	Kind   string // such as NVIDIA H100 80GB HBM3
	Memory int64  // bytes that can be allocated; 0: unknown
}

//go:build linux

package pjrt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Executable is a compiled program on the first devices of a client.
type Executable struct {
	Devices        int
	client         *Client
	loaded, handle uintptr
	results        int
}

// compileOptions is a CompileOptionsProto: replica i of the program runs on the device with the i-th of ids.
func compileOptions(ids []int64) []byte {
	field := func(b []byte, n byte, v uint64) []byte { return binary.AppendUvarint(append(b, n<<3), v) }
	nested := func(b []byte, n byte, message []byte) []byte {
		return append(binary.AppendUvarint(append(b, n<<3|2), uint64(len(message))), message...)
	}
	var devices []byte // DeviceAssignmentProto.ComputationDevice
	for _, id := range ids {
		devices = field(devices, 1, uint64(id))
	}
	n := uint64(len(ids))
	assignment := nested(field(field(nil, 1, n), 2, 1), 3, devices)
	build := field(nil, 1, 1<<64-1) // device_ordinal -1
	build = field(field(build, 4, n), 5, 1)
	return nested(nil, 3, nested(build, 9, assignment))
}

// program is PJRT_Program.
type program struct {
	head
	code, format span
}

func mlir(pin *runtime.Pinner, text []byte) unsafe.Pointer {
	p := &program{code: pinned(pin, text), format: pinned(pin, []byte("mlir"))}
	p.size = unsafe.Sizeof(*p)
	pin.Pin(p)
	return unsafe.Pointer(p)
}

// Compile compiles StableHLO text for the first devices of the client.
func (c *Client) Compile(text []byte, devices int) (*Executable, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	ids := make([]int64, devices)
	for i := range ids {
		ids[i] = c.devices[i].id
	}
	a := struct {
		head
		client  uintptr
		program unsafe.Pointer
		options span
		loaded  uintptr
	}{client: c.handle, program: mlir(&pin, text), options: pinned(&pin, compileOptions(ids))}
	if err := call(c.plugin, "Client_Compile", &a); err != nil {
		return nil, err
	}
	return c.executable(a.loaded, devices)
}

// Deserialize loads what Serialize returned, for as many devices.
func (c *Client) Deserialize(data []byte, devices int) (*Executable, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := struct {
		head
		client uintptr
		data   span
		loaded uintptr
		_      span
	}{client: c.handle, data: pinned(&pin, data)}
	if err := call(c.plugin, "Executable_DeserializeAndLoad", &a); err != nil {
		return nil, err
	}
	return c.executable(a.loaded, devices)
}

func (c *Client) executable(loaded uintptr, devices int) (*Executable, error) {
	handle, err1 := ask[uintptr](c.plugin, "LoadedExecutable_GetExecutable", loaded)
	results, err2 := ask[uintptr](c.plugin, "Executable_NumOutputs", handle)
	return &Executable{devices, c, loaded, handle, int(results)}, errors.Join(err1, err2)
}

// Serialize returns the compiled program for Deserialize. Some plugins cannot.
func (e *Executable) Serialize() ([]byte, error) {
	a, err := ask[struct {
		data          text
		backing, free uintptr
	}](e.client.plugin, "Executable_Serialize", e.handle)
	if err != nil {
		return nil, err
	}
	data := bytes.Clone(a.data.bytes())
	if a.free != 0 {
		purego.SyscallN(a.free, a.backing)
	}
	return data, nil
}

// Memory is the memory of a compiled program on one device, in bytes. Shared is of results in the memory of inputs.
type Memory struct{ Code, In, Out, Shared, Temporary int64 }

// Memory returns the memory that the program takes. Some plugins cannot.
func (e *Executable) Memory() (Memory, error) { return e.client.plugin.memory(e.handle) }

func (p *Plugin) memory(executable uintptr) (Memory, error) {
	a, err := ask[struct {
		Memory
		_ [7]int64 // of the host, peaks
	}](p, "Executable_GetCompiledMemoryStats", executable)
	return a.Memory, err
}

// Execute runs the program. in has a list of arguments for each device, and the result a list of results. It does not
// wait for the run: its error may be that of a later Fetch. Donated arguments are gone, but still to be freed.
func (e *Executable) Execute(in [][]Buffer) ([][]Buffer, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	out := make([][]Buffer, e.Devices)
	args, results := make([]unsafe.Pointer, e.Devices), make([]unsafe.Pointer, e.Devices)
	for i := range out {
		out[i] = make([]Buffer, e.results)
		args[i], results[i] = pinned(&pin, in[i]).p, pinned(&pin, out[i]).p
	}
	options := &struct { // PJRT_ExecuteOptions: nothing is wanted
		head
		_ [12]uintptr
	}{}
	options.size = unsafe.Sizeof(*options)
	pin.Pin(options)
	a := struct {
		head
		loaded  uintptr
		options unsafe.Pointer
		args    span
		n       uintptr
		results unsafe.Pointer
		_       [2]uintptr // events, device
	}{loaded: e.loaded, options: unsafe.Pointer(options), args: pinned(&pin, args), n: uintptr(len(in[0])),
		results: pinned(&pin, results).p}
	if err := call(e.client.plugin, "LoadedExecutable_Execute", &a); err != nil {
		return nil, err
	}
	return out, nil
}

// Topology is devices that need not be there. Programs can be compiled for them.
type Topology struct {
	plugin *Plugin
	handle uintptr
}

// NewTopology describes devices by options of the plugin.
func (p *Plugin) NewTopology(options []Option) (*Topology, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := struct {
		head
		name, options span
		handle        uintptr
	}{name: pinned(&pin, []byte("target")), options: named(&pin, options)}
	err := call(p, "TopologyDescription_Create", &a)
	return &Topology{p, a.handle}, err
}

// Compile compiles StableHLO text for so many devices, and returns the memory that the program would take.
func (t *Topology) Compile(text []byte, devices int) (Memory, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	ids := make([]int64, devices)
	for i := range ids {
		ids[i] = int64(i)
	}
	a := struct {
		head
		topology uintptr
		program  unsafe.Pointer
		options  span
		_        uintptr // client
		handle   uintptr
	}{topology: t.handle, program: mlir(&pin, text), options: pinned(&pin, compileOptions(ids))}
	if err := call(t.plugin, "Compile", &a); err != nil {
		return Memory{}, err
	}
	return t.plugin.memory(a.handle)
}

//go:build linux

package pjrt

import (
	"encoding/binary"
	"errors"
	"runtime"
	"unsafe"
)

// Executable is a compiled program on the first devices of a client.
type Executable struct {
	client         *Client
	loaded, handle uintptr
	devices, outs  int
}

// compileOptions is a CompileOptionsProto: replica i of the program runs on the i-th of ids.
func compileOptions(ids []int32) []byte {
	field := func(b []byte, n int, v uint64) []byte { return binary.AppendUvarint(append(b, byte(n<<3)), v) }
	nested := func(b []byte, n int, message []byte) []byte {
		return append(binary.AppendUvarint(append(b, byte(n<<3|2)), uint64(len(message))), message...)
	}
	var computation []byte // DeviceAssignmentProto.ComputationDevice
	for _, id := range ids {
		computation = field(computation, 1, uint64(id))
	}
	n := uint64(len(ids))
	assignment := nested(field(field(nil, 1, n), 2, 1), 3, computation)
	build := field(nil, 1, 1<<64-1) // device_ordinal -1
	build = field(field(build, 4, n), 5, 1)
	if n > 1 {
		build = nested(build, 9, assignment)
	}
	return nested(nil, 3, build)
}

// program is PJRT_Program.
type program struct {
	head
	code, format span
}

// Compile compiles StableHLO text for the first devices of the client.
func (c *Client) Compile(text []byte, devices int) (*Executable, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := struct {
		head
		client  uintptr
		program unsafe.Pointer
		options span
		loaded  uintptr
	}{client: c.client, program: mlir(&pin, text), options: pinned(&pin, compileOptions(c.ids(devices)))}
	if err := call(c.plugin, clientCompile, &a); err != nil {
		return nil, err
	}
	return c.executable(a.loaded, devices)
}

func mlir(pin *runtime.Pinner, text []byte) unsafe.Pointer {
	p := &program{code: pinned(pin, text), format: pinned(pin, []byte("mlir"))}
	p.size = unsafe.Sizeof(*p)
	pin.Pin(p)
	return unsafe.Pointer(p)
}

func (c *Client) ids(devices int) []int32 {
	ids := make([]int32, devices)
	for i := range ids {
		ids[i] = c.devices[i].id
	}
	return ids
}

// Deserialize loads what Serialize returned, for as many devices.
func (c *Client) Deserialize(data []byte, devices int) (*Executable, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := struct {
		head
		client  uintptr
		data    span
		loaded  uintptr
		options span
	}{client: c.client, data: pinned(&pin, data)}
	if err := call(c.plugin, executableDeserializeAndLoad, &a); err != nil {
		return nil, err
	}
	return c.executable(a.loaded, devices)
}

func (c *Client) executable(loaded uintptr, devices int) (*Executable, error) {
	e := &Executable{client: c, loaded: loaded, devices: devices}
	get := struct {
		head
		loaded, handle uintptr
	}{loaded: loaded}
	err := call(c.plugin, loadedExecutable, &get)
	if err == nil {
		e.handle = get.handle
		outs := struct {
			head
			handle, n uintptr
		}{handle: get.handle}
		err = call(c.plugin, executableNumOutputs, &outs)
		e.outs = int(outs.n)
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Close frees the program.
func (e *Executable) Close() error {
	p := e.client.plugin
	return errors.Join(p.destroy(executableDestroy, e.handle), p.destroy(loadedDestroy, e.loaded))
}

// Serialize returns the compiled program for Deserialize. Some plugins cannot.
func (e *Executable) Serialize() ([]byte, error) {
	a := struct {
		head
		handle  uintptr
		data    text
		backing uintptr
		free    uintptr
	}{handle: e.handle}
	if err := call(e.client.plugin, executableSerialize, &a); err != nil {
		return nil, err
	}
	data := []byte(a.data.String())
	if a.free != 0 {
		callBack(a.free, a.backing)
	}
	return data, nil
}

// Memory is the memory of a compiled program on one device, in bytes. Shared is of results in the memory of inputs.
type Memory struct{ Code, In, Out, Shared, Temporary int64 }

// Memory returns the memory that the program takes.
func (e *Executable) Memory() (Memory, error) { return e.client.plugin.memory(e.handle) }

func (p *Plugin) memory(executable uintptr) (Memory, error) {
	a := struct {
		head
		executable uintptr
		device     Memory
		host       [5]int64
		peak       [2]int64
	}{executable: executable}
	err := call(p, executableMemory, &a)
	return a.device, err
}

// Execute runs the program. in has a list of arguments for each device, and the result a list of results. It does not
// wait for the run: its error may be that of a later Fetch. Donated arguments are gone, but still to be freed.
func (e *Executable) Execute(in [][]Buffer) ([][]Buffer, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	out := make([][]Buffer, e.devices)
	args, results := make([]unsafe.Pointer, e.devices), make([]unsafe.Pointer, e.devices)
	for i := range out {
		out[i] = make([]Buffer, e.outs)
		args[i], results[i] = pinned(&pin, in[i]).p, pinned(&pin, out[i]).p
	}
	options := &struct {
		head
		callbacks    [4]uintptr
		launch       uintptr
		keep         [2]uintptr // inputs that are not donated after all
		context      uintptr
		callLocation uintptr
		tasks        [3]uintptr
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
		events  uintptr
		device  uintptr
	}{loaded: e.loaded, options: unsafe.Pointer(options), args: pinned(&pin, args), n: uintptr(len(in[0])),
		results: pinned(&pin, results).p}
	if err := call(e.client.plugin, loadedExecute, &a); err != nil {
		return nil, err
	}
	return out, nil
}

// Devices is the number of devices that run the program.
func (e *Executable) Devices() int { return e.devices }

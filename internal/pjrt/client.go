//go:build linux

package pjrt

import (
	"errors"
	"runtime"
	"unsafe"
)

// Client owns the devices of a plugin. Not safe for concurrent use.
type Client struct {
	Kinds   []string // the model of each device
	plugin  *Plugin
	handle  uintptr
	devices []device
}

type device struct {
	handle uintptr
	id     int64
}

// NewClient takes the devices.
func (p *Plugin) NewClient(options []Option) (*Client, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := struct {
		head
		options span
		_       [4]uintptr // callbacks for several machines
		client  uintptr
		_       [2]uintptr
	}{options: named(&pin, options)}
	if err := call(p, "Client_Create", &a); err != nil {
		return nil, err
	}
	c := &Client{plugin: p, handle: a.client}
	devices, err := ask[struct {
		p *uintptr
		n uintptr
	}](p, "Client_AddressableDevices", a.client)
	if err != nil || devices.n == 0 {
		return nil, errors.Join(err, errors.New("the plugin has no device"))
	}
	for _, h := range unsafe.Slice(devices.p, devices.n) {
		description, err1 := ask[uintptr](p, "Device_GetDescription", h)
		id, err2 := ask[int32](p, "DeviceDescription_Id", description)
		kind, err3 := ask[text](p, "DeviceDescription_Kind", description)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		c.devices, c.Kinds = append(c.devices, device{h, int64(id)}), append(c.Kinds, string(kind.bytes()))
	}
	return c, nil
}

// Platform names the platform and its version.
func (c *Client) Platform() (name, version string, err error) {
	n, err1 := ask[text](c.plugin, "Client_PlatformName", c.handle)
	v, err2 := ask[text](c.plugin, "Client_PlatformVersion", c.handle)
	return string(n.bytes()), string(v.bytes()), errors.Join(err1, err2)
}

// Usage is the memory of a device in bytes: in use, the most that was, and what can be. Zero is unknown.
type Usage struct{ Used, Peak, Limit int64 }

// Usage returns the memory of a device. Not every plugin knows, which is no error.
func (c *Client) Usage(device int) Usage {
	type optional struct {
		value int64
		_     bool // whether it is set
	}
	a, err := ask[struct {
		used                 int64
		peak, _, _, limit, _ optional
		_                    [6]optional
	}](c.plugin, "Device_MemoryStats", c.devices[device].handle)
	if err != nil {
		return Usage{}
	}
	return Usage{a.used, a.peak.value, a.limit.value}
}

// Type is the type of elements.
type Type struct {
	Bytes  int64
	number uintptr
}

// Types are those of StableHLO by their names.
var Types = map[string]Type{"i1": {1, 1}, "i32": {4, 4}, "ui8": {1, 6}, "ui32": {4, 8}, "ui64": {8, 9}, "f32": {4, 11},
	"bf16": {2, 13}}

// Buffer is a value on a device.
type Buffer struct{ handle uintptr }

// Upload copies data, row-major, to a device. data may change when it returns.
func (c *Client) Upload(device int, t Type, dims []int64, data []byte) (Buffer, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := struct {
		head
		client        uintptr
		data          unsafe.Pointer
		kind          uintptr
		dims, strides span
		semantics     uintptr // 0: data does not change during the call
		device        uintptr
		_             [2]uintptr // memory, layout
		done, buffer  uintptr
	}{client: c.handle, data: pinned(&pin, data).p, kind: t.number, dims: pinned(&pin, dims),
		device: c.devices[device].handle}
	if err := call(c.plugin, "Client_BufferFromHostBuffer", &a); err != nil {
		return Buffer{}, err
	}
	return Buffer{a.buffer}, c.plugin.wait(a.done)
}

// Fetch waits for a value of so many dimensions, and copies it to dst, row-major.
func (c *Client) Fetch(b Buffer, dst []byte) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := struct {
		head
		buffer, layout uintptr
		dst            span
		event          uintptr
	}{buffer: b.handle, dst: pinned(&pin, dst)}
	if err := call(c.plugin, "Buffer_ToHostBuffer", &a); err != nil {
		return err
	}
	return c.plugin.wait(a.event)
}

// Free frees a value. A run that uses it still finds it.
func (c *Client) Free(b Buffer) error {
	if b.handle == 0 {
		return nil
	}
	return c.plugin.give("Buffer_Destroy", b.handle)
}

// wait waits for an event, and frees it.
func (p *Plugin) wait(event uintptr) error {
	if event == 0 {
		return nil
	}
	return errors.Join(p.give("Event_Await", event), p.give("Event_Destroy", event))
}

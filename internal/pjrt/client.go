//go:build linux

package pjrt

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

// Client owns the devices of a plugin. Not safe for concurrent use.
type Client struct {
	plugin  *Plugin
	client  uintptr
	devices []device
}

type device struct {
	handle uintptr
	id     int32
	kind   string
}

// NewClient takes the devices.
func (p *Plugin) NewClient(options []Option) (*Client, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	list, err := named(&pin, options)
	if err != nil {
		return nil, err
	}
	a := struct {
		head
		options   span
		store     [4]uintptr // callbacks for several machines
		client    uintptr
		lateStore [2]uintptr
	}{options: list}
	if err := call(p, clientCreate, &a); err != nil {
		return nil, err
	}
	c := &Client{plugin: p, client: a.client}
	if err := c.findDevices(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Client) findDevices() error {
	var all struct {
		head
		client  uintptr
		devices *uintptr
		n       uintptr
	}
	all.client = c.client
	if err := call(c.plugin, clientAddressableDevices, &all); err != nil {
		return err
	}
	if all.devices == nil || all.n == 0 {
		return errors.New("pjrt: the plugin found no device")
	}
	for _, h := range unsafe.Slice(all.devices, all.n) {
		d, err := c.describe(h)
		if err != nil {
			return err
		}
		c.devices = append(c.devices, d)
	}
	return nil
}

func (c *Client) describe(h uintptr) (device, error) {
	var get struct {
		head
		device, description uintptr
	}
	get.device = h
	if err := call(c.plugin, deviceDescription, &get); err != nil {
		return device{}, err
	}
	var id struct {
		head
		description uintptr
		id          int32
	}
	id.description = get.description
	if err := call(c.plugin, descriptionID, &id); err != nil {
		return device{}, err
	}
	var kind struct {
		head
		description uintptr
		kind        text
	}
	kind.description = get.description
	err := call(c.plugin, descriptionKind, &kind)
	return device{h, id.id, kind.kind.String()}, err
}

// Close gives the devices back. Executables and buffers of the client must be gone.
func (c *Client) Close() error { return c.plugin.destroy(clientDestroy, c.client) }

// Devices is the number of devices.
func (c *Client) Devices() int { return len(c.devices) }

// Kind names the model of a device.
func (c *Client) Kind(device int) string { return c.devices[device].kind }

// Platform names the platform and its version.
func (c *Client) Platform() (name, version string, err error) {
	type question struct {
		head
		client uintptr
		text   text
	}
	n, v := question{client: c.client}, question{client: c.client}
	err = errors.Join(call(c.plugin, clientPlatformName, &n), call(c.plugin, clientPlatformVersion, &v))
	return n.text.String(), v.text.String(), err
}

// Usage is the memory of a device, in bytes. Zero is unknown.
type Usage struct{ Used, Peak, Limit int64 }

// Usage returns the memory of a device. Many plugins know nothing of it, which is no error.
func (c *Client) Usage(device int) Usage {
	type optional struct {
		value int64
		set   bool
	}
	var a struct {
		head
		device          uintptr
		used            int64
		peak            optional
		allocs, largest optional
		limit           optional
		reserved        [3]optional
		largestFree     optional
		pool, peakPool  optional
	}
	a.device = c.devices[device].handle
	if call(c.plugin, deviceMemoryStats, &a) != nil {
		return Usage{}
	}
	u := Usage{Used: a.used}
	if a.peak.set {
		u.Peak = a.peak.value
	}
	if a.limit.set {
		u.Limit = a.limit.value
	}
	return u
}

// destroy frees a handle by a function that takes nothing else.
func (p *Plugin) destroy(f function, handle uintptr) error {
	if handle == 0 {
		return nil
	}
	a := struct {
		head
		handle uintptr
	}{handle: handle}
	return call(p, f, &a)
}

// wait waits for an event, and frees it.
func (p *Plugin) wait(event uintptr) error {
	if event == 0 {
		return nil
	}
	a := struct {
		head
		event uintptr
	}{event: event}
	err := call(p, eventAwait, &a)
	return errors.Join(err, p.destroy(eventDestroy, event))
}

// Type is the type of elements.
type Type uint32

// ParseType returns the type that StableHLO calls so, and the bytes of an element.
func ParseType(name string) (t Type, bytes int, err error) {
	switch name {
	case "i1":
		return 1, 1, nil
	case "i32":
		return 4, 4, nil
	case "ui8":
		return 6, 1, nil
	case "ui32":
		return 8, 4, nil
	case "ui64":
		return 9, 8, nil
	case "f32":
		return 11, 4, nil
	case "bf16":
		return 13, 2, nil
	}
	return 0, 0, fmt.Errorf("pjrt: no type %q", name)
}

// Buffer is a value on a device.
type Buffer struct{ handle uintptr }

// Upload copies data, row-major, to a device. The copy is taken before it returns.
func (c *Client) Upload(device int, t Type, dims []int64, data []byte) (Buffer, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := struct {
		head
		client         uintptr
		data           unsafe.Pointer
		kind           uintptr
		dims, strides  span
		semantics      uintptr // 0: data does not change during the call
		device, memory uintptr
		layout         uintptr
		done, buffer   uintptr
	}{client: c.client, data: pinned(&pin, data).p, kind: uintptr(t), dims: pinned(&pin, dims),
		device: c.devices[device].handle}
	if err := call(c.plugin, bufferFromHost, &a); err != nil {
		return Buffer{}, err
	}
	if err := c.plugin.wait(a.done); err != nil {
		return Buffer{}, errors.Join(err, c.Free(Buffer{a.buffer}))
	}
	return Buffer{a.buffer}, nil
}

// Fetch waits for a value and copies it to dst, row-major.
func (c *Client) Fetch(b Buffer, dst []byte) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := struct {
		head
		buffer uintptr
		layout uintptr
		dst    span
		event  uintptr
	}{buffer: b.handle, dst: pinned(&pin, dst)}
	if err := call(c.plugin, bufferToHost, &a); err != nil {
		return err
	}
	return c.plugin.wait(a.event)
}

// Free frees a value. A run that uses it still finds it.
func (c *Client) Free(b Buffer) error { return c.plugin.destroy(bufferDestroy, b.handle) }

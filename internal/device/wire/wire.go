// Package wire is what gimbal and gimbal-device say to each other: one request and one answer at a time over pipes, and
// data through a file in memory that both have mapped.
//
// Neither side trusts the other: a message has a greatest length, and a place in the shared memory is checked.
package wire

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"runtime/debug"
	"strings"
)

// Protocol is the version of the messages. Change it with them.
const Protocol = 1

// MaxMessage is the greatest length of a message, in bytes.
const MaxMessage = 16 << 20

// Argument is what gimbal-device is started with.
const Argument = "serve"

// Descriptors of gimbal-device beside standard input, on which requests come.
const (
	MemoryFD  = 3
	AnswersFD = 4
)

// Op says what a request wants.
type Op string

// Requests. The first of a process is Hello, the second Open or Target.
const (
	Hello   Op = "hello"   // Protocol, Build
	Open    Op = "open"    // Plugin, Options
	Compile Op = "compile" // Text in memory: Bytes, Devices, Keep
	Load    Op = "load"    // a serialized executable in memory: Bytes, Devices
	Upload  Op = "upload"  // data in memory: Bytes, Type, Dims, Devices
	Run     Op = "run"     // ID, In, Gone
	Fetch   Op = "fetch"   // ID, Device, Bytes
	Usage   Op = "usage"   // only frees
	Target  Op = "target"  // Plugin, Options of a topology, text in memory: Bytes
)

// Request is a message to gimbal-device.
type Request struct {
	Op       Op       `json:"op"`
	Free     []int64  `json:"free,omitempty"` // arrays that are freed before anything else
	Protocol int      `json:"protocol,omitempty"`
	Build    string   `json:"build,omitempty"`
	Plugin   string   `json:"plugin,omitempty"`
	Options  []Option `json:"options,omitempty"`
	Bytes    int64    `json:"bytes,omitempty"` // of the shared memory
	Devices  int      `json:"devices,omitempty"`
	Keep     bool     `json:"keep,omitempty"` // return the serialized executable
	Type     string   `json:"type,omitempty"`
	Dims     []int64  `json:"dims,omitempty"`
	ID       int64    `json:"id,omitempty"`
	In       []int64  `json:"in,omitempty"`
	Gone     []int64  `json:"gone,omitempty"` // arrays that a run takes
	Device   int      `json:"device,omitempty"`
}

// Option is a named value for a plugin: the one that is not zero.
type Option struct {
	Name  string  `json:"name"`
	Text  string  `json:"text,omitempty"`
	Int   int64   `json:"int,omitempty"`
	Ints  []int64 `json:"ints,omitempty"`
	Float float32 `json:"float,omitempty"`
}

// Answer is a message from gimbal-device. Error is why a request failed; empty: it did not.
type Answer struct {
	Error    string    `json:"error,omitempty"`
	Code     int       `json:"code,omitempty"` // of the plugin's error, as in absl
	Protocol int       `json:"protocol,omitempty"`
	Build    string    `json:"build,omitempty"`
	API      string    `json:"api,omitempty"`
	Platform string    `json:"platform,omitempty"`
	Version  string    `json:"version,omitempty"`
	Devices  []Device  `json:"devices,omitempty"`
	ID       int64     `json:"id,omitempty"`
	Out      []int64   `json:"out,omitempty"`
	Memory   Footprint `json:"memory,omitzero"`
	Bytes    int64     `json:"bytes,omitempty"` // of the shared memory
}

// Footprint is the memory of a compiled program on a device, in bytes. Shared is of results in the memory of inputs.
type Footprint struct{ Code, In, Out, Shared, Temporary int64 }

// Device describes a device. Memory is in bytes, 0: unknown.
type Device struct {
	Kind              string `json:"kind"`
	Used, Peak, Limit int64
}

// Write writes a message.
func Write(w io.Writer, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("wire: %w", err)
	}
	if len(body) > MaxMessage {
		return fmt.Errorf("wire: a message of %d bytes, at most %d are possible", len(body), MaxMessage)
	}
	_, err = w.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

// Read reads a message. It returns io.EOF where there is none, and allocates no more than what has come.
func Read(r io.Reader, message any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n > MaxMessage {
		return fmt.Errorf("wire: a message of %d bytes, at most %d are possible", n, MaxMessage)
	}
	var body bytes.Buffer
	if got, err := io.Copy(&body, io.LimitReader(r, n)); err != nil || got < n {
		return fmt.Errorf("wire: a message ends after %d of %d bytes: %w", got, n, cmp.Or(err, io.ErrUnexpectedEOF))
	}
	if err := json.Unmarshal(body.Bytes(), message); err != nil {
		return fmt.Errorf("wire: %w", err)
	}
	return nil
}

// Differs says how another side's version differs from this one; nil: it does not.
func Differs(protocol int, build string) error {
	if protocol == Protocol && build == Build() {
		return nil
	}
	return fmt.Errorf("the other side is version %s (protocol %d), and this one %s (protocol %d): build both from one "+
		"source", build, protocol, Build(), Protocol)
}

// Build is the version of this module in this build. Both sides must have the same.
func Build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	module, path := &info.Main, strings.TrimSuffix(reflect.TypeFor[Request]().PkgPath(), "/internal/device/wire")
	for _, d := range info.Deps {
		if d.Path == path { // another program's build
			module = d
		}
	}
	return cmp.Or(module.Version, "(devel)")
}

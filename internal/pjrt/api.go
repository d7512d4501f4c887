//go:build linux

// Package pjrt is a client of the PJRT C interface, through which compilers for accelerators are reached: a plugin is a
// shared library, a program is StableHLO text. It uses no cgo, but makes a binary dynamic: only gimbal-device may
// import it.
//
// Names and layouts are those of xla/pjrt/c/pjrt_c_api.h. A struct here is one there. Memory of Go in a struct is
// pinned for the call; handles of the plugin are numbers that are never followed.
package pjrt

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Plugin is a loaded plugin. It stays loaded until the process ends.
type Plugin struct {
	head  *header
	table []uintptr // by function
}

// header begins PJRT_Api. Functions follow it.
type header struct {
	size, _      uintptr
	_, _         uintptr // of the version
	major, minor int32
}

// head begins every struct: its size, and a list of extensions, which is empty.
type head struct{ size, extensions uintptr }

// Load loads a plugin from a shared library and initializes it.
func Load(path string) (*Plugin, error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("pjrt: not a shared library that loads here: %w", err)
	}
	symbol, err := purego.Dlsym(lib, "GetPjrtApi")
	if err != nil {
		return nil, errors.New("pjrt: not a PJRT plugin: the library has no function GetPjrtApi")
	}
	var get func() unsafe.Pointer
	purego.RegisterFunc(&get, symbol)
	h := (*header)(get())
	if h == nil {
		return nil, errors.New("pjrt: the plugin returned no interface")
	}
	p := &Plugin{head: h}
	if h.size > unsafe.Sizeof(*h) {
		n := min(int((h.size-unsafe.Sizeof(*h))/unsafe.Sizeof(h.size)), functions)
		p.table = unsafe.Slice((*uintptr)(unsafe.Add(unsafe.Pointer(h), unsafe.Sizeof(*h))), n)
	}
	if h.major != 0 {
		return nil, fmt.Errorf("pjrt: the plugin has version %s of the interface, and this program knows 0.x", p.Version())
	}
	return p, call(p, pluginInitialize, &head{})
}

// Version is the version of the plugin's interface.
func (p *Plugin) Version() string { return fmt.Sprintf("%d.%d", p.head.major, p.head.minor) }

// lookup returns the address of a function.
func (p *Plugin) lookup(f function) (uintptr, error) {
	if int(f) >= len(p.table) || p.table[f] == 0 {
		return 0, fmt.Errorf("pjrt: the plugin has no function %s: its interface %s has a stated size of %d bytes",
			f, p.Version(), p.head.size)
	}
	return p.table[f], nil
}

// call calls f with args, whose first field is a head.
func call[T any](p *Plugin, f function, args *T) error {
	fn, err := p.lookup(f)
	if err != nil {
		return err
	}
	(*head)(unsafe.Pointer(args)).size = unsafe.Sizeof(*args)
	failure, _, _ := purego.SyscallN(fn, uintptr(unsafe.Pointer(args)))
	if failure == 0 {
		return nil
	}
	return fmt.Errorf("pjrt: %s: %w", f, p.failed(failure))
}

// failed is the error that a function returned, which it frees.
func (p *Plugin) failed(failure uintptr) error {
	message, err1 := p.lookup(errorMessage)
	destroy, err2 := p.lookup(errorDestroy)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	var m struct {
		head
		failure uintptr
		text    text
	}
	m.size, m.failure = unsafe.Sizeof(m), failure
	purego.SyscallN(message, uintptr(unsafe.Pointer(&m)))
	err := errors.New(m.text.String())
	var d struct {
		head
		failure uintptr
	}
	d.size, d.failure = unsafe.Sizeof(d), failure
	purego.SyscallN(destroy, uintptr(unsafe.Pointer(&d)))
	return err
}

// text is characters of the plugin.
type text struct {
	p *byte
	n uintptr
}

func (t text) String() string {
	if t.p == nil {
		return ""
	}
	return string(unsafe.Slice(t.p, t.n))
}

// span is a pointer to n elements in memory of Go, or of the system.
type span struct {
	p unsafe.Pointer
	n uintptr
}

// pinned returns the place of s, which stays there until pin is released.
func pinned[T any](pin *runtime.Pinner, s []T) span {
	if len(s) == 0 {
		return span{}
	}
	p := unsafe.SliceData(s)
	pin.Pin(p)
	return span{unsafe.Pointer(p), uintptr(len(s))}
}

// Option is a named value for a plugin: a string, int64, []int64, float32 or bool.
type Option struct {
	Name  string
	Value any
}

type namedValue struct {
	head
	name span
	kind uintptr // 4 bytes in C, and 4 of padding
	word uintptr // a number, or where the elements are
	size uintptr
}

// named returns options as the interface wants them.
func named(pin *runtime.Pinner, options []Option) (span, error) {
	all := make([]namedValue, len(options))
	for i, o := range options {
		v := namedValue{name: pinned(pin, []byte(o.Name)), size: 1}
		v.head.size = unsafe.Sizeof(v)
		switch x := o.Value.(type) {
		case string:
			s := pinned(pin, []byte(x))
			v.word, v.size = uintptr(s.p), s.n
		case int64:
			v.kind, v.word = 1, uintptr(x)
		case []int64:
			s := pinned(pin, x)
			v.kind, v.word, v.size = 2, uintptr(s.p), s.n
		case float32:
			v.kind, v.word = 3, uintptr(math.Float32bits(x))
		case bool:
			if v.kind = 4; x {
				v.word = 1
			}
		default:
			return span{}, fmt.Errorf("pjrt: option %s has the type %T", o.Name, o.Value)
		}
		all[i] = v
	}
	return pinned(pin, all), nil
}

// callBack calls a function of the plugin that takes one pointer.
func callBack(fn, arg uintptr) { purego.SyscallN(fn, arg) }

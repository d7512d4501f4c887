//go:build linux

package pjrt

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Plugin is a loaded plugin.
type Plugin struct {
	head  *header
	table []uintptr // of functions
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
		return nil, fmt.Errorf("not a shared library that loads here: %w", err)
	}
	symbol, err := purego.Dlsym(lib, "GetPjrtApi")
	if err != nil {
		return nil, errors.New("not a PJRT plugin: the library has no function GetPjrtApi")
	}
	var get func() unsafe.Pointer
	purego.RegisterFunc(&get, symbol)
	h := (*header)(get())
	if h == nil {
		return nil, errors.New("not a PJRT plugin: GetPjrtApi returns nothing")
	}
	p := &Plugin{head: h}
	if h.size > unsafe.Sizeof(*h) {
		n := min((h.size-unsafe.Sizeof(*h))/unsafe.Sizeof(h.size), lastPlace+1)
		p.table = unsafe.Slice((*uintptr)(unsafe.Add(unsafe.Pointer(h), unsafe.Sizeof(*h))), n)
	}
	if h.major != 0 {
		return nil, fmt.Errorf("the plugin has version %s of the interface, and this program knows 0.x", p.Version())
	}
	return p, call(p, "Plugin_Initialize", &head{})
}

// Version is the version of the plugin's interface.
func (p *Plugin) Version() string { return fmt.Sprintf("%d.%d", p.head.major, p.head.minor) }

// lookup returns the address of a function, where the struct of functions is long enough to have it.
func (p *Plugin) lookup(name string) (uintptr, error) {
	if i := places[name]; i < len(p.table) && p.table[i] != 0 {
		return p.table[i], nil
	}
	return 0, fmt.Errorf("the plugin has no function PJRT_%s: its interface %s states a size of %d bytes", name,
		p.Version(), p.head.size)
}

// call calls a function with args, whose first field is a head.
func call[T any](p *Plugin, name string, args *T) error {
	fn, err := p.lookup(name)
	if err != nil {
		return err
	}
	(*head)(unsafe.Pointer(args)).size = unsafe.Sizeof(*args)
	failure, _, _ := purego.SyscallN(fn, uintptr(unsafe.Pointer(args)))
	if failure == 0 || strings.HasPrefix(name, "Error_") { // those return nothing, or do not fail
		return nil
	}
	return p.failed(name, failure)
}

// ask calls a function that takes a handle and returns a T.
func ask[T any](p *Plugin, name string, handle uintptr) (T, error) {
	args := struct {
		head
		handle uintptr
		result T
	}{handle: handle}
	err := call(p, name, &args)
	return args.result, err
}

// give calls a function that takes a handle and returns nothing.
func (p *Plugin) give(name string, handle uintptr) error {
	args := struct {
		head
		handle uintptr
	}{handle: handle}
	return call(p, name, &args)
}

// Error is an error of a plugin.
type Error struct {
	Code int // as in absl: 8 out of memory, 13 internal, …; 0: unknown
	Text string
}

func (e *Error) Error() string { return e.Text }

// failed is the error that a function returned, which it frees.
func (p *Plugin) failed(name string, failure uintptr) error {
	code, err1 := ask[int32](p, "Error_GetCode", failure)
	message, err2 := ask[text](p, "Error_Message", failure)
	e := &Error{int(code), "PJRT_" + name + " fails"}
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("%s, and why is unknown: %w", e.Text, err)
	}
	e.Text += ": " + string(message.bytes())
	return errors.Join(e, p.give("Error_Destroy", failure))
}

// text is characters of the plugin.
type text struct {
	p *byte
	n uintptr
}

// bytes is valid as long as what the text belongs to.
func (t text) bytes() []byte { return unsafe.Slice(t.p, t.n) }

// span is n elements in memory of Go, or of the system.
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

// Option is a named value for a plugin: the one that is not zero.
type Option struct {
	Name  string
	Text  string
	Int   int64
	Ints  []int64
	Float float32
}

// namedValue is PJRT_NamedValue.
type namedValue struct {
	head
	name span
	kind uintptr // 4 bytes in C, and 4 of padding
	word uintptr // a number, or where the elements are
	size uintptr
}

// named returns options as the interface wants them.
func named(pin *runtime.Pinner, options []Option) span {
	all := make([]namedValue, len(options))
	for i, o := range options {
		v := namedValue{name: pinned(pin, []byte(o.Name)), kind: 1, word: uintptr(o.Int), size: 1}
		v.head.size = unsafe.Sizeof(v)
		elements := func(kind uintptr, s span) { v.kind, v.word, v.size = kind, uintptr(s.p), s.n }
		switch {
		case o.Text != "":
			elements(0, pinned(pin, []byte(o.Text)))
		case o.Ints != nil:
			elements(2, pinned(pin, o.Ints))
		case o.Float != 0:
			v.kind, v.word = 3, uintptr(math.Float32bits(o.Float))
		}
		all[i] = v
	}
	return pinned(pin, all)
}

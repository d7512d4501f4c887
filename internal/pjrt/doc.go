// Package pjrt is a client of the PJRT C interface, through which compilers for accelerators are reached: a plugin is a
// shared library, a program is StableHLO text. It uses no cgo, but makes a binary dynamic: only gimbal-device may
// import it.
//
// Names and layouts are those of xla/pjrt/c/pjrt_c_api.h. A struct here is one there. Memory of Go in a struct is
// pinned for the call; handles of the plugin are numbers that are never followed. What a client made lives as long as
// the process, except for buffers.
package pjrt

//go:build !linux || !amd64 || purego

package kernel

// Tiles need a permission that is asked for on Linux only.
const (
	amxAllowed = false
	amxMissing = ""
)

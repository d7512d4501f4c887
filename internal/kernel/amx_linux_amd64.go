//go:build !purego

package kernel

import (
	"fmt"
	"syscall"

	"gimbal/internal/cpu"
)

// amxMissing says why there is no tier amx although the CPU has the tiles, or is empty.
var amxAllowed, amxMissing = allowAMX()

// allowAMX asks the operating system for the tiles, once for all threads: they
// enlarge what it saves at each switch between threads.
func allowAMX() (bool, string) {
	if !cpu.AMXBF16 {
		return false, ""
	}
	const (
		archPrctl    = 158
		reqXcompPerm = 0x1023
		tileData     = 18
	)
	if _, _, errno := syscall.RawSyscall(archPrctl, reqXcompPerm, tileData, 0); errno != 0 {
		return false, fmt.Sprintf("the CPU has AMX, but the operating system does not allow it (arch_prctl: %v)", errno)
	}
	return true, ""
}

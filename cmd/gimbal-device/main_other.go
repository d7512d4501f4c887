//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "gimbal-device: plugins for accelerators are loaded on Linux only")
	os.Exit(1)
}

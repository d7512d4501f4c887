//go:build !linux

package device

import (
	"errors"
	"os"
	"os/exec"
)

func sharedFile() (*os.File, error) { return nil, errors.ErrUnsupported }

func tie(*exec.Cmd) {}

func private(string) bool { return false }

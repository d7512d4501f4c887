//go:build !linux

package wire

import (
	"errors"
	"os"
)

func reserve(*os.File, int64) error           { return errors.ErrUnsupported }
func mapFile(*os.File, int64) ([]byte, error) { return nil, errors.ErrUnsupported }
func unmap([]byte) error                      { return errors.ErrUnsupported }

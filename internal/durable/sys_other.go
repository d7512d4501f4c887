//go:build !linux && !darwin && !freebsd && !windows

package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

var diskFull = []error{syscall.ENOSPC}

func rename(from, to string) error { return os.Rename(from, to) }

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockFile refuses: a lock file without a lock of the system would outlive its process.
func lockFile(*os.File) (held bool, err error) { return false, errors.ErrUnsupported }

func mapFile(f *os.File, size int) ([]byte, func() error, error) {
	data := make([]byte, size)
	_, err := io.ReadFull(f, data)
	return data, nil, err
}

func freeSpace(string) (uint64, error) { return 0, errors.ErrUnsupported }

const nonblock = 0

// links does not know more than one name of a file.
func links(fs.FileInfo) uint64 { return 1 }

// mine and shared leave the rights of files to the system.
func mine(fs.FileInfo) bool   { return true }
func shared(fs.FileInfo) bool { return false }

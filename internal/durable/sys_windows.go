package durable

import (
	"errors"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

var diskFull = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED}

// rename asks for write-through: it is what Windows offers in place of syncing the directory.
func rename(from, to string) error {
	f, err := windows.UTF16PtrFromString(from)
	var t *uint16
	if err == nil {
		t, err = windows.UTF16PtrFromString(to)
	}
	if err == nil {
		err = windows.MoveFileEx(f, t, windows.MOVEFILE_REPLACE_EXISTING|windows.MOVEFILE_WRITE_THROUGH)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// syncDir does nothing: a directory cannot be flushed here; NTFS journals its changes in order.
func syncDir(name string) error {
	_, err := os.Stat(name)
	return err
}

// lockFile locks one byte far behind the content, so that others can still read who holds the lock.
func lockFile(f *os.File) (held bool, err error) {
	const where = 1 << 30
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{Offset: where})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return true, nil
	}
	return false, err
}

func mapFile(f *os.File, size int) ([]byte, func() error, error) {
	h, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, nil, os.NewSyscallError("CreateFileMapping", err)
	}
	addr, err := windows.MapViewOfFile(h, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	cerr := windows.CloseHandle(h) // the view keeps the mapping alive
	if err != nil {
		return nil, nil, os.NewSyscallError("MapViewOfFile", err)
	}
	unmap := func() error { return windows.UnmapViewOfFile(addr) }
	if cerr != nil {
		return nil, nil, errors.Join(cerr, unmap())
	}
	// The detour through a pointer to addr is how x/sys and others satisfy vet: addr is not Go memory.
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), size), unmap, nil
}

func freeSpace(dir string) (uint64, error) {
	d, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var n uint64
	err = windows.GetDiskFreeSpaceEx(d, &n, nil, nil)
	return n, err
}

const nonblock = 0

// links does not know more than one name of a file.
func links(fs.FileInfo) uint64 { return 1 }

// mine and shared leave the rights of files to the system.
func mine(fs.FileInfo) bool   { return true }
func shared(fs.FileInfo) bool { return false }

package faults

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
)

// Disk returns the file system for the save of a step, after the given number of batches.
func (s *Set) Disk(fsys durable.FS, step, batch int64) durable.FS {
	if s.none() {
		return fsys
	}
	for i := range s.faults {
		if f := &s.faults[i]; f.disk && f.Begun == 0 && step >= f.step {
			f.Begun = max(1, batch)
			s.env.Note("planted %s in the save of step %d", f.Spec, step)
			fsys = &badDisk{FS: fsys, fault: f.name, sleep: time.Sleep}
		}
	}
	return fsys
}

// badDisk is a disk with a fault.
type badDisk struct {
	durable.FS
	fault string
	sleep func(time.Duration)
	slept atomic.Bool
}

// Create implements durable.FS.
func (d *badDisk) Create(name string) (durable.File, error) {
	f, err := d.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return &badFile{File: f, disk: d, tensors: filepath.Base(name) == checkpoint.ModelFile}, nil
}

type badFile struct {
	durable.File
	disk    *badDisk
	tensors bool
	written int64
}

const (
	room     = 4096            // bytes of a file that a full disk still takes
	slowSave = 3 * time.Second // of one write on a slow disk: more than a small save takes on a sound one
)

// Write implements io.Writer.
func (f *badFile) Write(p []byte) (int, error) {
	f.written += int64(len(p))
	switch f.disk.fault {
	case "full-disk":
		if f.tensors && f.written > room {
			return 0, fmt.Errorf("write: %w (planted)", durable.ErrNoSpace)
		}
	case "torn-checkpoint": // the disk reports success and writes nothing
		if f.tensors && f.written > room {
			return len(p), nil
		}
	case "slow-disk":
		if f.disk.slept.CompareAndSwap(false, true) {
			f.disk.sleep(slowSave)
		}
	}
	return f.File.Write(p)
}

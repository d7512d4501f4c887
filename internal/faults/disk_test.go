package faults

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/safetensors"
)

// A disk fails in the first save from its step on, in its own way, and in no other.
func TestDisk(t *testing.T) {
	for name, check := range map[string]func(err error, slept time.Duration) bool{
		"full-disk": func(err error, slept time.Duration) bool {
			return errors.Is(err, durable.ErrNoSpace) && slept == 0
		},
		"torn-checkpoint": func(err error, slept time.Duration) bool {
			return err != nil && !errors.Is(err, durable.ErrNoSpace) && slept == 0
		},
		"slow-disk": func(err error, slept time.Duration) bool { return err == nil && slept == slowSave },
	} {
		t.Run(name, func(t *testing.T) {
			s := set(t, text(t), newRecorder().info, name+"@5")
			var note string
			s.env.Note = func(format string, args ...any) { note += fmt.Sprintf(format, args...) }
			dir := filepath.Join(t.TempDir(), "checkpoints")
			for step := int64(4); step <= 8; step += 2 {
				fsys := s.Disk(durable.OS, step, step+1)
				slept := time.Duration(0)
				if bad, ok := fsys.(*badDisk); ok {
					bad.sleep = func(d time.Duration) { slept += d }
				} else if step == 6 {
					t.Fatal("nothing was planted")
				}
				_, err := checkpoint.Save(fsys, dir, &checkpoint.Snapshot{Step: step,
					Model: []safetensors.Entry{{Name: "a", Shape: []int{4096}, Data: make([]float32, 4096)}}})
				if step == 6 && !check(err, slept) || step != 6 && (err != nil || slept != 0) {
					t.Errorf("step %d: %v, slept %v", step, err, slept)
				}
			}
			if want := fmt.Sprintf("planted %s@5 in the save of step 6", name); note != want {
				t.Errorf("note %q", note)
			}
			if s.State()[0].Begun != 7 || s.Active(6) || !s.Active(7) || s.Active(8) || !s.Tainted(107) ||
				s.Tainted(108) {
				t.Errorf("state %+v", s.State())
			}
		})
	}
}

// A save before the first batch is put down to that.
func TestDiskBeforeTheFirstBatch(t *testing.T) {
	s := set(t, text(t), newRecorder().info, "full-disk@0")
	if s.Disk(durable.OS, 0, 0); s.State()[0].Begun != 1 {
		t.Errorf("%+v", s.State())
	}
}

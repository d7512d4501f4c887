package runs

import (
	"fmt"
	"path/filepath"
	"slices"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
)

// Saved is a checkpoint of a run in a list.
type Saved struct {
	Name   string   `json:"name"`
	Step   int64    `json:"step"`
	Bytes  int64    `json:"bytes"`
	Marks  []string `json:"marks,omitempty"`
	Health string   `json:"health"`
	Err    string   `json:"error,omitempty"` // why it cannot be used; empty: it looks complete, or is verified
}

// Checkpoints lists the checkpoints of the run in dir, newest first. With verify it reads all of each.
func Checkpoints(dir string, verify bool) (list []Saved, err error) {
	fsys := durable.Inside(dir)
	infos, err := checkpoint.List(fsys, rundir.CheckpointsOf(dir))
	if err != nil {
		return nil, unreadable{err}
	}
	marks, _ := checkpoint.Marks(fsys, rundir.CheckpointsOf(dir)) // doctor says what is wrong with them
	for _, info := range infos {
		s := Saved{Name: filepath.Base(info.Path), Step: info.Step, Health: "unknown"}
		if h, err := checkpoint.HealthOf(fsys, info.Path); err == nil {
			s.Health = h.String()
		}
		if verify {
			var c *checkpoint.Checkpoint
			if c, info.Err = checkpoint.Open(fsys, info.Path); info.Err == nil {
				info.Err = c.Close()
			}
		}
		if info.Err != nil {
			s.Err = info.Err.Error()
		}
		for name, step := range marks {
			if step == info.Step {
				s.Marks = append(s.Marks, name)
			}
		}
		slices.Sort(s.Marks)
		entries, _ := fsys.ReadDir(info.Path)
		for _, e := range entries {
			if i, err := e.Info(); err == nil && i.Mode().IsRegular() {
				s.Bytes += i.Size()
			}
		}
		list = append(list, s)
	}
	return list, nil
}

// Prune deletes the checkpoints of the run in dir that a resume would delete, with keep newest ones kept; 0: as many as
// the configuration says. It holds the lock of the run, and returns the names of what it deleted.
func Prune(dir string, keep int) ([]string, error) {
	lock, err := rundir.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("prune %s: %w", dir, err)
	}
	defer lock.Unlock()
	if keep == 0 {
		cfg, err := rundir.Config(dir)
		if err != nil {
			return nil, err
		}
		keep = cfg.Checkpoint.Keep
	}
	c, _, err := rundir.Newest(dir)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	f, err := rundir.ReadFacts(c)
	if err != nil {
		return nil, err
	}
	return checkpoint.Prune(durable.Inside(dir), rundir.CheckpointsOf(dir), keep,
		[]string{checkpoint.StepName(f.Anchor)})
}

package runs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
)

// Repair mends the parts of the run in dir that follow from others, and moves aside what killed processes left. It
// deletes nothing, and holds the lock of the run. It returns the examination after it.
func Repair(dir string) (*Examination, error) {
	lock, err := rundir.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("repair %s: %w", dir, err)
	}
	defer lock.Unlock()
	before, err := Examine(dir)
	if err != nil {
		return nil, err
	}
	var mended []Part
	for _, p := range before.Parts {
		if p.State == Whole || !p.Mends {
			continue
		}
		if err := before.mend(p); err != nil {
			return nil, fmt.Errorf("repair %s: %s: %w", dir, p.Name, err)
		}
		mended = append(mended, p)
	}
	after, err := Examine(dir)
	if err == nil {
		after.Mended = mended
	}
	return after, err
}

// mend moves a part aside and makes it anew, if it is no litter.
func (x *Examination) mend(p Part) error {
	fsys, at := durable.Inside(x.Dir), filepath.Join(x.Dir, p.Name)
	var data []byte
	from := map[string]string{rundir.ConfigFile: rundir.ConfigCopy, rundir.TokenizerFile: rundir.TokenizerFile}[p.Name]
	if from != "" {
		c, err := checkpoint.Open(fsys, x.newest.Path())
		if err != nil {
			return err
		}
		defer c.Close()
		if data, err = c.File(from); err != nil {
			return err
		}
	}
	if err := moveAside(fsys, x.Dir, p.Name); err != nil {
		return err
	}
	switch {
	case from != "":
		return durable.WriteFile(fsys, at, data)
	case p.State != Litter:
		return checkpoint.SetMarks(fsys, filepath.Dir(at), x.marks())
	}
	return nil
}

// moveAside gives a part of a run a name of its own in the folder aside. What is not there stays away.
func moveAside(fsys durable.FS, dir, name string) error {
	if err := durable.Mkdir(fsys, filepath.Join(dir, rundir.Aside)); err != nil {
		return err
	}
	base := strings.NewReplacer(string(os.PathSeparator), "-", durable.TempPrefix, "").Replace(name)
	to := filepath.Join(dir, rundir.Aside, base)
	for i := 2; ; i++ {
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			break
		}
		to = filepath.Join(dir, rundir.Aside, fmt.Sprintf("%s-%d", base, i))
	}
	if err := fsys.Rename(filepath.Join(dir, name), to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

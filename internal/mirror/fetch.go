package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
)

// Here returns the directory of the run that a person names. That of a copy in object storage is fetched first, to out
// or to a directory named after it, and url is where it was.
func Here(ctx context.Context, run, out string) (dir, url string, err error) {
	switch {
	case !Is(run) && out != "":
		return "", "", fmt.Errorf("%w: --out is for a copy in object storage; %s stays where it is", rundir.ErrResume,
			run)
	case !Is(run):
		return run, "", nil
	}
	dir = cmp.Or(out, filepath.Join(rundir.Parent, Name(run)))
	if err := Fetch(ctx, run, dir); err != nil {
		return "", "", fmt.Errorf("%w: %w", rundir.ErrResume, err)
	}
	return dir, run, nil
}

// Fetch makes the run directory dir of a copy, whole or not at all: the files of the run, and the checkpoints that have
// a manifest and verify. There is an error if dir is there already, or if no checkpoint is whole: it matches
// checkpoint.ErrNone.
func Fetch(ctx context.Context, url, dir string) error {
	b, err := open(url)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s (continue it with \"gimbal resume %s\", or choose another --out)", rundir.ErrExists,
			dir,
			dir)
	}
	there, err := b.list(ctx)
	if err != nil {
		return err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := durable.Mkdir(durable.OS, parent); err != nil {
		return err
	}
	stem := filepath.Base(dir)
	if err := durable.SweepFree(parent, stem); err != nil {
		return err
	}
	tmp, held, err := durable.Unfinished(durable.OS, parent, stem)
	if err != nil {
		return err
	}
	if err = b.fetch(ctx, there, tmp); err == nil {
		err = os.Rename(tmp, dir)
	}
	if err == nil {
		err = durable.OS.SyncDir(parent)
	}
	held.Close()
	return errors.Join(err, os.RemoveAll(tmp))
}

// fetch copies everything into a new directory and verifies it.
func (b *bucket) fetch(ctx context.Context, there map[string]int64, dir string) error {
	for _, name := range slices.Sorted(maps.Keys(there)) {
		below, base := path.Split(name)
		below = strings.TrimSuffix(below, "/")
		step, ofStep := strings.CutPrefix(below, rundir.Checkpoints+"/")
		_, whole := there[path.Join(below, checkpoint.ManifestFile)]
		switch {
		case !checkpoint.PlainName(base) || base == rundir.LockFile:
			continue
		case ofStep && (!whole || !checkpoint.PlainName(step)):
			continue
		case !ofStep && !slices.Contains([]string{"", rundir.Samples, rundir.Refused, rundir.Checkpoints}, below):
			continue
		}
		to := filepath.Join(dir, filepath.FromSlash(below))
		if err := os.MkdirAll(to, 0o777); err != nil {
			return err
		}
		err := durable.WriteNew(durable.OS, filepath.Join(to, base), func(w io.Writer) error {
			r, err := b.get(ctx, name)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = io.Copy(w, r)
			return b.fail("read", name, err)
		})
		if err == nil {
			err = durable.OS.SyncDir(to)
		}
		if err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, rundir.Samples), 0o777); err != nil {
		return err
	}
	at := rundir.CheckpointsOf(dir)
	newest, refused, err := checkpoint.Newest(durable.OS, at)
	if err != nil {
		return fmt.Errorf("%s: %w", b, err)
	}
	if len(refused) > 0 { // what is newer than the newest whole one was damaged on the way, or there
		name := filepath.Base(newest)
		var step int64
		if _, err := fmt.Sscanf(name, "step-%d", &step); err != nil {
			return err
		}
		if err := checkpoint.Forget(durable.OS, at, step); err != nil {
			return err
		}
	}
	return durable.OS.SyncDir(dir)
}

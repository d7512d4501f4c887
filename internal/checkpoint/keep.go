package checkpoint

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"gimbal/internal/durable"
)

// Refused is a checkpoint that was passed over.
type Refused struct {
	Path string
	Err  error // says which file, what is wrong, and what to do
}

// Info describes a checkpoint in a listing.
type Info struct {
	Path  string
	Step  int64
	Bytes int64    // of the files in the manifest
	Marks []string // names given to this step, sorted
	Err   error    // why it cannot be used, nil if it looks complete
}

// candidates returns the names of all checkpoints in dir, newest first; of one step the one in place comes before the
// one set aside. A missing dir has none.
func candidates(fsys durable.FS, dir string) ([]string, error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: list %s: %w", dir, err)
	}
	var names []string
	for _, e := range entries {
		if _, _, ok := parseName(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		sa, _, _ := parseName(a)
		sb, _, _ := parseName(b)
		return cmp.Or(cmp.Compare(sb, sa), cmp.Compare(len(a), len(b)))
	})
	return names, nil
}

// Newest returns the checkpoint in dir with the highest step that verifies, reading it all, and the ones with higher
// steps that do not. If none verifies the error matches ErrNone, and refused tells why each was refused: then do not
// start over, ask.
func Newest(fsys durable.FS, dir string) (path string, refused []Refused, err error) {
	names, err := candidates(fsys, dir)
	if err != nil {
		return "", nil, err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		_, err := verify(fsys, path)
		if err == nil {
			return path, refused, nil
		}
		refused = append(refused, Refused{path, err})
	}
	if len(refused) == 0 {
		return "", nil, fmt.Errorf("checkpoint: there is none in %s: %w", dir, ErrNone)
	}
	return "", refused, fmt.Errorf("checkpoint: none of the %d in %s can be used: %w (the newest: %v)",
		len(refused), dir, ErrNone, refused[0].Err)
}

// List describes all checkpoints in dir, newest first. It checks manifests and sizes but reads no tensor data: only
// Open and Newest verify content.
func List(fsys durable.FS, dir string) ([]Info, error) {
	names, err := candidates(fsys, dir)
	if err != nil {
		return nil, err
	}
	marks, err := Marks(fsys, dir)
	if err != nil {
		return nil, err
	}
	var infos []Info
	for _, name := range names {
		step, _, _ := parseName(name)
		info := Info{Path: filepath.Join(dir, name), Step: step}
		for mark, s := range marks {
			if s == step {
				info.Marks = append(info.Marks, mark)
			}
		}
		slices.Sort(info.Marks)
		m, err := readManifest(fsys, info.Path)
		if err != nil {
			info.Err = err
			infos = append(infos, info)
			continue
		}
		for _, e := range m.Files {
			info.Bytes += e.Size
			f, err := openListed(fsys, info.Path, e)
			if err == nil {
				err = f.Close()
			}
			info.Err = cmp.Or(info.Err, err)
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Prune deletes checkpoints in dir but: the keep newest ones that look complete, all steps that carry a mark, all whose
// directory name (step-N) is in protect, the newest one that verifies, all newer than that, the newest healthy one
// (NewestHealthy), and those of a newer program. It also sweeps the litter of saves that died. It returns the names
// of what it deleted.
//
// If none verifies, or one or the marks cannot be read, nothing is deleted and the error says so. Each checkpoint is
// renamed before its files go, so a crash leaves whole ones and litter.
func Prune(fsys durable.FS, dir string, keep int, protect []string) (removed []string, err error) {
	infos, err := List(fsys, dir)
	if err != nil {
		return nil, err
	}
	if len(infos) == 0 {
		_, err := durable.Sweep(fsys, dir)
		return nil, err
	}
	newest, _, err := Newest(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: prune %s: nothing is deleted: %w", dir, err)
	}
	healthy, _, err := newestHealthy(fsys, dir, newest)
	if err != nil && !errors.Is(err, ErrNone) {
		return nil, fmt.Errorf("checkpoint: prune %s: nothing is deleted: %w", dir, err)
	}
	protected := func(info Info) bool {
		return len(info.Marks) > 0 || info.Path == healthy || slices.ContainsFunc(protect, func(p string) bool {
			return filepath.Base(p) == StepName(info.Step)
		})
	}
	kept := map[int64]bool{} // steps of which one that looks complete stays
	passed := false          // the newest valid one
	for _, info := range infos {
		if info.Err != nil && !errors.Is(info.Err, ErrCorrupt) && !errors.Is(info.Err, ErrVersion) {
			return nil, fmt.Errorf("checkpoint: prune %s: nothing is deleted: %w", dir, info.Err)
		}
	}
	for _, info := range infos {
		name := filepath.Base(info.Path)
		complete := info.Err == nil
		var stays bool
		switch {
		case !passed || errors.Is(info.Err, ErrVersion):
			stays = true
		case kept[info.Step]: // an older version set aside
		case complete:
			stays = len(kept) < keep || protected(info)
		default:
			stays = protected(info) // perhaps it can be mended
		}
		passed = passed || info.Path == newest
		// What is damaged before the newest valid one does not use up the number to keep.
		if stays && complete && passed {
			kept[info.Step] = true
		}
		if stays {
			continue
		}
		if _, err := discard(fsys, info.Path); err != nil {
			return removed, fmt.Errorf("checkpoint: prune %s: %w", info.Path, err)
		}
		removed = append(removed, name)
	}
	if len(removed) > 0 { // the new names first: see place
		if err := fsys.SyncDir(dir); err != nil {
			return removed, fmt.Errorf("checkpoint: prune %s: %w", dir, err)
		}
	}
	if _, err := durable.Sweep(fsys, dir); err != nil {
		return removed, fmt.Errorf("checkpoint: prune: %w", err)
	}
	return removed, nil
}

// marksFile is the file of the marks in a directory of checkpoints.
const marksFile = "marks.json"

// Marks returns the names given to steps in dir, such as "best-loss"; empty if there are none.
func Marks(fsys durable.FS, dir string) (map[string]int64, error) {
	name := filepath.Join(dir, marksFile)
	data, err := durable.ReadFile(fsys, name, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]int64{}, nil
	}
	if err != nil {
		return nil, err
	}
	var marks map[string]int64
	if err := json.Unmarshal(data, &marks); err != nil || marks == nil {
		return nil, fmt.Errorf("checkpoint: %s is not a list of names and steps (%v): mend it, or delete it to forget "+
			"the marks", name, err)
	}
	return marks, nil
}

// SetMark gives a name to a step in dir, taking it from the step that had it. The checkpoint must be there.
func SetMark(fsys durable.FS, dir, mark string, step int64) error {
	fail := func(err error) error {
		return fmt.Errorf("checkpoint: mark step %d as %q in %s: %w", step, mark, dir, err)
	}
	if _, err := fsys.Stat(filepath.Join(dir, StepName(step))); errors.Is(err, fs.ErrNotExist) {
		return fail(ErrNone)
	} else if err != nil {
		return fail(err)
	}
	marks, err := Marks(fsys, dir)
	if err != nil {
		return err
	}
	if s, ok := marks[mark]; ok && s == step {
		return nil
	}
	marks = maps.Clone(marks)
	marks[mark] = step
	if err := writeMarks(fsys, dir, marks); err != nil {
		return fail(err)
	}
	return nil
}

func writeMarks(fsys durable.FS, dir string, marks map[string]int64) error {
	data, err := json.MarshalIndent(marks, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(fsys, filepath.Join(dir, marksFile), append(data, '\n'))
}

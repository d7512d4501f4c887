package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"gimbal/internal/durable"
)

const marksFile = "marks.json"

// Marks returns the names that were given to steps in dir, such as "best-loss"; empty if there are none.
func Marks(fsys durable.FS, dir string) (map[string]int64, error) {
	name := filepath.Join(dir, marksFile)
	data, err := durable.ReadFile(fsys, name, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]int64{}, nil
	}
	if err != nil {
		return nil, err
	}
	marks, err := parseMarks(data)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %s: %w: %w: gimbal resume makes it again", name, err, ErrCorrupt)
	}
	return marks, nil
}

// The marks have an entry with their sum, so that no step can change unseen. It is far above every step, so that it is
// recognised where its name is damaged. Older versions wrote none.
const (
	marksSum = "crc32c"
	sumBase  = 1 << 42
	mostStep = 1_000_000_000_000
)

func parseMarks(data []byte) (map[string]int64, error) {
	var marks map[string]int64
	if err := json.Unmarshal(data, &marks); err != nil || marks == nil {
		return nil, fmt.Errorf("it is not a list of names and steps (%v)", err)
	}
	sum, ok := marks[marksSum]
	delete(marks, marksSum)
	for _, step := range marks {
		if ok = ok || step >= mostStep; step < 0 {
			return nil, fmt.Errorf("step %d is negative", step)
		}
	}
	if ok && sum != sumOf(marks) {
		return nil, errors.New("the names and steps are not those that were written")
	}
	return marks, nil
}

// sumOf is the sum of marks: the CRC-32C of names and steps in the order of names, above sumBase.
func sumOf(marks map[string]int64) int64 {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for _, name := range slices.Sorted(maps.Keys(marks)) {
		fmt.Fprintf(h, "%q %d\n", name, marks[name])
	}
	return sumBase + int64(h.Sum32())
}

// SetMark gives a name to a step in dir, taking it from the step that had it. The checkpoint must be there.
func SetMark(fsys durable.FS, dir, mark string, step int64) (err error) {
	defer wrap(&err, "mark step %d as %q in %s", step, mark, dir)
	if _, err := fsys.Stat(filepath.Join(dir, StepName(step))); errors.Is(err, fs.ErrNotExist) {
		return ErrNone
	} else if err != nil {
		return err
	}
	return SetMarks(fsys, dir, map[string]int64{mark: step})
}

// SetMarks gives names to steps in dir, in one write; a step below 0 takes its name away. Other names stay. Marks that
// cannot be parsed are made anew from these.
func SetMarks(fsys durable.FS, dir string, marks map[string]int64) error {
	old, err := Marks(fsys, dir)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	all := maps.Clone(old)
	if all == nil {
		all = map[string]int64{}
	}
	maps.Copy(all, marks)
	maps.DeleteFunc(all, func(_ string, step int64) bool { return step < 0 })
	if err == nil && maps.Equal(all, old) {
		return nil
	}
	return writeMarks(fsys, dir, all)
}

func writeMarks(fsys durable.FS, dir string, marks map[string]int64) error {
	all := maps.Clone(marks)
	all[marksSum] = sumOf(marks)
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(fsys, filepath.Join(dir, marksFile), append(data, '\n'))
}

package train

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gimbal/internal/durable"
)

// Names of what lies in a run directory.
const (
	configName      = "config.toml"
	tokenizerName   = "tokenizer.json"
	logName         = "log.jsonl"
	samplesName     = "samples"
	checkpointsName = "checkpoints"
	averagedName    = "averaged"
	reportName      = "report.md"
	lockName        = "lock"
	refusedName     = "refused"
	postMortemName  = "post-mortem.md"
)

// newDir makes the directory of a new run and locks it. An empty name becomes runs/<date>-<label>.
func newDir(name, label string, now time.Time) (string, *durable.FileLock, error) {
	if name == "" {
		base := filepath.Join("runs", now.Format("2006-01-02-1504")+"-"+label)
		name = base
		for i := 2; exists(name); i++ {
			name = fmt.Sprintf("%s-%d", base, i)
		}
	}
	if exists(filepath.Join(name, configName)) || exists(filepath.Join(name, checkpointsName)) {
		return "", nil, fmt.Errorf("%w: %s (continue it with \"gimbal resume %s\", or choose another --out)", ErrExists, name, name)
	}
	if err := os.MkdirAll(filepath.Join(name, samplesName), 0o777); err != nil {
		return "", nil, fmt.Errorf("train: make the run directory: %w", err)
	}
	lock, err := durable.Lock(filepath.Join(name, lockName))
	if err != nil {
		return "", nil, fmt.Errorf("train: %w", err)
	}
	return name, lock, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// label is a short name for a run from what it reads and what it trains.
func label(paths []string, preset string) string {
	name := "go"
	if len(paths) > 0 {
		name = strings.TrimSuffix(filepath.Base(filepath.Clean(paths[0])), filepath.Ext(paths[0]))
	}
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, name)
	if clean = strings.Trim(clean, "-"); clean == "" {
		clean = "text"
	}
	if preset == "" {
		return clean
	}
	return clean + "-" + preset
}

package rundir

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/runlog"
)

// ParseConfig parses the configuration of a run. Every run's file has every key, so one that lacks some was cut short.
func ParseConfig(raw []byte) (*config.Config, error) {
	cfg, err := config.Reread(ConfigFile, raw, nil)
	if err != nil {
		return nil, err
	}
	switch lacks := cfg.Lacks(); {
	case len(lacks) == len(config.Keys()), len(raw) == 0:
		return nil, errors.New("empty")
	case len(lacks) > 0:
		return nil, fmt.Errorf("it was cut short: %s and %d more keys are missing", lacks[0], len(lacks)-1)
	}
	return cfg, nil
}

// Verify compares what lies beside the checkpoints of the run in dir with what the state in c recorded, and returns the
// facts of the state. Errors match ErrResume and say what to do.
func Verify(dir string, c *checkpoint.Checkpoint) (f Facts, err error) {
	if f, err = ReadFacts(c); err != nil {
		return f, err
	}
	return f, errors.Join(f.CheckLog(dir, c.Path()), f.CheckTokenizer(dir, c))
}

// Damage says what is wrong beside a checkpoint of the run that a person names; nil for a checkpoint without its run.
// It is for whoever needs the checkpoint only, and may go on.
func Damage(name string, c *checkpoint.Checkpoint) error {
	run, err := Find(name)
	if _, none := c.File(StateFile); err != nil || run == "" || none != nil {
		return nil
	}
	_, err = Config(run)
	_, other := Verify(run, c)
	return errors.Join(err, other)
}

// CheckLog compares the log with its beginning, or in runs from before that was recorded with the steps done.
func (f Facts) CheckLog(dir, saved string) error {
	r, err := durable.Inside(dir).Open(filepath.Join(dir, LogFile))
	if err == nil {
		if f.Log.Bytes > 0 {
			err = f.Log.Check(r)
		} else {
			err = f.reached(r)
		}
		err = errors.Join(err, r.Close())
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s is not the log of the run, or not all of it: %w: put a copy back, or begin a new "+
		"run with the weights: gimbal train --from %s", ErrResume, filepath.Join(dir, LogFile), err, saved)
}

// reached reports a log that ends before the checkpoint.
func (f Facts) reached(r io.Reader) error {
	log, err := runlog.Parse(r)
	if err != nil {
		return err
	}
	last := int64(-1)
	for _, rec := range log.Records {
		last = max(last, rec.At.Step)
	}
	if last < f.Step {
		return fmt.Errorf("it ends at step %d, and the checkpoint is of step %d", last, f.Step)
	}
	return nil
}

// CheckTokenizer compares the tokenizer beside the checkpoints with that of the run, which the checkpoint has too.
func (f Facts) CheckTokenizer(dir string, c *checkpoint.Checkpoint) error {
	name := filepath.Join(dir, TokenizerFile)
	raw, err := Read(dir, TokenizerFile, maxCompanion)
	if sum := sha256.Sum256(raw); err == nil && hex.EncodeToString(sum[:]) != f.TokenizerHash {
		own, oerr := c.File(TokenizerFile)
		if oerr != nil || !bytes.Equal(own, raw) {
			err = errors.New("it is not the tokenizer of the run")
		}
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: %w: copy %s over it", ErrResume, name, err, filepath.Join(c.Path(), TokenizerFile))
}

// Bytes of files beside the checkpoints that are read whole.
const (
	maxConfig    = 1 << 20
	maxCompanion = 1 << 28
)

// copyOfConfig says where the configuration of a run is as it was: in the newest checkpoint that has one.
func copyOfConfig(dir string) string {
	infos, _ := checkpoint.List(durable.Inside(dir), CheckpointsOf(dir))
	i := slices.IndexFunc(infos, func(info checkpoint.Info) bool {
		_, err := os.Stat(filepath.Join(info.Path, ConfigCopy))
		return info.Err == nil && err == nil
	})
	if i < 0 {
		return "put a copy back"
	}
	return fmt.Sprintf("copy %s over it", filepath.Join(infos[i].Path, ConfigCopy))
}

// Read returns a file of the run in dir of at most limit bytes.
func Read(dir, name string, limit int64) ([]byte, error) {
	return durable.ReadFile(durable.Inside(dir), filepath.Join(dir, name), limit)
}

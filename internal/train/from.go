package train

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/hub"
	"gimbal/internal/model"
	"gimbal/internal/tokenizer"
)

// base is a checkpoint whose weights and tokenizer are used: by a run that starts from it, or to be measured.
type base struct {
	*checkpoint.Checkpoint
	tok  *tokenizer.Tokenizer
	arch config.Arch
}

// openBase opens what Options.From names; nil when it names nothing.
func openBase(path string) (*base, error) {
	if path == "" {
		return nil, nil
	}
	c, err := OpenCheckpoint(path, "")
	if err != nil {
		return nil, err
	}
	b := &base{Checkpoint: c}
	if b.tok, b.arch, err = Describe(c); err != nil {
		c.Close()
		return nil, err
	}
	return b, nil
}

// adopt writes the shape of weights into the configuration of a run that uses them, so that the run says what it trains.
// It refuses a setting that asks for another shape. origin says where the weights are from.
func adopt(cfg *config.Config, a config.Arch, origin string) error {
	for _, k := range []struct {
		key   string
		value any
	}{
		{"model.shape", a.Shape}, {"model.layers", a.Layers}, {"model.width", a.Width}, {"model.heads", a.Heads}, {"model.kv_heads", a.KVHeads},
		{"model.head_size", a.HeadSize}, {"model.mlp", a.MLP}, {"model.tie", a.Tie},
	} {
		given, _ := cfg.Value(k.key)
		if given == fmt.Sprint(k.value) {
			continue
		}
		if where := cfg.Origin(k.key); where != "default" && !cfg.Auto(k.key) {
			return &config.Error{Faults: []config.Fault{{Where: where, Key: k.key, Text: fmt.Sprintf("%s is not the %v of %s; leave it out", given, k.value, origin)}}}
		}
		if err := cfg.SetPlanned(k.key, k.value, "from "+origin); err != nil {
			return err
		}
	}
	return cfg.Check()
}

// architecture is the decoder of a run: that of the weights it starts from, or else the one that the configuration
// describes. Sequences have the run's context; positions that are computed end there, positions that were learned are
// all kept.
func architecture(cfg *config.Config, tok *tokenizer.Tokenizer, from *config.Arch) (config.Arch, error) {
	if from == nil {
		return cfg.Arch(tok.VocabSize())
	}
	a := *from
	a.Dropout = cfg.Model.Dropout
	switch {
	case a.Position == "rope":
		a.Context = cfg.Train.Context
	case a.Context < cfg.Train.Context:
		return a, &config.Error{Faults: []config.Fault{{Where: cfg.Origin("train.context"), Key: "train.context",
			Text: fmt.Sprintf("%d is more than the %d positions that the weights have learned", cfg.Train.Context, a.Context)}}}
	}
	return a, nil
}

// templateOf returns the template of conversations of a checkpoint, "" if it has none.
func templateOf(c *checkpoint.Checkpoint) (string, error) {
	data, err := c.File(templateName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return string(data), nil
}

// load puts the weights into p.
func (b *base) load(p *model.Params[float32]) error { return model.LoadEntries(p, b.Model()) }

// CheckpointsOf returns the directory of the checkpoints of a run.
func CheckpointsOf(run string) string { return filepath.Join(run, checkpointsName) }

// OpenCheckpoint opens a checkpoint directory, or one of a run: the named one (stable, best-loss, last,
// averaged or step-N), or where name is empty the stable one, else the last one, else the newest that verifies.
func OpenCheckpoint(path, name string) (*checkpoint.Checkpoint, error) {
	dir := filepath.Join(path, checkpointsName)
	if _, err := os.Stat(dir); err != nil {
		if name != "" {
			return nil, fmt.Errorf("%w: %s is no run, so it has no checkpoint %q", ErrCheckpoint, path, name)
		}
		if _, err := os.Stat(filepath.Join(path, "manifest.json")); err == nil {
			return checkpoint.Open(durable.OS, path)
		}
		c, err := checkpoint.OpenWeights(durable.OS, path)
		if err != nil {
			return nil, fmt.Errorf("%w: %s is neither a run nor a checkpoint: %w", ErrCheckpoint, path, err)
		}
		return c, nil
	}
	if name == averagedName {
		c, err := checkpoint.Open(durable.OS, filepath.Join(path, averagedName))
		if errors.Is(err, checkpoint.ErrNone) {
			return nil, fmt.Errorf("%w: %s has no average of checkpoints; a run that ends with judge.average makes one, and its report says why when it does not", ErrCheckpoint, path)
		}
		return c, err
	}
	marks, err := checkpoint.Marks(durable.OS, dir)
	if err != nil {
		return nil, err
	}
	wanted := []string{"stable", "last"}
	if name != "" {
		wanted = []string{name}
	}
	for _, mark := range wanted {
		if step, ok := marks[mark]; ok {
			return checkpoint.Open(durable.OS, filepath.Join(dir, checkpoint.StepName(step)))
		}
	}
	if name != "" {
		at := filepath.Join(dir, filepath.Base(name))
		if _, err := os.Stat(at); err != nil {
			return nil, fmt.Errorf("%w: %s has no checkpoint %q (it has %v)", ErrCheckpoint, path, name, marks)
		}
		return checkpoint.Open(durable.OS, at)
	}
	c, _, err := newest(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return c, nil
}

// Describe reads the tokenizer and the architecture of a checkpoint, and checks that its weights fit.
func Describe(c *checkpoint.Checkpoint) (*tokenizer.Tokenizer, config.Arch, error) {
	tok, arch, err := hub.Describe(c)
	if err == nil {
		err = model.CheckEntries(arch, c.Model())
	}
	if err != nil {
		return nil, config.Arch{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return tok, arch, nil
}

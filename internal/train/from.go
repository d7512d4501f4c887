package train

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
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

// describe writes the base's shape into the configuration of the run that starts from it, so that the run can be
// resumed without the base. It refuses a setting that asks for another shape.
func (b *base) describe(cfg *config.Config) error {
	a := b.arch
	for _, k := range []struct {
		key   string
		value any
	}{
		{"model.shape", a.Shape}, {"model.layers", a.Layers}, {"model.width", a.Width}, {"model.heads", a.Heads}, {"model.kv_heads", a.KVHeads},
		{"model.head_size", a.HeadSize}, {"model.mlp", a.MLP}, {"model.tie", a.Tie},
	} {
		given, _ := cfg.Value(k.key)
		if origin := cfg.Origin(k.key); origin != "default" && given != fmt.Sprint(k.value) {
			return &config.Error{Faults: []config.Fault{{Where: origin, Key: k.key, Text: fmt.Sprintf("%s is not the %v of %s; leave it out", given, k.value, b.Path())}}}
		}
		if err := cfg.SetPlanned(k.key, k.value, "from "+b.Path()); err != nil {
			return err
		}
	}
	own, err := cfg.Arch(b.tok.VocabSize())
	if err != nil {
		return err
	}
	own.Dropout, a.Dropout = 0, 0 // a choice of the run, not of the weights
	if own.Position == "rope" {
		a.Context = own.Context // positions are computed, so any context will do
	}
	if own != a {
		return fmt.Errorf("%w: the shape of %s cannot be trained on: a run of its size differs in %s", ErrCheckpoint, b.Path(), strings.Join(differences(a, own), ", "))
	}
	return nil
}

// differences names the fields in which two architectures differ.
func differences(a, b config.Arch) (names []string) {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if !x.Field(i).Equal(y.Field(i)) {
			names = append(names, fmt.Sprintf("%s (%v, not %v)", strings.ToLower(x.Type().Field(i).Name), x.Field(i), y.Field(i)))
		}
	}
	return names
}

// load puts the weights into p.
func (b *base) load(p *model.Params[float32]) error { return model.LoadEntries(p, b.Model()) }

// OpenCheckpoint opens a checkpoint directory, or one of a run: the named one (stable, best-loss, last, or
// step-N), or where name is empty the stable one, else the last one, else the newest that verifies.
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

// Describe reads the tokenizer and the architecture of a checkpoint.
func Describe(c *checkpoint.Checkpoint) (*tokenizer.Tokenizer, config.Arch, error) {
	raw, err := c.File(tokenizerName)
	if err != nil {
		return nil, config.Arch{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	tok, err := tokenizer.Parse(raw)
	if err != nil {
		return nil, config.Arch{}, fmt.Errorf("%w: %s: %w", ErrCheckpoint, c.Path(), err)
	}
	if raw, err = c.File("config.json"); err != nil {
		return nil, config.Arch{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	arch, err := model.ParseHFConfig(raw)
	if err != nil {
		return nil, config.Arch{}, fmt.Errorf("%w: %s: %w", ErrCheckpoint, c.Path(), err)
	}
	return tok, arch, nil
}

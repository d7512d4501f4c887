package gimbal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gimbal/internal/checkpoint"
	"gimbal/internal/hub"
	"gimbal/internal/rundir"
)

// ImportOptions say what [Import] makes.
type ImportOptions struct {
	// Out is the directory to make, which must not hold anything yet. Empty: "imported/" and the name of the source.
	Out string
}

// Imported is what [Import] made.
type Imported struct {
	Dir        string `json:"dir"`        // what Open, Evaluate and TrainOptions.From take
	Checkpoint string `json:"checkpoint"` // path of the checkpoint in it
	Shape      string `json:"shape"`      // family of the decoder, such as "qwen3"
	Parameters int64  `json:"parameters"` // number of them
	Context    int    `json:"context"`    // longest text, in tokens

	// Notes are sentences about what the files of the model say and Gimbal does not do, or does otherwise.
	Notes []string `json:"notes,omitempty"`
}

// Import makes a model of a Hugging Face model directory: config.json, tokenizer.json, and the weights as safetensors,
// in one file or in shards. The directory is not trusted: files that could run code are not read.
//
// Memory: four bytes for each parameter. It fails with a [CheckpointError] that names the file and the key that cannot
// be used, with [ErrNoSpace], or with the error of ctx; then nothing was written.
func Import(ctx context.Context, dir string, opt ImportOptions) (*Imported, error) {
	out := opt.Out
	if out == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		out = filepath.Join("imported", filepath.Base(abs))
	}
	if there, err := os.ReadDir(out); err == nil && len(there) > 0 {
		return nil, unusable(out, "%s is there already and not empty: name another directory with --out", out)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	in, err := hub.Import(ctx, dir, out)
	if err != nil {
		return nil, classify(err, dir)
	}
	params, _ := in.Arch.Params()
	return &Imported{Dir: out, Checkpoint: in.Path, Shape: in.Arch.Shape, Parameters: params, Context: in.Arch.Context,
		Notes: in.Notes}, nil
}

// ExportOptions say what [Export] writes.
type ExportOptions struct {
	// Checkpoint chooses a checkpoint of a run: "stable", "best-loss", "last" or "step-N". Empty: the stable one, else
	// the last, if it is healthy.
	Checkpoint string
	// DType is the type of the weights: "fp32", which is exact, or "bf16", which rounds. Empty: fp32.
	DType string
	// Merge adds an adapter to the weights that it stands beside. Without it, the adapter is written as PEFT does, in
	// fp32. It says nothing where there is no adapter.
	Merge bool
}

// Exported is what [Export] wrote.
type Exported struct {
	Checkpoint string `json:"checkpoint"` // path of what was exported
	Step       int64  `json:"step"`       // updates behind it
	Dir        string `json:"dir"`        // that was made
	DType      string `json:"dtype"`      // of the weights
	Health     string `json:"health"`     // of the checkpoint, in a few words
}

// Export writes a checkpoint, or one of a run, as the Hugging Face model directory dir, which must not hold anything
// yet. The same checkpoint gives the same bytes.
//
// It fails with a [CheckpointError], also if the checkpoint is not healthy and was not chosen by name; with
// [ErrNoSpace]; or with the error of ctx. Then dir was not made.
func Export(ctx context.Context, path, dir string, opt ExportOptions) (_ *Exported, err error) {
	if opt.DType == "" {
		opt.DType = "fp32"
	}
	c, err := rundir.OpenCheckpoint(path, opt.Checkpoint)
	if err != nil {
		return nil, classify(err, path)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	health := "unknown: it has no certificate"
	switch h, err := checkpoint.ReadHealth(c); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, unusable(c.Path(), "%w", err)
	case !h.Healthy() && opt.Checkpoint == "":
		return nil, unusable(c.Path(), "%s is %v: choose another checkpoint, or name this one (--checkpoint %s) to export "+
			"it all the same", c.Path(), h, checkpoint.StepName(c.Step()))
	default:
		health = h.String()
	}
	switch {
	case c.Adapter() && !opt.Merge && opt.DType != "fp32":
		return nil, fmt.Errorf("gimbal: an adapter is written in fp32, not in %s; merge it to export it so", opt.DType)
	case c.Adapter() && !opt.Merge:
		err = hub.ExportAdapter(ctx, c, dir)
	default:
		err = hub.Export(ctx, c, dir, opt.DType)
	}
	if err != nil {
		return nil, classify(err, path)
	}
	return &Exported{Checkpoint: c.Path(), Step: c.Step(), Dir: dir, DType: opt.DType, Health: health}, nil
}

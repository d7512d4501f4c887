package gimbal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gimbal/internal/checkpoint"
	"gimbal/internal/hub"
	"gimbal/internal/rundir"
)

// Imported is what [Import] made of a Hugging Face model directory.
type Imported struct {
	Dir        string `json:"dir"`
	Checkpoint string `json:"checkpoint"`
	Shape      string `json:"shape"`
	Parameters int64  `json:"parameters"`
	Context    int    `json:"context"`
}

// Import reads the Hugging Face model directory dir (safetensors, in one file or in shards) and makes out of it a
// checkpoint that [Open], [Evaluate] and Options.From take. The directory out must not hold anything yet; empty is
// "imported/" and the name of dir. What cannot be computed is refused by file and key; errors match [ErrCheckpoint].
func Import(dir, out string) (*Imported, error) {
	if out == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		out = filepath.Join("imported", filepath.Base(abs))
	}
	if there, err := os.ReadDir(out); err == nil && len(there) > 0 {
		return nil, &classed{ErrCheckpoint, fmt.Errorf("%s is there already and not empty: name another directory with --out", out)}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	got, err := hub.Import(dir, rundir.CheckpointsOf(out))
	if err != nil {
		return nil, classifyHub(err)
	}
	return &Imported{Dir: out, Checkpoint: got.Path, Shape: got.Arch.Shape, Parameters: got.Params, Context: got.Arch.Context}, nil
}

// ExportOptions say what is exported and how.
type ExportOptions struct {
	Checkpoint string // stable, best-loss, last or step-N; empty: the stable one, else the last, if it is healthy
	DType      string // fp32, or bf16, which rounds; empty: fp32
}

// Exported is what [Export] wrote.
type Exported struct {
	Checkpoint string `json:"checkpoint"`
	Step       int64  `json:"step"`
	Dir        string `json:"dir"`
	DType      string `json:"dtype"`
	Health     string `json:"health"` // of the checkpoint, in a few words
}

// Export writes a checkpoint, or one of a run, as the Hugging Face model directory dir, which must not hold anything
// yet. The same checkpoint gives the same bytes. One whose certificate says that it is not healthy is exported only if
// it is named. Errors match [ErrCheckpoint].
func Export(path, dir string, opt ExportOptions) (_ *Exported, err error) {
	if opt.DType == "" {
		opt.DType = "fp32"
	}
	c, err := rundir.OpenCheckpoint(path, opt.Checkpoint)
	if err != nil {
		return nil, classify(err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	health := "unknown: it has no certificate"
	switch h, err := checkpoint.ReadHealth(c); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, &classed{ErrCheckpoint, err}
	case !h.Healthy() && opt.Checkpoint == "":
		return nil, &classed{ErrCheckpoint, fmt.Errorf("%s is %v: choose another checkpoint, or name this one (--checkpoint %s) to export it all the same",
			c.Path(), h, checkpoint.StepName(c.Step()))}
	default:
		health = h.String()
	}
	if err := hub.Export(c, dir, opt.DType); err != nil {
		return nil, classifyHub(err)
	}
	return &Exported{Checkpoint: c.Path(), Step: c.Step(), Dir: dir, DType: opt.DType, Health: health}, nil
}

// classifyHub puts what is wrong with a model directory into the class of checkpoints.
func classifyHub(err error) error {
	var bad *hub.Error
	if errors.As(err, &bad) {
		return &classed{ErrCheckpoint, err}
	}
	return classify(err)
}

package gimbal

import (
	"context"
	"sync"

	"gimbal/internal/chat"
	"gimbal/internal/config"
	"gimbal/internal/engine"
	"gimbal/internal/hub"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/param"
	"gimbal/internal/tokenizer"
)

// Model is a trained model, ready to write and to score texts.
//
// It is safe for concurrent use. One pass through the model is computed at a time, on all workers: a pass is one token
// of each text of a call, a part of a prompt, or a piece of a scored text. After each pass the next call in line has
// its turn. So calls share the model evenly, and one that is slow to take its tokens from [Model.Stream] keeps nobody
// waiting.
type Model struct {
	info  ModelInfo
	arch  config.Arch
	tok   *tokenizer.Tokenizer
	start int32 // the token after which texts begin

	format chat.Format // of conversations; nil: the model knows none
	ends   []int32     // tokens that end an answer
	stop   string      // text that ends one, where no token does

	turn   chan struct{} // holds one element while somebody computes; who waits to send is served in order
	closed chan struct{}
	once   sync.Once

	// To be used in turn.
	exec   *kernel.Exec
	writer *model.Decoder[float32]
	kept   *kept                 // of the last call with GenerateOptions.Keep
	scorer *model.Model[float32] // made by the first Score
	device *onDevice             // in place of the four; nil: the CPU computes
}

// ModelInfo describes a [Model].
type ModelInfo struct {
	Path       string `json:"path"`       // of the checkpoint
	Step       int64  `json:"step"`       // updates behind it
	Shape      string `json:"shape"`      // family of the decoder, such as "qwen3"
	Parameters int64  `json:"parameters"` // number of them
	Vocabulary int    `json:"vocabulary"` // tokens
	Context    int    `json:"context"`    // longest text, in tokens, with the token that starts it

	// Chat says in a sentence how conversations are written; empty: the model was not trained on any.
	Chat string `json:"chat,omitempty"`

	// Notes are sentences about what the files of the model say and Gimbal does not do, or does otherwise.
	Notes []string `json:"notes,omitempty"`
}

// OpenOptions say how [Open] opens a model.
type OpenOptions struct {
	// Checkpoint chooses a checkpoint of a run: "stable", "best-loss", "last" or "step-N". Empty: the stable one, else
	// the last.
	Checkpoint string
	// Workers is the number of threads that compute. 0: one for each processor that Go may use.
	Workers int
	// Weights is the format of the matrices that write texts: "fp32", "bf16", or "int8", which rounds 32 neighbours
	// in a row to 8 bits with a common scale. Fewer bytes make a text faster, and a little different; Score does not
	// change. Empty: as training computes.
	Weights string
	// Device is what computes, as in [TrainOptions]. A device takes seconds to begin, compiles programs for the
	// lengths of texts, and is faster with many texts. Weights is for the CPU. Empty: "cpu".
	Device string
}

// Limits of a pass: the more there are, the less often the weights are read, and the longer do others wait.
const (
	promptAtOnce = 256 // tokens of prompts
	textsAtOnce  = 128 // each with a token
)

// Open opens a model: the directory of a run, the name of a run below runs/, or a checkpoint.
//
// Memory: four bytes for each parameter (eight with bf16 arithmetic; with Weights "bf16" six, with "int8" five), and
// about twice as much more from the first Score on. Each call of Generate or Stream holds keys and values while it
// runs. Once Open has returned the files may go.
//
// It fails with a [CheckpointError] if nothing there can be used. Close gives everything back.
func Open(path string, opt OpenOptions) (*Model, error) {
	m, err := open(path, opt)
	if err != nil {
		return nil, classify(err, path)
	}
	return m, nil
}

func open(path string, opt OpenOptions) (m *Model, err error) {
	if err := threads(opt.Workers); err != nil {
		return nil, err
	}
	c, err := hub.OpenModel(path, opt.Checkpoint)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	m = &Model{arch: c.Arch, tok: c.Tok, turn: make(chan struct{}, 1), closed: make(chan struct{})}
	params, _ := c.Arch.Params()
	m.info = ModelInfo{Path: c.Path(), Step: c.Step(), Shape: c.Arch.Shape, Parameters: params, Vocabulary: c.Arch.Vocab,
		Context: c.Arch.Context, Notes: c.Notes}
	m.start = c.Start()
	m.converse(c)
	if opt.Device != "" && opt.Device != "cpu" {
		if m.device, err = openDevice(c, opt); m.device != nil || err != nil {
			return m, err
		}
	}
	if m.exec, err = kernel.NewExec(opt.Workers, kernel.TierAuto); err != nil {
		return nil, err
	}
	if err := m.load(c, opt.Weights); err != nil {
		m.exec.Close()
		return nil, err
	}
	return m, nil
}

func (m *Model) load(c *hub.Model, weights string) (err error) {
	m.writer, err = model.NewDecoder[float32](m.arch, m.exec, model.DecoderOptions{
		Tokens: promptAtOnce + textsAtOnce, Rows: textsAtOnce, Mode: model.ModeAuto, Weights: weights})
	if err != nil {
		return err
	}
	if err := param.LoadEntries(m.writer.Params(), c.Model()); err != nil {
		return err
	}
	if err := engine.Finite(m.writer.Params()); err != nil {
		return &hub.Error{Dir: c.Path(), Err: err}
	}
	m.writer.Refresh()
	return nil
}

// Info describes the model.
func (m *Model) Info() ModelInfo { return m.info }

// Close gives back the workers and the memory. It waits for the pass in progress; other calls that are in progress end
// with [ErrClosed], as later ones do. It may be called several times and returns nil.
func (m *Model) Close() error {
	m.once.Do(func() {
		close(m.closed)
		m.turn <- struct{}{} // and is not given back
		if m.device != nil {
			m.device.close()
			return
		}
		m.exec.Close()
		m.writer, m.kept, m.scorer = nil, nil, nil
	})
	return nil
}

// compute calls pass when it is this call's turn. It fails if ctx is done or the model is closed before.
func (m *Model) compute(ctx context.Context, pass func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return ctx.Err()
	case <-m.closed:
		return ErrClosed
	}
	select {
	case <-m.closed: // it was closed while the turn was free, too
		return ErrClosed
	default:
		return pass()
	}
}

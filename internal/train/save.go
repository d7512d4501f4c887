package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/guard"
	"gimbal/internal/judge"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/runlog"
	"gimbal/internal/safetensors"
)

const stateVersion = 1

// state is the rest of a run beside weights and moments: everything that decides what comes next.
type state struct {
	Version  int   `json:"version"`
	Step     int64 `json:"step"`     // updates done
	Batch    int64 `json:"batch"`    // cursor into the data: batches taken
	Sequence int64 `json:"sequence"` // cursor into the data: sequences taken
	Attempt  int64 `json:"attempt"`
	Tokens   int64 `json:"tokens"` // labels learned from
	Evals    int   `json:"evals"`

	Best     runlog.Float `json:"best_loss"` // lowest validation loss, nats per token
	BestStep int64        `json:"best_step"` // 0: none yet
	Guard    guard.State  `json:"guard"`
	Health   healthState  `json:"health"`

	Layered optim.LayeredState `json:"layered,omitzero"` // with optim.agc

	Quarantine []sequence     `json:"quarantine,omitempty"`        // left out for the rest of the run
	Anchor     int64          `json:"anchor"`                      // step to go back to: the newest planned save that was healthy
	Average    []int64        `json:"average,omitempty"`           // steps that an average at the end would be of
	AtAnchor   []int64        `json:"average_at_anchor,omitempty"` // what Average was there: going back needs them again
	Rewinds    int            `json:"rewinds,omitempty"`           // times the run went back
	Faults     []plantedFault `json:"faults,omitempty"`            // planted on purpose

	Trouble trouble `json:"trouble"`

	History  []judge.Point `json:"history,omitempty"`  // the evaluations so far
	Stopped  string        `json:"stopped,omitempty"`  // why the judge ended the run
	Illusion bool          `json:"illusion,omitempty"` // it was said that the loss flatters

	Baseline Baseline `json:"baseline"`

	Cycle     cycle   `json:"cycle"`                // the last cycle of the learning rate that ended
	RateLimit float64 `json:"rate_limit,omitempty"` // rate at which the probe's loss was least: no nudge goes above it; 0: no probe

	// What the bits depend on. A resume refuses other data and says when the others changed.
	ConfigHash    string `json:"config_hash"`
	DataHash      string `json:"data_hash"`
	TokenizerHash string `json:"tokenizer_hash"`
	Numerics      string `json:"numerics"` // kernel tier and precision
}

const (
	stateName    = "state.json"
	templateName = "chat_template.jinja"
	prefixM      = "exp_avg."    // first moments, PyTorch's name
	prefixV      = "exp_avg_sq." // second moments
)

// snapshot describes the run as it stands; it shares the memory of weights and moments.
func (t *trainer) snapshot() (*checkpoint.Snapshot, error) {
	eos, bos := t.corpus.tok.EOS(), t.startToken()
	template := t.corpus.set.ChatTemplate()
	if template == "" {
		template = t.template
	}
	files := map[string][]byte{}
	for name, make := range map[string]func() ([]byte, error){
		"config.json":            func() ([]byte, error) { return model.HFConfig(t.arch, eos, bos) },
		"generation_config.json": func() ([]byte, error) { return model.GenerationConfig(eos, bos, t.corpus.set.TurnEnds()...) },
		tokenizerName:            t.corpus.tok.JSON,
		"tokenizer_config.json":  func() ([]byte, error) { return t.corpus.tok.ConfigJSON(t.arch.Context, template) },
		stateName:                func() ([]byte, error) { return json.MarshalIndent(&t.state, "", "  ") },
		checkpoint.HealthFile:    t.health().Encode,
	} {
		data, err := make()
		if err != nil {
			return nil, fmt.Errorf("train: write %s: %w", name, err)
		}
		files[name] = data
	}
	if template != "" {
		files[templateName] = []byte(template)
	}
	p := t.model.Params()
	moments := make([]safetensors.Entry, 0, 2*len(p.Views))
	for _, v := range p.Views {
		moments = append(moments,
			safetensors.Entry{Name: prefixM + v.Name, Shape: v.Shape, Data: t.adam.M[v.Lo:v.Hi]},
			safetensors.Entry{Name: prefixV + v.Name, Shape: v.Shape, Data: t.adam.V[v.Lo:v.Hi]})
	}
	return &checkpoint.Snapshot{Step: t.state.Step, Files: files, Model: model.Entries(p), Optimizer: moments}, nil
}

// save writes a checkpoint of the run as it stands and prunes old ones. Weights and moments that are not finite are
// never saved: a checkpoint is something to come back to.
func (t *trainer) save() error {
	p := t.model.Params()
	for _, kind := range []struct {
		name   string
		values []float32
	}{{"weight", p.Flat}, {"first moment of", t.adam.M}, {"second moment of", t.adam.V}} {
		if name, index, value, bad := p.FirstNonFinite(kind.values); bad {
			return fmt.Errorf("train: not saved: %s %s[%d] of step %d is %v", kind.name, name, index, t.state.Step, value)
		}
	}
	if err := t.log.Sync(); err != nil {
		return err
	}
	fsys := t.injectDisk()
	s, err := t.snapshot()
	if err != nil {
		return err
	}
	dir := filepath.Join(t.dir, checkpointsName)
	began := time.Now()
	if _, err := checkpoint.Save(fsys, dir, s); err != nil {
		return err
	}
	if err := t.watchDisk(time.Since(began)); err != nil {
		return err
	}
	if err := t.mark(dir); err != nil {
		return err
	}
	t.saved = t.state.Step
	_, err = checkpoint.Prune(t.fs, dir, t.cfg.Checkpoint.Keep, t.protected())
	return err
}

// protected are the names of the checkpoints that are still needed, whatever their age.
func (t *trainer) protected() []string {
	names := []string{checkpoint.StepName(t.state.Anchor)}
	for _, step := range slices.Concat(t.state.Average, t.state.AtAnchor) {
		names = append(names, checkpoint.StepName(step))
	}
	return names
}

// savePlanned saves at a step at which every run of this plan saves, and makes it the one to go back to if it is
// healthy. What an interrupt saves is none: a run that was never interrupted could not go back there.
func (t *trainer) savePlanned() error {
	anchor, average, atAnchor := t.state.Anchor, t.state.Average, t.state.AtAnchor
	t.state.Average = t.averageOf()
	if t.calm() {
		t.state.Anchor, t.state.AtAnchor = t.state.Step, t.state.Average
	}
	err := t.save()
	if err != nil {
		t.state.Anchor, t.state.Average, t.state.AtAnchor = anchor, average, atAnchor
	}
	return err
}

// A save that takes longer than slowest, and longer than its bytes at slowRate take, is told.
const (
	slowest  = 2 * time.Second
	slowRate = 10 << 20 // bytes a second
)

// watchDisk tells when a save took longer than a sound disk takes.
func (t *trainer) watchDisk(took time.Duration) error {
	bytes := 12 * float64(t.plan.Params) // weights and two moments
	if took < slowest || took.Seconds() < bytes/slowRate {
		return nil
	}
	return t.event(runlog.Event{At: t.at(), Code: "F-SLOW-DISK", Severity: "warning", Action: "go on",
		Message: fmt.Sprintf("saving step %d took %.1f s for %s", t.state.Step, took.Seconds(), bytesText(int64(bytes))),
		Numbers: map[string]runlog.Float{"seconds": runlog.Float(took.Seconds()), "bytes": runlog.Float(bytes)}})
}

// mark gives their names to the newest checkpoint, the one with the lowest loss, and the one that is chosen.
func (t *trainer) mark(dir string) error {
	marks := map[string]int64{"last": t.state.Step}
	if t.state.BestStep == t.state.Step && t.state.BestStep > 0 {
		marks["best-loss"] = t.state.Step
	}
	choice, err := t.choose()
	if err != nil {
		return err
	}
	if choice.Step >= 0 {
		marks["stable"] = choice.Step
	}
	for _, name := range slices.Sorted(maps.Keys(marks)) {
		if err := checkpoint.SetMark(t.fs, dir, name, marks[name]); err != nil {
			return err
		}
	}
	t.marked, err = checkpoint.Marks(t.fs, dir)
	return err
}

// restore puts a checkpoint's weights, moments and state into a freshly made trainer.
func (t *trainer) restore(c *checkpoint.Checkpoint) error {
	s, err := readState(c)
	if err != nil {
		return err
	}
	p := t.model.Params()
	if err := model.LoadEntries(p, c.Model()); err != nil {
		return err
	}
	opt := c.Optimizer()
	if opt == nil {
		return fmt.Errorf("%w: the checkpoint holds weights only; start from it with --from", ErrResume)
	}
	for _, v := range p.Views {
		if err := errors.Join(opt.ReadF32(t.adam.M[v.Lo:v.Hi], prefixM+v.Name), opt.ReadF32(t.adam.V[v.Lo:v.Hi], prefixV+v.Name)); err != nil {
			return err
		}
	}
	if t.layered != nil {
		if err := t.layered.SetState(s.Layered); err != nil {
			return fmt.Errorf("%w: %w", ErrResume, err)
		}
	}
	t.model.Refresh()
	t.state = s
	t.saved, t.weights = s.Step, savedWeights
	return nil
}

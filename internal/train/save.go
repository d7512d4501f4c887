package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"

	"gimbal/internal/checkpoint"
	"gimbal/internal/device"
	"gimbal/internal/hub"
	"gimbal/internal/judge"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runstate"
)

// maxFailedSaves in a row end the run: training that cannot be saved is lost at the next failure.
const maxFailedSaves = 3

// saveOrGoOn makes a planned save, beside training where a copy of the run fits the memory. If it fails (a full disk),
// an event is recorded when that is known, and the run continues, because earlier checkpoints are intact. The last save
// of a run, and the third in a row, must not fail.
func (t *run) saveOrGoOn() error {
	if err := t.awaitSave(); err != nil {
		return err
	}
	if !t.beginSave(true, t.plan.Memory.Copy > 0 && t.state.Step < t.plan.Config.Train.Steps) {
		return t.awaitSave()
	}
	return nil
}

// save makes a save that must not fail. A planned one is made by every run of this plan: if it is healthy it becomes
// the checkpoint to rewind to. The save of an interrupt does not: a run that was never interrupted could not rewind
// there.
func (t *run) save(planned bool) error {
	if err := t.awaitSave(); err != nil {
		return err
	}
	t.beginSave(planned, false)
	t.store.Failed = maxFailedSaves // one more ends the run
	return t.awaitSave()
}

// beginSave takes what a save needs of the run. It reports whether the rest goes on by itself, beside training. Weights
// and moments that are not finite are never saved.
func (t *run) beginSave(planned, beside bool) (under bool) {
	p := &runstate.Save{At: t.at(), Anchor: t.state.Anchor, Config: t.plan.Config, Log: t.record.log,
		FS: t.faults.Disk(t.store.FS, t.state.Step, t.state.Batch)}
	if planned && t.state.Calm() {
		t.state.Anchor = t.state.Step
	}
	t.state.Faults, t.state.Log = t.faults.State(), t.record.log.Written()
	held, err := t.store.Held()
	if err == nil {
		t.state.Name(func(step int64) bool { return held(step) || step == t.state.Step }, p.Config.Judge.Select)
		p.Snapshot, err = t.snapshot()
	}
	p.State, p.Err = t.state, err
	return t.store.Begin(p, beside)
}

// watchSave takes note of a save that has ended since.
func (t *run) watchSave() error {
	if t.store.Ended() {
		return t.awaitSave()
	}
	return nil
}

// awaitSave waits for the save that is under way, if there is one, and records what came of it.
func (t *run) awaitSave() error {
	p := t.store.Await()
	if p == nil {
		return nil
	}
	if p.Took > 0 {
		if err := t.watchDisk(p); err != nil {
			return err
		}
	}
	if p.Err == nil {
		t.mirror.Changed()
		t.record.detail("saved step %d", p.At.Step)
		return nil
	}
	t.state.Anchor = p.Anchor
	if errors.Is(p.Err, device.ErrLost) || t.store.Failed >= maxFailedSaves || p.At.Step == p.Config.Train.Steps {
		return p.Err
	}
	return t.event(runlog.Event{At: p.At, Code: "F-SAVE-FAILED", Severity: "error", Action: "go on, save again later",
		Message: p.Err.Error()})
}

// snapshot describes the run as it stands; it may share memory with the engine.
func (t *run) snapshot() (_ *checkpoint.Snapshot, err error) {
	tensors, err := t.engine.Get()
	if err != nil {
		return nil, fmt.Errorf("step %d is not saved: %w", t.state.Step, err)
	}
	if t.files == nil {
		if t.files, err = t.modelFiles(); err != nil {
			return nil, err
		}
	}
	files := maps.Clone(t.files)
	if files[rundir.StateFile], err = json.MarshalIndent(&t.state, "", "  "); err != nil {
		return nil, fmt.Errorf("write %s: %w", rundir.StateFile, err)
	}
	files[rundir.ConfigCopy] = t.plan.Config.TOML()
	if files[checkpoint.HealthFile], err = t.state.Certificate().Encode(); err != nil {
		return nil, err
	}
	return &checkpoint.Snapshot{Step: t.state.Step, Files: files, Model: tensors.Params, Optimizer: tensors.Slots,
		Adapter: t.plan.Spec.Adapter.Rank > 0}, nil
}

// modelFiles are the files of a checkpoint that every save of this process writes alike.
func (t *run) modelFiles() (map[string][]byte, error) {
	files, err := hub.ModelFiles(t.plan.Spec.Arch, t.text.Tok, hub.Manner{Start: t.startToken(),
		Template: t.start.chat, TurnEnds: t.text.Set.Chat().TurnEnds, Kept: t.start.kept})
	if ad := t.plan.Spec.Adapter; err == nil && ad.Rank > 0 {
		var own map[string][]byte
		own, err = hub.AdapterFiles(t.plan.Spec.Arch, ad, t.plan.Config.Adapter, t.start.base,
			filepath.Join(t.store.Checkpoints(), "step"))
		maps.Copy(files, own)
	}
	return files, err
}

// watchDisk reports a save that took longer than a sound disk needs.
func (t *run) watchDisk(p *runstate.Save) error {
	bytes, most := t.plan.SlowSave()
	if p.Took < most {
		return nil
	}
	return t.event(runlog.Event{At: p.At, Code: "F-SLOW-DISK", Severity: "warning", Action: "go on",
		Message: fmt.Sprintf("saving step %d took %.1f s for %s; a sound disk needs at most %.1f s", p.At.Step,
			p.Took.Seconds(), plan.BytesText(bytes), most.Seconds()),
		Numbers: map[string]runlog.Float{"seconds": runlog.Float(p.Took.Seconds()), "bytes": runlog.Float(bytes)}})
}

// choose is the choice among the checkpoints that are there now.
func (t *run) choose() (judge.Choice, error) {
	held, err := t.store.Held()
	return t.state.Choose(held, t.plan.Config.Judge.Select), err
}

package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/device"
	"gimbal/internal/hub"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// maxFailedSaves in a row end the run: training that cannot be saved is lost at the next failure.
const maxFailedSaves = 3

// saveOrGoOn makes a planned save. If it fails (a full disk), an event is recorded and the run continues, because
// earlier checkpoints are intact. The last save of a run, and the third in a row, must not fail.
func (t *run) saveOrGoOn() error {
	err := t.savePlanned()
	switch {
	case err == nil:
		t.store.failed = 0
		t.record.detail("saved step %d", t.state.Step)
		return nil
	case errors.Is(err, device.ErrLost):
		return err
	}
	t.store.failed++
	if t.store.failed >= maxFailedSaves || t.state.Step == t.plan.Config.Train.Steps {
		return err
	}
	return t.event(runlog.Event{At: t.at(), Code: "F-SAVE-FAILED", Severity: "error", Action: "go on, save again later",
		Message: err.Error()})
}

// savePlanned saves at a step at which every run of this plan saves. A healthy one becomes the checkpoint to rewind to.
// The save of an interrupt does not: a run that was never interrupted could not rewind there.
func (t *run) savePlanned() error {
	anchor := t.state.Anchor
	if t.state.calm() {
		t.state.Anchor = t.state.Step
	}
	err := t.save()
	if err != nil {
		t.state.Anchor = anchor
	}
	return err
}

// save writes a checkpoint of the run and prunes old ones. Weights and moments that are not finite are never saved.
func (t *run) save() error {
	s := t.store
	if err := t.record.log.Sync(); err != nil {
		return err
	}
	fsys := t.faults.Disk(s.fs, t.state.Step, t.state.Batch)
	t.state.Faults, t.state.Log = t.faults.State(), t.record.log.Written()
	held, err := s.held()
	if err != nil {
		return err
	}
	t.state.name(func(step int64) bool { return held(step) || step == t.state.Step }, t.plan.Config.Judge.Select)
	snapshot, err := t.snapshot()
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := checkpoint.Save(fsys, s.checkpoints(), snapshot); err != nil {
		return err
	}
	if err := t.watchDisk(time.Since(began)); err != nil {
		return err
	}
	return s.settle(&t.state, t.plan.Config)
}

// snapshot describes the run as it stands; it may share memory with the engine.
func (t *run) snapshot() (*checkpoint.Snapshot, error) {
	tensors, err := t.engine.Get()
	if err != nil {
		return nil, fmt.Errorf("step %d is not saved: %w", t.state.Step, err)
	}
	files, err := hub.ModelFiles(t.plan.Spec.Arch, t.text.Tok, hub.Manner{Start: t.startToken(),
		Template: t.start.chat, TurnEnds: t.text.Set.Chat().TurnEnds, Kept: t.start.kept})
	if err != nil {
		return nil, err
	}
	if ad := t.plan.Spec.Adapter; ad.Rank > 0 {
		own, err := hub.AdapterFiles(t.plan.Spec.Arch, ad, t.plan.Config.Adapter, t.start.base)
		if err != nil {
			return nil, err
		}
		maps.Copy(files, own)
	}
	if files[rundir.StateFile], err = json.MarshalIndent(&t.state, "", "  "); err != nil {
		return nil, fmt.Errorf("write %s: %w", rundir.StateFile, err)
	}
	files[rundir.ConfigCopy] = t.plan.Config.TOML()
	if files[checkpoint.HealthFile], err = t.state.certificate().Encode(); err != nil {
		return nil, err
	}
	return &checkpoint.Snapshot{Step: t.state.Step, Files: files, Model: tensors.Params, Optimizer: tensors.Slots,
		Adapter: t.plan.Spec.Adapter.Rank > 0}, nil
}

// watchDisk reports a save that took longer than a sound disk needs.
func (t *run) watchDisk(took time.Duration) error {
	bytes, most := t.plan.SlowSave()
	if took < most {
		return nil
	}
	return t.event(runlog.Event{At: t.at(), Code: "F-SLOW-DISK", Severity: "warning", Action: "go on",
		Message: fmt.Sprintf("saving step %d took %.1f s for %s; a sound disk needs at most %.1f s", t.state.Step,
			took.Seconds(), plan.BytesText(bytes), most.Seconds()),
		Numbers: map[string]runlog.Float{"seconds": runlog.Float(took.Seconds()), "bytes": runlog.Float(bytes)}})
}

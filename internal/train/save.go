package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/device"
	"gimbal/internal/durable"
	"gimbal/internal/hub"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// maxFailedSaves in a row end the run: training that cannot be saved is lost at the next failure.
const maxFailedSaves = 3

// saving is a save that was begun: what it writes, and what came of it once done is closed.
type saving struct {
	at     runlog.At      // where the run stood
	anchor int64          // of the run before; it is restored where the save fails
	state  state          // that is saved
	cfg    *config.Config // of the run
	log    *runlog.Writer // of the run
	fs     durable.FS     // with the planted faults

	snapshot *checkpoint.Snapshot
	done     chan struct{}
	took     time.Duration // to write the checkpoint; 0: it was not written
	err      error
	fault    any // what the program panicked with: the run panics where it looks for the outcome
}

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
	t.store.failed = maxFailedSaves // one more ends the run
	return t.awaitSave()
}

// beginSave takes what a save needs of the run. It reports whether the rest goes on by itself, beside training: then it
// works on a copy. Weights and moments that are not finite are never saved.
func (t *run) beginSave(planned, beside bool) (under bool) {
	p := &saving{at: t.at(), anchor: t.state.Anchor, cfg: t.plan.Config, log: t.record.log,
		done: make(chan struct{})}
	t.store.under = p
	if planned && t.state.calm() {
		t.state.Anchor = t.state.Step
	}
	p.fs = t.faults.Disk(t.store.fs, t.state.Step, t.state.Batch)
	t.state.Faults, t.state.Log = t.faults.State(), t.record.log.Written()
	held, err := t.store.held()
	if err == nil {
		t.state.name(func(step int64) bool { return held(step) || step == t.state.Step }, p.cfg.Judge.Select)
		p.snapshot, err = t.snapshot()
	}
	p.state = t.state
	switch p.err = err; {
	case err != nil:
		close(p.done)
	case beside:
		t.store.copy.Take(p.snapshot)
		go p.write(t.store)
	default:
		p.write(t.store)
	}
	return err == nil && beside
}

// write makes the log, the checkpoint and what follows from it durable, in this order.
func (p *saving) write(s *store) {
	defer close(p.done)
	defer func() { p.fault = recover() }()
	if p.err = p.log.Sync(); p.err != nil {
		return
	}
	began := time.Now()
	if _, p.err = checkpoint.Save(p.fs, s.checkpoints(), p.snapshot); p.err == nil {
		p.took = time.Since(began)
		p.err = s.derive(&p.state, p.cfg)
	}
}

// watchSave takes note of a save that has ended since.
func (t *run) watchSave() error {
	if p := t.store.under; p != nil {
		select {
		case <-p.done:
			return t.awaitSave()
		default:
		}
	}
	return nil
}

// awaitSave waits for the save that is under way, if there is one, and records what came of it.
func (t *run) awaitSave() error {
	s, p := t.store, t.store.under
	if p == nil {
		return nil
	}
	<-p.done
	s.under = nil
	if p.fault != nil {
		panic(p.fault)
	}
	if p.took > 0 {
		if err := t.watchDisk(p); err != nil {
			return err
		}
	}
	if p.err == nil {
		s.saved, s.due, s.marked, s.failed = p.at.Step, p.state.Due, p.state.Marks, 0
		t.mirror.Changed()
		t.record.detail("saved step %d", p.at.Step)
		return nil
	}
	t.state.Anchor = p.anchor
	if s.failed++; errors.Is(p.err, device.ErrLost) || s.failed >= maxFailedSaves || p.at.Step == p.cfg.Train.Steps {
		return p.err
	}
	return t.event(runlog.Event{At: p.at, Code: "F-SAVE-FAILED", Severity: "error", Action: "go on, save again later",
		Message: p.err.Error()})
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
	if files[checkpoint.HealthFile], err = t.state.certificate().Encode(); err != nil {
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
			filepath.Join(t.store.checkpoints(), "step"))
		maps.Copy(files, own)
	}
	return files, err
}

// watchDisk reports a save that took longer than a sound disk needs.
func (t *run) watchDisk(p *saving) error {
	bytes, most := t.plan.SlowSave()
	if p.took < most {
		return nil
	}
	return t.event(runlog.Event{At: p.at, Code: "F-SLOW-DISK", Severity: "warning", Action: "go on",
		Message: fmt.Sprintf("saving step %d took %.1f s for %s; a sound disk needs at most %.1f s", p.at.Step,
			p.took.Seconds(), plan.BytesText(bytes), most.Seconds()),
		Numbers: map[string]runlog.Float{"seconds": runlog.Float(p.took.Seconds()), "bytes": runlog.Float(bytes)}})
}

package train

import (
	"fmt"
	"math"
	"path/filepath"
	"sync/atomic"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/model"
)

// injectBefore plants what acts on the batch or the model before a step is computed. batch is the one in progress.
func (t *trainer) injectBefore(step, batch int64) {
	if len(t.faults) == 0 {
		return
	}
	t.plants = t.plants[:0]
	for i, f := range t.faults {
		if s := &t.state.Faults[i]; s.Begun == 0 && step >= f.step && f.earliest > 0 {
			s.Begun = batch
			t.hooks.note("planted %s at step %d", s.Spec, step)
		}
		if !t.faultOn(i, batch) {
			continue
		}
		switch f.name {
		case "poison-batch", "poison-batches":
			t.poison()
		case "repetition":
			t.repeat()
		case "bit-flip":
			w := &t.model.Params().Flat[f.tensor.Lo]
			*w = math.Float32frombits(math.Float32bits(*w) ^ 1<<30)
			t.model.Refresh()
		case "starved-init":
			if t.state.Faults[i].Begun == batch {
				t.model.Params().ScaleBlock(0, starvation)
				t.model.Refresh()
			}
		case "nan-activation":
			t.plants = append(t.plants, model.Plant{Fault: model.FaultNaN, Block: f.block})
		case "frozen-layer":
			t.plants = append(t.plants, model.Plant{Fault: model.FaultStopGradient, Block: f.block})
		case "cut-residual":
			t.plants = append(t.plants, model.Plant{Fault: model.FaultCutResidual, Block: f.block})
		default:
			t.misbuild(f.name)
		}
	}
	t.model.SetPlants(t.plants...)
}

// injectPassed is told after each pass of a step: what is to hit one micro-batch only ends with the first.
func (t *trainer) injectPassed() {
	kept := t.plants[:0]
	for _, p := range t.plants {
		if p.Fault != model.FaultNaN {
			kept = append(kept, p)
		}
	}
	if len(kept) < len(t.plants) {
		t.plants = kept
		t.model.SetPlants(kept...)
	}
}

// injectAfter plants what acts on the summed gradients and the loss of a step, and returns the loss.
func (t *trainer) injectAfter(batch int64, loss float64, grads []float32) float64 {
	for i, f := range t.faults {
		if !t.faultOn(i, batch) {
			continue
		}
		switch f.name {
		case "nan-grad":
			grads[f.tensor.Lo] = float32(math.NaN())
		case "inf-grad":
			grads[f.tensor.Lo] = float32(math.Inf(1))
		case "loss-spike":
			loss *= spikeFactor
			for j := range grads {
				grads[j] *= spikeFactor
			}
		}
	}
	return loss
}

// injectLR plants what acts on the learning rate that is applied.
func (t *trainer) injectLR(batch int64, lr float64) float64 {
	for i, f := range t.faults {
		if f.name == "lr-bomb" && t.faultOn(i, batch) {
			lr *= bombFactor
		}
	}
	return lr
}

// poison overwrites the batch by the rarest token of the training part that occurs at all.
func (t *trainer) poison() {
	if t.rarest < 0 {
		counts := make([]int64, t.arch.Vocab)
		for ids := range head(t.corpus.train.CountedLabels(), maxFitTokens) {
			for _, id := range ids {
				counts[id]++
			}
		}
		for id, n := range counts {
			if n > 0 && (t.rarest < 0 || n < counts[t.rarest]) {
				t.rarest = int32(id)
			}
		}
	}
	for i := range t.batch.Tokens {
		t.batch.Tokens[i], t.batch.Labels[i] = t.rarest, t.rarest
	}
}

// repeat overwrites the batch by one paragraph of the training part, again and again, as a corpus would that somebody
// has damaged. Each sequence begins elsewhere in it.
func (t *trainer) repeat() {
	var unit data.Batch
	t.corpus.train.Read(&unit, 0)
	text := unit.Labels[:min(paragraph, len(unit.Labels))]
	for k, s := range t.batch.Spans {
		for i := range s.Len {
			t.batch.Labels[s.Start+i] = text[(7*k+i)%len(text)]
			if i > 0 {
				t.batch.Tokens[s.Start+i] = t.batch.Labels[s.Start+i-1]
			}
		}
	}
}

// injectDisk returns the file system that the next save goes through.
func (t *trainer) injectDisk() durable.FS {
	fsys := t.fs
	for i, f := range t.faults {
		if s := &t.state.Faults[i]; f.earliest == 0 && s.Begun == 0 && t.state.Step >= f.step {
			s.Begun = max(1, t.state.Batch)
			t.hooks.note("planted %s in the save of step %d", s.Spec, t.state.Step)
			fsys = &badDisk{FS: fsys, fault: f.name}
		}
	}
	return fsys
}

// badDisk is a disk with a fault; only what a save writes goes through it.
type badDisk struct {
	durable.FS
	fault string
	slept atomic.Bool
}

func (d *badDisk) Create(name string) (durable.File, error) {
	f, err := d.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return &badFile{File: f, disk: d, tensors: filepath.Base(name) == checkpoint.ModelFile}, nil
}

type badFile struct {
	durable.File
	disk    *badDisk
	tensors bool
	written int64
}

// room is what the full disk still has for a file.
const room = 4096

// slowSave is how long the slow disk takes over one write: more than any save of its size may take.
const slowSave = slowest + slowest/2

func (f *badFile) Write(p []byte) (int, error) {
	f.written += int64(len(p))
	switch f.disk.fault {
	case "full-disk":
		if f.tensors && f.written > room {
			return 0, fmt.Errorf("write: %w (planted)", durable.ErrNoSpace)
		}
	case "torn-checkpoint": // the disk says that it wrote what it did not
		if f.tensors && f.written > room {
			return len(p), nil
		}
	case "slow-disk":
		if f.disk.slept.CompareAndSwap(false, true) {
			time.Sleep(slowSave)
		}
	}
	return f.File.Write(p)
}

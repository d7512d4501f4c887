package train

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"runtime/debug"
	"slices"

	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/guard"
	"gimbal/internal/model"
	"gimbal/internal/runlog"
)

// badPass is the first pass of a step whose loss is not finite.
type badPass struct {
	micro int  // which micro-batch; -1: none
	block int  // whose output is the first that is not finite, -1 the embedding's
	found bool // whether there is such a block; else it is the head
}

// findBad looks, right after a pass with a loss that is not finite, for where that began.
func (t *trainer) findBad(micro int) badPass {
	block, found := t.model.NonFiniteBlock()
	return badPass{micro, block, found}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// explainNonfinite names what is behind a loss, norm or update that is not finite: the first bad place in the model and
// the documents. Where the guard acts it runs the batch again, saves it, and tries it in full precision; it needs the
// gradients no more.
func (t *trainer) explainNonfinite(e *runlog.Event, d guard.Decision) {
	p := t.model.Params()
	if t.bad.micro >= 0 && t.bad.found {
		e.Tensor = fmt.Sprintf("the output of block %d", t.bad.block)
		if t.bad.block < 0 {
			e.Tensor = "the output of the embedding"
		}
	} else if name, index, _, bad := p.FirstNonFinite(t.model.Grads()); bad {
		e.Tensor = fmt.Sprintf("%s[%d] (gradient)", name, index)
	}
	if name, index, value, bad := absurd(p); bad {
		e.Tensor = fmt.Sprintf("%s[%d] (weight, %.3g)", name, index, value)
	}
	suspects := t.batch.Spans
	if t.bad.micro >= 0 {
		suspects = t.micros[t.bad.micro].Spans
	}
	if d.Action == guard.Apply {
		e.Documents = t.describe(suspects)
		return
	}
	guilty := t.blame(suspects)
	e.Documents = t.describe(guilty)
	if len(guilty) == 0 {
		e.Documents = t.describe(suspects)
	}
	_, _, _, weights := absurd(p)
	if len(guilty) > 0 && !weights {
		t.setAside(guilty)
		e.Message += fmt.Sprintf("; %d of its sequences alone give it again and are left out from here on", len(guilty))
	}
	if d.Diagnose {
		e.Message += t.diagnose(e.Numbers)
	}
	if err := t.saveBatch(e); err != nil {
		t.hooks.note("warning: the batch could not be saved for replay: %v", err)
	}
}

// absurdWeight is larger than any weight of a model that still computes: one flipped exponent bit gives it.
const absurdWeight = 1e6

// absurd returns the first weight that is not finite or too large to be one.
func absurd(p *model.Params[float32]) (name string, index int, value float64, found bool) {
	for _, v := range p.Views {
		for i, w := range p.Flat[v.Lo:v.Hi] {
			if !(w < absurdWeight && w > -absurdWeight) {
				return v.Name, i, float64(w), true
			}
		}
	}
	return "", 0, 0, false
}

// blame returns the sequences that alone give a loss or a gradient that is not finite. It runs them again, one at a time.
func (t *trainer) blame(spans []data.Span) (guilty []data.Span) {
	grads, b := t.model.Grads(), &t.batch
	for _, s := range spans {
		clear(grads)
		nats := t.model.Backward(alone(b, s), 1/float64(b.Counted))
		if !finite(nats) || !finite(t.adam.GlobalNorm(grads)) {
			guilty = append(guilty, s)
		}
	}
	clear(grads)
	return guilty
}

// alone is one sequence of a batch.
func alone(b *data.Batch, s data.Span) model.Input {
	lo, hi := s.Start, s.Start+s.Len
	return model.Input{Tokens: b.Tokens[lo:hi], Labels: b.Labels[lo:hi], Counts: b.Counts[lo:hi], Bounds: []int32{0, int32(s.Len)}}
}

// describe names the documents of sequences, each once, and the first few of many.
func (t *trainer) describe(spans []data.Span) (names []string) {
	for _, s := range spans {
		if name := t.corpus.set.Describe(s.Doc); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	const limit = 8
	if len(names) > limit {
		names = append(names[:limit:limit], fmt.Sprintf("and %d more", len(names)-limit))
	}
	return names
}

// explainOutlier names the documents of a batch far outside the accepted ones, the worst first, leaves its sequences out
// and saves it. Where the data is not the reason, or the guard does not act, there is nothing to explain.
func (t *trainer) explainOutlier(e *runlog.Event, d guard.Decision) {
	if !d.Quarantine {
		return
	}
	worst := slices.Clone(t.batch.Spans)
	loss := make(map[int]float64, len(worst))
	for _, s := range worst {
		in := alone(&t.batch, s)
		counted := 0
		for _, c := range in.Counts {
			if c {
				counted++
			}
		}
		loss[s.Start] = t.model.Loss(in) / float64(max(1, counted))
	}
	slices.SortStableFunc(worst, func(a, b data.Span) int { return cmp.Compare(loss[b.Start], loss[a.Start]) })
	e.Documents = t.describe(worst)
	if len(worst) > 0 {
		e.Numbers["worst_sequence_loss"] = runlog.Float(loss[worst[0].Start])
	}
	t.setAside(t.batch.Spans)
	if err := t.saveBatch(e); err != nil {
		t.hooks.note("warning: the batch could not be saved for replay: %v", err)
	}
}

// diagnose runs the batch in full precision, to tell data from numerics, and says what came of it. Nothing of it is
// ever applied. It needs the memory of a second model, and says so where that is not there.
func (t *trainer) diagnose(numbers map[string]runlog.Float) string {
	if t.model.Mode() == model.ModeFP32 {
		return ""
	}
	opt := t.modelOptions()
	opt.Mode, opt.Checkpointing = model.ModeFP32, model.CheckpointBlock
	if free := freeMemory(); free > 0 && float64(model.Memory(t.arch, opt).Total) > memoryShare*float64(free) {
		return "; not tried in full precision: there is no memory for it"
	}
	full, err := model.New[float32](t.arch, t.exec, opt)
	if err != nil {
		return fmt.Sprintf("; not tried in full precision: %v", err)
	}
	defer debug.FreeOSMemory()
	copy(full.Params().Flat, t.model.Params().Flat)
	full.Refresh()
	nats, scale := 0.0, 1/float64(t.batch.Counted)
	for _, m := range t.micros {
		nats += full.Backward(input(m), scale)
	}
	loss, norm := nats*scale, t.adam.GlobalNorm(full.Grads())
	numbers["fp32_loss"], numbers["fp32_grad_norm"] = runlog.Float(loss), runlog.Float(norm)
	if finite(loss) && finite(norm) {
		return fmt.Sprintf("; in full precision the batch is finite (loss %.4g, gradient norm %.4g): numerics or an accident, not the data", loss, norm)
	}
	return "; in full precision it is not finite either: the data or the weights"
}

// refusedBatch is a batch that was refused, as it is kept for replay.
type refusedBatch struct {
	Code      string   `json:"code"`
	Step      int64    `json:"step"`  // the update that was not made
	Batch     int64    `json:"batch"` // cursor behind it
	Message   string   `json:"message"`
	Documents []string `json:"documents"` // of each sequence
	Bounds    []int    `json:"bounds"`    // where each sequence begins; last: the number of positions
	Tokens    []int32  `json:"tokens"`
	Labels    []int32  `json:"labels"`
	Counts    []bool   `json:"counts"`
}

// saveBatch keeps the batch in progress in refused/batch-N.json.
func (t *trainer) saveBatch(e *runlog.Event) error {
	b := &t.batch
	r := refusedBatch{Code: e.Code, Step: e.Step, Batch: e.Batch, Message: e.Message, Tokens: b.Tokens, Labels: b.Labels, Counts: b.Counts}
	for _, s := range b.Spans {
		r.Documents = append(r.Documents, t.corpus.set.Describe(s.Doc))
		r.Bounds = append(r.Bounds, s.Start)
	}
	r.Bounds = append(r.Bounds, len(b.Tokens))
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	dir := filepath.Join(t.dir, refusedName)
	if err := durable.Mkdir(t.fs, dir); err != nil {
		return err
	}
	return durable.WriteFile(t.fs, filepath.Join(dir, fmt.Sprintf("batch-%d.json", e.Batch)), raw)
}

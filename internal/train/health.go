package train

import (
	"fmt"
	"math/bits"
	"strings"

	"gimbal/internal/guard"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/runlog"
)

const (
	healthEvery   = 100 // steps between looks at the whole model; the first step has one, too
	earlySteps    = 50  // first steps, in which the stream may explode between two such looks …
	earlyEvery    = 10  // … so the forward pass alone is looked at more often
	headlineKinds = "attn mlp"
)

// examiner is the memory of the looks at a model's health.
type examiner struct {
	grads   []optim.TensorGrad
	updates []optim.TensorUpdate
	tensors []guard.TensorHealth
	counts  []bool // all true: every position of a probe counts
	stats   *model.ProbeStats
	probe   guard.ProbeHealth
}

// newExaminer returns the memory for a model.
func newExaminer(m *model.Model[float32]) *examiner {
	views, layers := m.Params().Views, m.Arch().Layers
	e := &examiner{
		grads: make([]optim.TensorGrad, len(views)), updates: make([]optim.TensorUpdate, len(views)), tensors: make([]guard.TensorHealth, len(views)),
		counts: make([]bool, model.ProbeTokens), stats: m.NewProbeStats(),
		probe: guard.ProbeHealth{Stream: make([]float64, layers+1), Kept: make([]float64, layers), Logit: make([]float64, layers),
			Dead: make([]float64, layers), Entropy: make([]float64, layers*m.Arch().Heads)},
	}
	for i := range e.counts {
		e.counts[i] = true
	}
	for i, v := range views {
		e.tensors[i] = guard.TensorHealth{Name: v.Name, Block: v.Block, Kind: healthKind(v.Kind), Matrix: len(v.Shape) == 2, Len: int64(v.Len())}
	}
	return e
}

// healthKind is the kind under which a tensor is summed up.
func healthKind(k model.Kind) string {
	switch k {
	case model.KindEmbed, model.KindPosition:
		return "embed"
	case model.KindQKV, model.KindO:
		return "attn"
	case model.KindGateUp, model.KindDown:
		return "mlp"
	case model.KindHead:
		return "head"
	}
	return "norm"
}

// examine looks at gradients, at the update that rate and scale would make of them, and at a forward pass, where that
// is due; it records what it sees and tells what is newly the matter. It comes before the guard's decision and has no
// part in it: gradients, weights, moments and the bits of training stay as they are.
func (t *trainer) examine(o guard.Observation, rate, scale float64) error {
	t.readTokens()
	at := t.at()
	at.Step, at.Batch = o.Step, o.Batch
	full := o.Step == 1 || o.Step%healthEvery == 0
	early := o.Step <= earlySteps && o.Step%earlyEvery == 0
	if (full || early) && t.state.Health.Step != o.Step { // a refused step comes again
		if err := t.look(at, o, rate, scale, full); err != nil {
			return err
		}
	}
	if o.Step == t.cfg.Train.Steps {
		t.tellUnread()
	}
	return nil
}

// look is examine where it is due: at everything, or at a forward pass only.
func (t *trainer) look(at runlog.At, o guard.Observation, rate, scale float64, full bool) error {
	c := guard.HealthCheck{Step: o.Step, Warmup: t.sched.Warmup, Layers: t.arch.Layers, Loss: o.Loss, LR: rate, PeakLR: t.sched.Peak, WeightDecay: t.cfg.Optim.WeightDecay}
	ratio, broken := 0.0, false
	if full {
		ratio, broken = t.measure(o.Step, rate, scale)
		c.Tensors = t.examiner.tensors
	}
	if !broken { // a forward pass says nothing about gradients that are not finite
		c.Probe = t.forwardPass()
	}
	var events []guard.Event
	t.state.Health.HealthState, events = guard.Health(t.state.Health.HealthState, c)
	if !broken {
		t.state.Health.Step = o.Step
	}
	if full {
		rec := t.layers(at, c, ratio)
		if err := t.log.Write(rec); err != nil {
			return err
		}
		t.hooks.note("%s", healthLine(rec, t.arch.Layers, len(events)))
	}
	for _, e := range events {
		rec := runlog.Event{At: at, Code: e.Code, Severity: e.Severity, Action: e.Action, Message: e.Message, Numbers: map[string]runlog.Float{}}
		for name, v := range e.Numbers {
			rec.Numbers[name] = runlog.Float(v)
		}
		if err := t.event(rec); err != nil {
			return err
		}
	}
	return nil
}

// measure overwrites the examiner's tensors and returns the median relative update. broken says that a gradient is not
// finite.
func (t *trainer) measure(step int64, rate, scale float64) (ratio float64, broken bool) {
	e := t.examiner
	grads := t.model.Grads()
	t.adam.Stats(grads, e.grads)
	ratio = t.adam.Trial(t.model.Params().Flat, grads, step, rate, scale, e.updates)
	for i := range e.tensors {
		h, g, u := &e.tensors[i], e.grads[i], e.updates[i]
		h.GradMean, h.GradRMS, h.GradMax, h.NonFinite = g.MeanAbs, g.RMS, g.Max, g.NonFinite
		h.WeightRMS, h.UpdateRMS, h.Unmoved = u.WeightRMS, u.RMS, u.Unmoved
		broken = broken || g.NonFinite > 0
	}
	return ratio, broken
}

// forwardPass runs the longest sequence of the batch, or its beginning, through the model.
func (t *trainer) forwardPass() *guard.ProbeHealth {
	e, b := t.examiner, &t.batch
	longest := b.Spans[0]
	for _, s := range b.Spans {
		if s.Len > longest.Len {
			longest = s
		}
	}
	lo, n := longest.Start, min(longest.Len, model.ProbeTokens)
	t.model.Probe(model.Input{Tokens: b.Tokens[lo : lo+n], Labels: b.Labels[lo : lo+n], Counts: e.counts[:n], Bounds: []int32{0, int32(n)}}, e.stats)
	p := &e.probe
	p.Tokens, p.LogZ = n, e.stats.LogZ
	for l, s := range e.stats.Stream {
		p.Stream[l] = s.RMS
		if l > 0 {
			p.Kept[l-1] = s.Kept
		}
	}
	copy(p.Dead, e.stats.Dead)
	clear(p.Logit)
	for i, h := range e.stats.Heads {
		p.Entropy[i] = h.Entropy
		l := i / t.arch.Heads
		p.Logit[l] = max(p.Logit[l], h.Logit) // NaN stays
	}
	return p
}

// layers is the record of a look at the whole model.
func (t *trainer) layers(at runlog.At, c guard.HealthCheck, ratio float64) runlog.Layers {
	rec := runlog.Layers{Kind: "layers", At: at, UpdateRatio: runlog.Float(ratio), Unread: t.unread()}
	for _, g := range guard.HealthGroups(c.Tensors) {
		rec.Layers = append(rec.Layers, runlog.Layer{Block: g.Block, Tensor: g.Kind, GradMean: runlog.Float(g.GradMean), GradRMS: runlog.Float(g.GradRMS),
			GradMax: runlog.Float(g.GradMax), WeightRMS: runlog.Float(g.WeightRMS), UpdateRMS: runlog.Float(g.UpdateRMS), NonFinite: g.NonFinite})
	}
	if c.Probe == nil {
		return rec
	}
	s := t.examiner.stats
	p := runlog.Activations{Tokens: c.Probe.Tokens, EmbedRMS: runlog.Float(s.Stream[0].RMS), LogZ: runlog.Float(s.LogZ), LogitMax: runlog.Float(s.Logit)}
	for l, after := range s.Stream[1:] {
		b := runlog.ActivationsBlock{StreamRMS: runlog.Float(after.RMS), Kept: runlog.Float(after.Kept), Peak: runlog.Float(after.Peak),
			Dead: runlog.Float(s.Dead[l]), ScoreMax: runlog.Float(c.Probe.Logit[l])}
		for _, h := range s.Heads[l*t.arch.Heads : (l+1)*t.arch.Heads] {
			b.Entropy = append(b.Entropy, runlog.Float(h.Entropy))
		}
		p.Blocks = append(p.Blocks, b)
	}
	rec.Activations = p
	return rec
}

// healthLine is the record in one line: mean |g| from the first block to the last, and the rest in a number each.
func healthLine(rec runlog.Layers, layers, events int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "health of step %d:", rec.Step)
	for _, kind := range strings.Fields(headlineKinds) {
		var first, last float64
		for _, l := range rec.Layers {
			switch {
			case l.Tensor != kind:
			case l.Block == 0:
				first, last = float64(l.GradMean), float64(l.GradMean)
			case l.Block == layers-1:
				last = float64(l.GradMean)
			}
		}
		fmt.Fprintf(&b, " |g| %s %.2g → %.2g ·", kind, first, last)
	}
	fmt.Fprintf(&b, " update/weight %.2g", float64(rec.UpdateRatio))
	if p := rec.Activations; p.Tokens > 0 {
		sum, heads, dead := 0.0, 0, 0.0
		for _, l := range p.Blocks {
			for _, e := range l.Entropy {
				sum += float64(e)
				heads++
			}
			dead = max(dead, float64(l.Dead))
		}
		fmt.Fprintf(&b, " · stream %.2g → %.2g · entropy %.2f · dead %.0f %% · ln Z %.3g",
			float64(p.EmbedRMS), float64(p.Blocks[len(p.Blocks)-1].StreamRMS), sum/float64(heads), 100*dead, float64(p.LogZ))
	}
	switch events {
	case 0:
		b.WriteString(" · nothing new")
	case 1:
		b.WriteString(" · an alarm")
	default:
		fmt.Fprintf(&b, " · %d alarms", events)
	}
	return b.String()
}

// healthState is what the looks at health remember. It is saved with the run.
type healthState struct {
	guard.HealthState
	Step int64  `json:"step"` // of the last look
	Read []byte `json:"read"` // one bit for each token of the vocabulary that a batch has held
}

// readTokens marks the tokens of the batch.
func (t *trainer) readTokens() {
	h := &t.state.Health
	if size := (t.arch.Vocab + 7) / 8; len(h.Read) != size {
		h.Read = make([]byte, size)
	}
	for _, token := range t.batch.Tokens {
		h.Read[token/8] |= 1 << (token % 8)
	}
}

// unread is the number of tokens that no batch has held.
func (t *trainer) unread() int {
	n := t.arch.Vocab
	for _, b := range t.state.Health.Read {
		n -= bits.OnesCount8(b)
	}
	return n
}

// tellUnread says at the last step how many embeddings no text has reached.
func (t *trainer) tellUnread() {
	if n := t.unread(); n > 0 {
		t.hooks.note("%d of the %d tokens of the vocabulary were never read in training: what the model makes of them is chance", n, t.arch.Vocab)
	}
}

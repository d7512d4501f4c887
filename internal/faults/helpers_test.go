package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/corpus"
	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/optim"
	"gimbal/internal/tokenizer"
)

const (
	testContext = 64
	testBatch   = 256
	testMicro   = 100
	testSteps   = 400
)

var arch = config.Arch{Shape: "llama", Layers: 3, Width: 16, Heads: 2, KVHeads: 2, HeadSize: 8, MLP: 24,
	Vocab: 257, Context: testContext,
	Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 10000, MLPKind: "swiglu"}

// text is documents of which many are shorter than half of the context.
func text(t testing.TB) *data.Text {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	for i := range 40 {
		body := strings.Repeat("ann sees. ", i%2) + fmt.Sprintf("bob sees %d dogs.", i)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.txt", i)), []byte(body), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	docs, err := corpus.Discover([]string{dir}, corpus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	x := &data.Text{Docs: docs, Tok: tokenizer.NewBytes()}
	if x.Set, err = data.Prepare(t.Context(), docs, x.Tok, data.PrepareOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Set.Close() })
	x.Train = x.Set.Train(testContext)
	return x
}

func source(t testing.TB, x *data.Text) data.Source {
	t.Helper()
	l, err := data.NewLoader(x.Train, 1, testBatch)
	if err != nil {
		t.Fatal(err)
	}
	return l.Source()
}

// openCPU returns an engine with the weights of seed 1.
func openCPU(t testing.TB) engine.Engine {
	t.Helper()
	o, err := engine.CPU(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	e, err := o.Open(engine.Spec{Arch: arch, MicroTokens: testMicro, Mode: "fp32",
		Optim: optim.Options{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1}})
	if err == nil {
		err = e.Init(1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// set makes a set of faults on this machine's engine.
func set(t testing.TB, x *data.Text, info engine.Info, specs ...string) *Set {
	t.Helper()
	var planted []Planted
	for _, spec := range specs {
		planted = append(planted, Planted{Spec: spec})
	}
	s, err := New(planted, Env{Info: info, Steps: testSteps, Text: x, Seed: 1, MicroTokens: testMicro})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run is what a step calls of a source and an engine.
type run struct {
	t      testing.TB
	source data.Source
	e      engine.Engine
	cur    data.Cursor
	batch  data.Batch
	acc    engine.Accumulator
}

func newRun(t testing.TB, next data.Source, e engine.Engine) *run {
	return &run{t: t, source: next, e: e, acc: engine.Accumulator{MicroTokens: testMicro}}
}

func (r *run) fail(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

const (
	rate = 0.001
	clip = 1
)

// step makes one: a batch, its passes, a proposal, the update, a search for whom to blame, and a score. It returns the
// proposal's report, that of the search, and the rate of the update.
func (r *run) step(step int64) (report, blamed engine.Report, lr float64) {
	r.t.Helper()
	ctx := context.Background()
	r.cur = r.source(step, &r.batch, r.cur)
	b := &r.batch
	r.e.Discard()
	r.fail(r.acc.Gradient(ctx, r.e, b, step))
	p := engine.Proposal{Step: step, LR: rate, Clip: clip, Scale: engine.Scale(b), Detail: engine.Norms}
	report, err := r.e.Propose(ctx, p)
	r.fail(err)
	report.Norms = append([]float64(nil), report.Norms...)
	if finite(report.Loss) && finite(report.GradNorm) { // else it is refused
		lr, err = r.e.Commit(engine.Update{Step: step, LR: rate, Scale: report.ClipScale})
		r.fail(err)
	}
	r.e.Discard()
	in := engine.SequenceInput(b, b.Spans[0])
	in.Scale = p.Scale
	_, err = r.e.Pass(ctx, in, engine.Gradient)
	r.fail(err)
	blamed, err = r.e.Propose(ctx, p)
	r.fail(err)
	_, err = r.e.Pass(ctx, engine.SequenceInput(b, b.Spans[0]), engine.Nats)
	r.fail(err)
	return report, blamed, lr
}

// recorder is an engine that writes down what is called.
type recorder struct {
	engine.Engine
	info engine.Info
	log  []string
}

func newRecorder() *recorder {
	r := &recorder{info: engine.Info{Arch: arch}}
	for l := range arch.Layers {
		for _, k := range []string{"norm", "attn", "mlp", "mlp"} {
			name := fmt.Sprintf("%d.%d", l, len(r.info.Tensors))
			r.info.Tensors = append(r.info.Tensors, engine.Tensor{Name: name, Kind: k, Block: l})
		}
	}
	return r
}

func (r *recorder) add(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *recorder) Info() engine.Info { return r.info }
func (r *recorder) Discard()          { r.add("discard") }

func (r *recorder) Pass(_ context.Context, in engine.Input, want engine.Want) (v engine.Values, err error) {
	if want&engine.Gradient == 0 {
		r.add("nats")
	} else {
		r.add("pass %.4g", in.Scale)
	}
	return v, nil
}

func (r *recorder) Propose(_ context.Context, p engine.Proposal) (engine.Report, error) {
	r.add("propose %g", p.LR)
	return engine.Report{Loss: 1, LR: p.LR, ClipScale: 1}, nil
}

func (r *recorder) Commit(u engine.Update) (float64, error) {
	r.add("commit %g", u.LR)
	return u.LR, nil
}

var faultNames = map[engine.FaultKind]string{
	engine.NaNActivation: "nan", engine.StopGradient: "stop", engine.CutResidual: "cut",
	engine.NaNGradient: "nan", engine.InfGradient: "inf", engine.ScaleGradients: "scale", engine.FlipBit: "flip",
	engine.ScaleBlock: "block", engine.RoundWeights: "round"}

func (r *recorder) Plant(faults ...engine.Fault) {
	text := "plant"
	for _, f := range faults {
		text += fmt.Sprintf(" %s/%d", faultNames[f.Kind], f.Block)
	}
	r.add("%s", text)
}

func (r *recorder) Harm(f engine.Fault) {
	switch f.Kind {
	case engine.ScaleGradients:
		r.add("harm scale %g", f.Factor)
	case engine.ScaleBlock:
		r.add("harm block %d %g", f.Block, f.Factor)
	case engine.RoundWeights:
		r.add("harm round")
	default:
		r.add("harm %s %s", faultNames[f.Kind], f.Tensor)
	}
}

package evaluate

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/engine"
	"gimbal/internal/model"
	"gimbal/internal/rundir"
)

// cpu returns an opener of engines on so many workers.
func cpu(t testing.TB, workers int) engine.Opener {
	t.Helper()
	o, err := engine.CPU(workers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

// trained returns an engine that has learned a little of the text.
func trained(t testing.TB, o engine.Opener, text *data.Text) engine.Engine {
	t.Helper()
	cfg := config.Default()
	for key, value := range map[string]any{"model.layers": 2, "model.width": 16, "model.heads": 2, "model.mlp": 32,
		"train.context": testContext} {
		if err := cfg.SetPlanned(key, value, "test"); err != nil {
			t.Fatal(err)
		}
	}
	arch, err := cfg.Arch(text.Tok.VocabSize())
	if err != nil {
		t.Fatal(err)
	}
	spec := engine.Spec{Arch: arch, MicroTokens: 128, Checkpointing: "none", Mode: "fp32"}
	if o.Hardware().FasterBF16 {
		spec.Mode = "bf16" // as Measure chooses
	}
	spec.Optim.Beta1, spec.Optim.Beta2, spec.Optim.Eps = 0.9, 0.95, 1e-8
	e, err := o.Open(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if err := e.Init(3); err != nil {
		t.Fatal(err)
	}
	loader, err := data.NewLoader(text.Train, 3, 256)
	if err != nil {
		t.Fatal(err)
	}
	acc := engine.Accumulator{MicroTokens: 128, Seed: 3}
	var batch data.Batch
	var cur data.Cursor
	for step := range int64(40) {
		cur = loader.Next(&batch, cur)
		e.Discard()
		if err := acc.Gradient(t.Context(), e, &batch, step+1); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Commit(engine.Update{Step: step + 1, LR: 0.01, Scale: 1}); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// saved saves the weights of an engine as step 40 of a run, and opens them as a model.
func saved(t testing.TB, e engine.Engine, text *data.Text) *rundir.Model {
	t.Helper()
	s, err := e.Get()
	if err != nil {
		t.Fatal(err)
	}
	dir, eos := t.TempDir(), text.Tok.EOS()
	files := map[string][]byte{}
	for name, encode := range map[string]func() ([]byte, error){
		"config.json":        func() ([]byte, error) { return model.HFConfig(e.Info().Arch, eos, eos) },
		rundir.TokenizerFile: text.Tok.JSON,
	} {
		if files[name], err = encode(); err != nil {
			t.Fatal(err)
		}
	}
	_, err = checkpoint.Save(durable.OS, rundir.CheckpointsOf(dir), &checkpoint.Snapshot{Step: 40, Files: files, Model: s.Params})
	if err != nil {
		t.Fatal(err)
	}
	m, err := rundir.OpenModel(dir, "step-40")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// measureOptions measure a model as options evaluate an engine.
func measureOptions(m *rundir.Model, o engine.Opener, text, own *data.Text) MeasureOptions {
	opt := options(nil, text)
	return MeasureOptions{Model: m, Opener: o, Text: text, Own: own, On: "a test", Start: "eos",
		MicroTokens: opt.MicroTokens, Seed: opt.Seed, Samples: opt.Samples}
}

// An evaluation measures what was planned, with intervals and people's numbers, whatever the number of workers.
func TestEvaluationIsJudged(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	var first *Writing
	var loss Loss
	for workers := 1; workers <= 3; workers++ {
		e := New(options(trained(t, cpu(t, workers), text), text))
		l, err := e.Loss(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		w, err := e.Write(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first, loss = w, l
		}
		if !reflect.DeepEqual(w, first) || l != loss {
			t.Errorf("%d workers write or score otherwise than one: %+v, %+v", workers, l, loss)
		}
	}
	m := first.Metrics()
	for _, key := range []string{"rep3", "rep3_lo", "rep3_hi", "rep3_human", "rep4", "consistency", "consistency_lo", "within",
		"between", "finish_rate", "distinct3", "compression", "self_bleu", "match", "novel5", "unknown_words", "ngram_nats",
		"garbled", "length"} {
		if _, ok := m[key]; !ok {
			t.Errorf("no %s", key)
		}
	}
	if _, ok := m["parses"]; ok {
		t.Error("a corpus that is not Go is parsed as Go")
	}
	if m[MetricTexts] != 18 {
		t.Errorf("%v texts", m[MetricTexts])
	}
	if lo, hi := loss.Reported.Interval(); !(lo < loss.Reported.Loss() && loss.Reported.Loss() < hi) || !(loss.Reported.Loss() < 4) {
		t.Errorf("loss %v in [%v, %v]", loss.Reported.Loss(), lo, hi)
	}
}

// The evaluator measures the weights as they are: after a step both loss and texts are others.
func TestEvaluationFollowsTheWeights(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	eng := trained(t, cpu(t, 2), text)
	e := New(options(eng, text))
	evaluate := func() (float64, []string) {
		t.Helper()
		l, err := e.Loss(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		w, err := e.Write(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, s := range w.Texts {
			texts = append(texts, s.Text)
		}
		return l.Sample.Loss(), texts
	}
	loss, texts := evaluate()
	if err := eng.Init(4); err != nil {
		t.Fatal(err)
	}
	fresh, others := evaluate()
	if !(fresh > loss+0.5) || slices.Equal(texts, others) {
		t.Errorf("a loss of %v, of fresh weights %v; texts %q and %q", loss, fresh, texts[:2], others[:2])
	}
}

// A finished run is measured with the numbers of its own last evaluation, bit for bit; passes of another size add the
// same losses in another order.
func TestMeasureAgreesWithTheRun(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	o := cpu(t, 2)
	eng := trained(t, o, text)
	e := New(options(eng, text))
	l, err := e.Loss(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	w, err := e.Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	grams, err := Fit(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	m := saved(t, eng, text)
	r, err := Measure(t.Context(), measureOptions(m, o, text, text))
	if err != nil {
		t.Fatal(err)
	}
	if s := l.Reported; r.Loss != s.Loss() || r.BitsPerByte != s.BitsPerByte() || r.Tokens != s.Tokens || r.Bytes != s.Bytes {
		t.Errorf("measured %+v, the run had %+v", r, s)
	}
	if *r.Baseline != grams || r.Step != 40 || filepath.Base(r.Checkpoint) != "step-40" || r.On != "a test" {
		t.Errorf("%+v; the run's baseline %+v", r, grams)
	}
	if s := r.Writing; !reflect.DeepEqual(s.Metrics, w.Report.Metrics) || s.Counted != w.Report.Counted || s.Plan != w.Plan.String() ||
		!reflect.DeepEqual(s.Samples, w.Worst(3)) || !slices.Equal(s.Notes, w.Notes) || len(s.Alarms) != len(w.Report.Alarms) {
		t.Errorf("measured %+v, the run had %+v", s, w)
	}
	opt := measureOptions(m, o, text, text)
	opt.MicroTokens, opt.LossOnly = 512, true
	if large, err := Measure(t.Context(), opt); err != nil || math.Abs(large.Loss-r.Loss) > 1e-6 {
		t.Errorf("in passes of 512 tokens %+v, %v", large, err)
	}
}

// Other text is measured by itself: without the text of the run there is no baseline, and copying cannot be measured.
func TestMeasureOnOtherText(t *testing.T) {
	own := openText(t, grammar(t, 60), 0.2)
	o := cpu(t, 2)
	m := saved(t, trained(t, o, own), own)
	other := openText(t, grammar(t, 45), 0)
	bare, err := Measure(t.Context(), measureOptions(m, o, other, nil))
	if err != nil {
		t.Fatal(err)
	}
	if bare.Baseline != nil || bare.Tokens != other.Val.Tokens() {
		t.Errorf("%+v; the text has %d labels", bare, other.Val.Tokens())
	}
	if _, ok := bare.Writing.Metrics["copied"]; ok || !strings.Contains(strings.Join(bare.Writing.Notes, "; "), "the training text is not here") {
		t.Errorf("%+v", bare.Writing)
	}
	both, err := Measure(t.Context(), measureOptions(m, o, other, own))
	if err != nil {
		t.Fatal(err)
	}
	if both.Loss != bare.Loss || both.Baseline == nil || both.Baseline.TrainTokens != own.Train.Tokens() || both.Baseline.Tokens != both.Tokens {
		t.Errorf("%+v, without the run's text %+v", both, bare)
	}
	if _, ok := both.Writing.Metrics["copied"]; !ok {
		t.Errorf("%+v", both.Writing)
	}
}

// fakeOpener hands out one engine.
type fakeOpener struct {
	engine.Opener
	engine *fakeEngine
	spec   engine.Spec
}

func (o *fakeOpener) Hardware() engine.Hardware { return engine.Hardware{Workers: 1, FasterBF16: true} }
func (o *fakeOpener) Open(s engine.Spec) (engine.Engine, error) {
	o.spec = s
	return o.engine, nil
}

// A measurement takes an engine for passes alone, in the fastest precision, and gives it back however it ends.
func TestMeasureOpensAndCloses(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	m := saved(t, trained(t, cpu(t, 1), text), text)
	run := func(ctx context.Context, edit func(*fakeEngine, *MeasureOptions)) (*Result, *fakeOpener, error) {
		o := &fakeOpener{engine: newFake(t, text)}
		opt := measureOptions(m, o, text, text)
		edit(o.engine, &opt)
		r, err := Measure(ctx, opt)
		return r, o, err
	}
	var notes []string
	r, o, err := run(t.Context(), func(_ *fakeEngine, opt *MeasureOptions) {
		opt.LossOnly = true
		opt.Note = func(format string, _ ...any) { notes = append(notes, format) }
	})
	if err != nil || r.Writing != nil || r.Loss != 1 || o.engine.sizes != nil || !o.engine.closed {
		t.Errorf("loss only: %+v, %v; decoders %v, closed %v", r, err, o.engine.sizes, o.engine.closed)
	}
	if s := o.spec; !s.Forward || s.Mode != "bf16" || s.MicroTokens != 128 || s.Arch != m.Arch {
		t.Errorf("opened with %+v", s)
	}
	if !slices.Equal(notes, []string{"fitting the n-gram baseline"}) {
		t.Errorf("notes %q", notes)
	}
	for name, stop := range map[string]func(*fakeEngine, func()){
		"scoring": func(f *fakeEngine, cancel func()) { f.onPass = func(int) error { cancel(); return nil } },
		"writing": func(f *fakeEngine, cancel func()) { f.onDecode = func(int) error { cancel(); return nil } },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		_, o, err := run(ctx, func(f *fakeEngine, _ *MeasureOptions) { stop(f, cancel) })
		if !errors.Is(err, context.Canceled) || !o.engine.closed {
			t.Errorf("cancelled while %s: %v, closed %v", name, err, o.engine.closed)
		}
	}
	_, _, err = run(t.Context(), func(_ *fakeEngine, opt *MeasureOptions) {
		nothing := *text
		nothing.Val = openText(t, grammar(t, 30), 0).Set.Val(testContext) // nothing is held out
		opt.Text = &nothing
	})
	if !errors.Is(err, data.ErrUnusable) {
		t.Errorf("no text: %v", err)
	}
}

// The names in the JSON of a result are read by others.
func TestResultNames(t *testing.T) {
	raw, err := json.Marshal(Result{Writing: &Summary{Alarms: []string{}, Notes: []string{"x"}, Samples: []Sample{{Reasons: []string{"y"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"checkpoint":"","step":0,"on":"","val_loss":0,"bits_per_byte":0,"val_tokens":0,"val_bytes":0,"writing":` +
		`{"plan":"","texts_counted":0,"metrics":null,"alarms":[],"notes":["x"],` +
		`"samples":[{"Prompt":"","Text":"","Finish":"","Reasons":["y"]}]}}`
	if string(raw) != want {
		t.Errorf("%s\nwant\n%s", raw, want)
	}
}

package evaluate

import (
	"reflect"
	"slices"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/engine"
	"gimbal/internal/family"
	"gimbal/internal/hub"
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
func saved(t testing.TB, e engine.Engine, text *data.Text) *hub.Model {
	t.Helper()
	s, err := e.Get()
	if err != nil {
		t.Fatal(err)
	}
	dir, eos := t.TempDir(), text.Tok.EOS()
	files := map[string][]byte{}
	for name, encode := range map[string]func() ([]byte, error){
		"config.json":        func() ([]byte, error) { return family.Config(e.Info().Arch, eos, eos, "float32") },
		rundir.TokenizerFile: text.Tok.JSON,
	} {
		if files[name], err = encode(); err != nil {
			t.Fatal(err)
		}
	}
	c := &checkpoint.Snapshot{Step: 40, Files: files, Model: s.Params}
	if _, err := checkpoint.Save(durable.OS, rundir.CheckpointsOf(dir), c); err != nil {
		t.Fatal(err)
	}
	m, err := hub.OpenModel(dir, "step-40")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// An evaluation measures what was planned, with intervals and human values, whatever the number of workers.
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
	for _, key := range []string{"rep3", "rep3_lo", "rep3_hi", "rep3_human", "rep4", "consistency", "consistency_lo",
		"within", "between", "finish_rate", "distinct3", "compression", "self_bleu", "match", "novel5", "unknown_words",
		"ngram_nats", "garbled", "length"} {
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
	nats := loss.Reported.Loss()
	if lo, hi := loss.Reported.Interval(); !(lo < nats && nats < hi && nats < 4) {
		t.Errorf("loss %v in [%v, %v]", nats, lo, hi)
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

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

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/hub"
)

// measureOptions measure a model as options evaluate an engine.
func measureOptions(m *hub.Model, o engine.Opener, text, own *data.Text) MeasureOptions {
	opt := options(nil, text)
	return MeasureOptions{Model: m, Opener: o, Text: text, Own: own, On: "a test", Start: "eos",
		MicroTokens: opt.MicroTokens, Seed: opt.Seed, Samples: opt.Samples}
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
	s := l.Reported
	if r.Loss != s.Loss() || r.BitsPerByte != s.BitsPerByte() || r.Tokens != s.Tokens || r.Bytes != s.Bytes {
		t.Errorf("measured %+v, the run had %+v", r, s)
	}
	if *r.Baseline != grams.Baseline || r.Step != 40 || filepath.Base(r.Checkpoint) != "step-40" || r.On != "a test" {
		t.Errorf("%+v; the run's baseline %+v", r, grams.Baseline)
	}
	want := &Summary{Plan: w.Plan.String(), Counted: w.Report.Counted, Metrics: w.Report.Metrics, Alarms: []string{},
		Notes: w.Notes, Samples: w.Worst(3)}
	for _, a := range w.Report.Alarms {
		want.Alarms = append(want.Alarms, a.Text)
	}
	if !reflect.DeepEqual(r.Writing, want) {
		t.Errorf("measured %+v, the run had %+v", r.Writing, want)
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
	notes := strings.Join(bare.Writing.Notes, "; ")
	if _, ok := bare.Writing.Metrics["copied"]; ok || !strings.Contains(notes, "the training text is not here") {
		t.Errorf("%+v", bare.Writing)
	}
	both, err := Measure(t.Context(), measureOptions(m, o, other, own))
	if err != nil {
		t.Fatal(err)
	}
	b := both.Baseline
	if both.Loss != bare.Loss || b == nil || b.TrainTokens != own.Train.Tokens() || b.Tokens != both.Tokens {
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
	written := &Summary{Alarms: []string{}, Notes: []string{"x"}, Samples: []Sample{{Reasons: []string{"y"}}}}
	raw, err := json.Marshal(Result{Writing: written})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"checkpoint":"","step":0,"on":"","val_loss":0,"bits_per_byte":0,"val_tokens":0,"val_bytes":0,` +
		`"writing":{"plan":"","texts_counted":0,"metrics":null,"alarms":[],"notes":["x"],` +
		`"samples":[{"Prompt":"","Text":"","Finish":"","Reasons":["y"]}]}}`
	if string(raw) != want {
		t.Errorf("%s\nwant\n%s", raw, want)
	}
}

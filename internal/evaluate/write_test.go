package evaluate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/judge"
)

// alphabet is what a fake engine writes after a byte.
func alphabet(last byte, n int) string {
	var b strings.Builder
	for range n {
		last = 'a' + (max(last, 'a')-'a'+1)%26
		b.WriteByte(last)
	}
	return b.String()
}

// Every prompt is continued as often as planned, sample by sample, and each text is told with its own prompt. A second
// evaluation makes nothing anew, takes the weights as they are, and writes the same.
func TestWriteContinuesEveryPrompt(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	f := newFake(t, text)
	var notes []string
	opt := options(f, text)
	opt.Note = func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	e := New(opt)
	w, err := e.Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if w.Plan.Prompts*w.Plan.Samples != 18 || len(w.Texts) != 18 || w.Report.Texts != 18 || w.Report.Counted != 18 {
		t.Fatalf("%+v: %d texts, the report has %d", w.Plan, len(w.Texts), w.Report.Texts)
	}
	if want := [][2]int{{18, 1 + w.Plan.PromptTokens + w.Plan.MaxTokens}}; !slices.Equal(f.sizes, want) {
		t.Errorf("decoders of %v, want %v", f.sizes, want)
	}
	for i, s := range w.Texts {
		start, read := f.decoder.prompts[i][0], string(text.Tok.Decode(nil, f.decoder.prompts[i][1:]))
		if start != text.Tok.EOS() || read != s.Prompt || s.Prompt != w.Texts[i%6].Prompt {
			t.Errorf("text %d: read %q behind %d, told %q", i, read, start, s.Prompt)
		}
		if want := alphabet(s.Prompt[len(s.Prompt)-1], 12); s.Text != want || s.Finish != "length" {
			t.Errorf("text %d: %q, %s; the model writes %q", i, s.Text, s.Finish, want)
		}
	}
	if !w.FewDocuments || len(w.Notes) == 0 || len(notes) != len(w.Notes) || notes[0] != "judge: "+w.Notes[0] {
		t.Errorf("notes %q were told as %q", w.Notes, notes)
	}
	again, err := e.Write(t.Context())
	if err != nil || !reflect.DeepEqual(again, w) {
		t.Errorf("another evaluation of the same model writes %+v, %v", again, err)
	}
	if len(f.sizes) != 1 || f.decoder.refreshed != 2 || len(notes) != len(w.Notes) {
		t.Errorf("%d decoders, %d times refreshed, notes %q", len(f.sizes), f.decoder.refreshed, notes)
	}
}

// The random streams are part of what a seed means.
func TestRequestsHaveTheirOwnStreams(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	e := New(options(newFake(t, text), text))
	if err := e.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, r := range e.requests(e.judge.Plan()) {
		if want := uint64(i%6)<<32 | uint64(i/6); r.Index != want {
			t.Errorf("request %d has the stream %d, not %d", i, r.Index, want)
		}
	}
}

// The same texts are numbers for the log, a page for people, and examples.
func TestWritingIsTold(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	f := newFake(t, text)
	f.next = func(token int32) int32 { // "sees" never ends, all else does at once
		if i := strings.IndexByte("sees ", byte(token)); i >= 0 && token < 256 {
			return int32("ees s"[i])
		}
		return text.Tok.EOS()
	}
	w, err := New(options(f, text)).Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := w.Metrics()
	counted, alarms := w.Report.Counted, w.Report.Alarms
	if counted == 0 || counted == 18 || len(alarms) == 0 {
		t.Fatalf("%d texts are measured, with the alarms %v, so this test tells little", counted, alarms)
	}
	if m["texts"] != 18 || int(m["texts_counted"]) != counted || int(m["alarms"]) != len(alarms) {
		t.Errorf("%v, %v and %v; report %+v", m["texts"], m["texts_counted"], m["alarms"], w.Report)
	}
	for name, v := range w.Report.Metrics {
		if float64(m[name]) != v.Value || float64(m[name+"_lo"]) != v.Lo || float64(m[name+"_hi"]) != v.Hi {
			t.Errorf("%s: %v [%v, %v], measured %+v", name, m[name], m[name+"_lo"], m[name+"_hi"], v)
		}
		human, ok := m[name+"_human"]
		if ok != v.Compared || float64(human) != v.Human || float64(m[name+"_human_se"]) != v.HumanSE {
			t.Errorf("%s of people: %v, measured %+v", name, human, v)
		}
	}
	page := string(w.Page(4, 60))
	if !strings.HasPrefix(page, "# Evaluation 4, step 60\n\n- 15 of 18 texts ") ||
		len(judge.ReadPage([]byte(page))) != 18 ||
		!strings.Contains(page, "\n- "+alarms[0].Text) {
		t.Errorf("page:\n%.300s", page)
	}
	shown := w.Shown(3)
	for i, s := range shown {
		if t0 := w.Texts[i]; !reflect.DeepEqual(s, Sample{Prompt: t0.Prompt, Text: t0.Text, Finish: t0.Finish}) {
			t.Errorf("shown %d: %+v", i, s)
		}
	}
	worst := w.Worst(2)
	if len(shown) != 3 || len(worst) != 2 || len(worst[0].Reasons) == 0 ||
		!strings.Contains(page, "\n## 1 of 18: "+worst[0].Reasons[0]) {
		t.Errorf("%d shown, worst %+v", len(shown), worst)
	}
	if len(w.Shown(100)) != 18 || len(w.Worst(100)) != 18 {
		t.Error("fewer than all texts, where more were asked for")
	}
}

// Where the context or the held-out text has no room for a prompt nothing is written, told once, and no memory is
// taken for it.
func TestNothingToWrite(t *testing.T) {
	short := grammar(t, 30)
	for i := range 30 {
		put(t, filepath.Join(short, fmt.Sprintf("doc%03d.txt", i)), string(rune('a'+i%26)))
	}
	for name, c := range map[string]struct {
		text    *data.Text
		context int
	}{
		"a context of two tokens":    {openText(t, grammar(t, 60), 0.2), 2},
		"documents of one character": {openText(t, short, 0.5), 32},
	} {
		f := newFake(t, c.text)
		f.context = c.context
		opt := options(f, c.text)
		opt.Samples = judge.PlanFor(6, 3, 12, c.context-1)
		told := 0
		opt.Note = func(format string, args ...any) {
			if strings.HasSuffix(fmt.Sprintf(format, args...), "too short for a single prompt: nothing will be written") {
				told++
			}
		}
		e := New(opt)
		for range 2 {
			w, err := e.Write(t.Context())
			if err != nil || len(w.Texts) != 0 || w.Report.Texts != 0 || !w.FewDocuments {
				t.Fatalf("%s: %+v, %v", name, w, err)
			}
			if w.Metrics() != nil || w.Shown(3) != nil || w.Worst(3) != nil {
				t.Errorf("%s: numbers or texts of nothing", name)
			}
		}
		if told != 1 || f.sizes != nil {
			t.Errorf("%s: told %d times, decoders %v", name, told, f.sizes)
		}
	}
}

// A context that is done ends the writing between two tokens, not after the last text. Asked again, the model writes
// as if nothing had happened.
func TestWritingStops(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	f := newFake(t, text)
	e := New(options(f, text))
	want, err := e.Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	each := f.decoder.calls
	for _, at := range []int{0, 3, each - 1} {
		ctx, cancel := context.WithCancel(t.Context())
		first := f.decoder.calls
		f.onDecode = func(n int) error {
			if n-first == at {
				cancel()
			}
			return nil
		}
		w, err := e.Write(ctx)
		if w != nil || !errors.Is(err, context.Canceled) || f.decoder.calls-first != at+1 {
			t.Errorf("cancelled in call %d of %d: %v after %d calls, %v", at, each, w, f.decoder.calls-first, err)
		}
		f.onDecode = nil
		if again, err := e.Write(t.Context()); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("after a cancel in call %d: %+v, %v", at, again, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(options(f, text)).Write(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is done before: %v", err)
	}
	broken := errors.New("the device is gone")
	f.onDecode = func(int) error { return broken }
	if _, err := e.Write(t.Context()); !errors.Is(err, broken) {
		t.Errorf("a decoder that fails: %v", err)
	}
}

// An encoder that cannot be read is a fault of the configuration, at the place where it was named.
func TestEncoderIsAFaultOfTheConfiguration(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	opt := options(newFake(t, text), text)
	opt.Encoder, opt.EncoderOrigin = filepath.Join(t.TempDir(), "none"), "run.toml:12"
	_, err := New(opt).Write(t.Context())
	var faults *config.Error
	if !errors.As(err, &faults) || faults.Faults[0].Where != "run.toml:12" || faults.Faults[0].Key != "judge.encoder" {
		t.Errorf("%v", err)
	}
}

// Go is parsed where all of the text is Go.
func TestGoIsParsed(t *testing.T) {
	for _, c := range []struct {
		sources []string
		want    bool
	}{{[]string{"a.go", "b/c.go"}, true}, {[]string{"a.go", "b.txt"}, false}, {nil, false}} {
		if isGo(c.sources) != c.want {
			t.Errorf("%v: %v", c.sources, !c.want)
		}
	}
}

func TestStartToken(t *testing.T) {
	tok := openText(t, grammar(t, 30), 0.2).Tok
	for _, kind := range []string{"eos", "none", "bos"} { // bytes have no BOS
		if got := StartToken(tok, kind); got != tok.EOS() {
			t.Errorf("%s: %d", kind, got)
		}
	}
}

// Tables have a line for each metric that the judge measures, but for the mean of two of them.
func TestEveryMetricHasAName(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	f := newFake(t, text)
	f.next = func(token int32) int32 { // no no no
		switch token {
		case 'n':
			return 'o'
		case 'o':
			return ' '
		}
		return 'n'
	}
	w, err := New(options(f, text)).Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"rep": true}
	for i, m := range judge.Tabulated {
		if known[m.Name] || m.What == "" || judge.MetricNames()[i] != m.Name {
			t.Errorf("metric %d: %+v", i, m)
		}
		known[m.Name] = true
	}
	for name := range w.Report.Metrics {
		if !known[name] {
			t.Errorf("%s is in no table", name)
		}
		delete(known, name)
	}
	if delete(known, "parses"); len(known) != 0 { // this text is not Go
		t.Errorf("%v are in the table and not measured", known)
	}
}

var _ judge.Corpus = held{(*data.Split)(nil)}

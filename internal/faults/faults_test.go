package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/engine"
)

// effect is what a fault does to a step, as the engine sees it. What changes batches only has none.
type effect struct {
	before string // the passes, with the first batch
	plant  string // sits in the model
	once   bool   // for one pass
	after  string // the passes
	update string // behind the update
	rate   float64
	loss   float64
	scale  bool // passes have other scales
}

var effects = map[string]effect{
	"nan-grad:1.5@3":     {after: "harm nan 1.5"},
	"nan-grad@3":         {after: "harm nan 1.7"},
	"inf-grad@4":         {after: "harm inf 1.7"},
	"nan-activation@2":   {plant: " nan/1", once: true},
	"nan-activation:2@2": {plant: " nan/2", once: true},
	"loss-spike@70":      {after: "harm scale 1000", loss: 1000},
	"poison-batch@70":    {},
	"poison-batches@80":  {},
	"repetition@1":       {},
	"lr-bomb@71":         {rate: 30},
	"bit-flip@70":        {before: "harm flip 1.7"},
	"bit-flip:2.8@70":    {before: "harm flip 2.8"},
	"frozen-layer:0@1":   {plant: " stop/0"},
	"cut-residual@5":     {plant: " cut/1"},
	"starved-init@1":     {before: "harm block 0 0.01"},
}

// want is the calls of a step with an effect; scale is that of a sound pass.
func (e effect) want(on, first bool, passes int, scale float64, log []string) (all []string) {
	if !on {
		e = effect{}
	}
	lr, plants := rate*max(1, e.rate), "plant"+e.plant
	all = append(all, "discard")
	if first && e.before != "" {
		all = append(all, e.before)
	}
	all = append(all, plants)
	for i := range passes {
		pass := fmt.Sprintf("pass %.4g", scale)
		if e.scale { // what it is, another test asks
			pass = log[len(all)]
		}
		all = append(all, pass)
		if i == 0 && e.once {
			all = append(all, "plant")
		}
	}
	if e.after != "" {
		all = append(all, e.after)
	}
	all = append(all, fmt.Sprintf("propose %g", lr), fmt.Sprintf("commit %g", lr))
	if e.update != "" {
		all = append(all, e.update)
	}
	return append(all, "discard", fmt.Sprintf("pass %.4g", scale), fmt.Sprintf("propose %g", lr), "nats")
}

// Every fault does what it does where it should, for as long as it lasts, and nowhere else: neither to the search for
// whom to blame, nor to a score, nor to other steps.
func TestEveryFaultActsInItsPlace(t *testing.T) {
	x, known := text(t), map[string]bool{}
	for spec, e := range effects {
		t.Run(spec, func(t *testing.T) {
			rec := newRecorder()
			s := set(t, x, rec.info, spec)
			var notes []string
			s.env.Note = func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
			f := &s.faults[0]
			known[f.name] = true
			clean, next := source(t, x), s.Source(source(t, x))
			r := newRun(t, next, s.Engine(rec))
			begin := f.step
			last := begin + max(f.batches, 3) + 2
			for step := max(1, begin-2); step <= last; step++ {
				r.cur.Batch = step - 1 // as if every step before was made
				var sound data.Batch
				clean(step, &sound, r.cur)
				rec.log = nil
				report, blamed, lr := r.step(step)
				on := step >= begin && (f.batches == 0 || step < begin+f.batches)
				same := slices.Equal(sound.Labels, r.batch.Labels) &&
					slices.Equal(sound.Counts, r.batch.Counts) && slices.Equal(sound.Spans, r.batch.Spans)
				if same == (on && f.batch != nil) {
					t.Errorf("step %d: the batch is the sound one: %v", step, same)
				}
				want := e.want(on, step == begin, len(r.acc.Passes), engine.Scale(&r.batch), rec.log)
				if !slices.Equal(rec.log, want) {
					t.Fatalf("step %d:\n%q, want\n%q", step, rec.log, want)
				}
				factor := map[bool]float64{true: max(1, e.rate), false: 1}[on]
				loss := map[bool]float64{true: max(1, e.loss), false: 1}[on]
				if report.Loss != loss || report.LR != rate*factor || lr != rate*factor || blamed.Loss != 1 {
					t.Errorf("step %d: reports %+v and %+v, rate %v", step, report, blamed, lr)
				}
				tainted := step >= begin && (f.batches == 0 || step < begin+f.batches+aftermath)
				if s.Active(step) != on || s.Tainted(step) != tainted {
					t.Errorf("step %d: active %v, tainted %v", step, s.Active(step), s.Tainted(step))
				}
			}
			if want := []string{fmt.Sprintf("planted %s at step %d", spec, begin)}; !slices.Equal(notes, want) {
				t.Errorf("notes %q", notes)
			}
			if f.batches > 0 && (!s.Tainted(begin+f.batches+aftermath-1) || s.Tainted(begin+f.batches+aftermath)) {
				t.Error("the aftermath is not 100 batches long")
			}
		})
	}
	for name, k := range kinds {
		if !k.disk && !known[name] {
			t.Errorf("%s is not tested", name)
		}
	}
}

// What is saved makes the same set again: a fault goes on where it was, and is not planted twice.
func TestStateGoesOn(t *testing.T) {
	x, rec := text(t), newRecorder()
	all := []string{"repetition@2", "nan-grad@3", "frozen-layer:0@9", "full-disk@4"}
	whole := set(t, x, rec.info, all...)
	r := newRun(t, whole.Source(source(t, x)), whole.Engine(rec))
	for step := int64(1); step <= 4; step++ {
		r.step(step)
	}
	raw, err := json.Marshal(whole.State())
	want := `[{"spec":"repetition@2","begun":2},{"spec":"nan-grad@3","begun":3},` +
		`{"spec":"frozen-layer:0@9","begun":0},{"spec":"full-disk@4","begun":0}]`
	if err != nil || string(raw) != want {
		t.Fatalf("%s, %v", raw, err)
	}
	var saved []Planted
	if err := json.Unmarshal(raw, &saved); err != nil {
		t.Fatal(err)
	}
	again, err := New(saved, Env{Info: rec.info, Steps: testSteps, Text: x, Seed: 1, MicroTokens: testMicro})
	if err != nil {
		t.Fatal(err)
	}
	rec2 := newRecorder()
	r2 := newRun(t, again.Source(source(t, x)), again.Engine(rec2))
	r2.cur = r.cur
	for step := int64(5); step <= 12; step++ {
		rec.log, rec2.log = nil, nil
		r.step(step)
		r2.step(step)
		if !slices.Equal(rec.log, rec2.log) || !slices.Equal(r.batch.Labels, r2.batch.Labels) ||
			!slices.Equal(whole.State(), again.State()) {
			t.Errorf("step %d: %q and %q", step, rec.log, rec2.log)
		}
	}
	if s := again.State(); s[2].Begun != 9 {
		t.Errorf("%+v", s)
	}
}

// Batches of which nothing is learned begin nothing and are left alone.
func TestEmptyBatches(t *testing.T) {
	x, rec := text(t), newRecorder()
	s := set(t, x, rec.info, "repetition@1", "nan-activation@1")
	sound := source(t, x)
	for name, empty := range map[string]func(*data.Batch){
		"no sequence": func(b *data.Batch) { b.Reset() },
		"no label":    func(b *data.Batch) { clear(b.Counts); b.Counted = 0 },
	} {
		var kept []int32
		next := s.Source(func(step int64, b *data.Batch, cur data.Cursor) data.Cursor {
			cur = sound(step, b, cur)
			empty(b)
			kept = slices.Clone(b.Labels)
			return cur
		})
		var b data.Batch
		if cur := next(1, &b, data.Cursor{}); cur.Batch != 1 || !slices.Equal(b.Labels, kept) ||
			s.State()[0].Begun != 0 || s.Tainted(1) {
			t.Errorf("%s: %+v", name, s.State())
		}
		e := s.Engine(rec)
		rec.log = nil
		if _, err := e.Pass(t.Context(), engine.Input{}, engine.Gradient); err != nil || len(rec.log) != 1 {
			t.Errorf("%s: %q, %v", name, rec.log, err)
		}
	}
}

// A run without faults has nothing around its batches, its engine and its disk.
func TestNoFaults(t *testing.T) {
	empty, err := New(nil, Env{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Set{nil, empty} {
		called, rec := false, newRecorder()
		next := s.Source(func(int64, *data.Batch, data.Cursor) data.Cursor { called = true; return data.Cursor{} })
		next(1, nil, data.Cursor{})
		if !called || s.Engine(rec) != engine.Engine(rec) || s.Disk(nil, 1, 1) != nil || s.Active(1) ||
			s.Tainted(1) || s.State() != nil {
			t.Error("there is something")
		}
	}
}

// An engine in which nothing can be planted is refused.
func TestNoPlanter(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it was taken")
		}
	}()
	set(t, text(t), newRecorder().info, "repetition@1").Engine(struct{ engine.Engine }{})
}

func TestNewRefuses(t *testing.T) {
	env := Env{Info: newRecorder().info, Steps: 12}
	for spec, text := range map[string]string{
		"nan-grad":            "FAULT@STEP",
		"nan-gard@3":          "no such fault; there are b",
		"nan-grad@x":          "is not the number of a step",
		"nan-grad@-1":         "is not the number of a step",
		"nan-grad@0":          "the earliest step for it is 1",
		"nan-grad@13":         "the run ends at step 12",
		"loss-spike@3":        "the earliest step for it is 70",
		"nan-grad:nowhere@3":  "no tensor \"nowhere\"",
		"frozen-layer:3@3":    "not a block: the blocks are 0 to 2",
		"starved-init@2":      "before step 1",
		"full-disk:sda@2":     "no target",
		"nan-activation:-1@2": "not a block",
		"cut-residual:x@2":    "not a block",
	} {
		_, err := New([]Planted{{Spec: "frozen-layer@1"}, {Spec: spec}}, env)
		var faults *config.Error
		if !errors.As(err, &faults) || len(faults.Faults) != 1 || faults.Faults[0].Where != "flag --inject" ||
			!strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), fmt.Sprintf("%q", spec)) {
			t.Errorf("%s: %v", spec, err)
		}
	}
	_, err := New([]Planted{{Spec: "a@1"}, {Spec: "b"}}, env)
	if faults := new(config.Error); !errors.As(err, &faults) || len(faults.Faults) != 2 {
		t.Errorf("two wrong ones: %v", err)
	}
}

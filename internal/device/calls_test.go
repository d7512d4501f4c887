package device

import (
	"context"
	"errors"
	"slices"
	"testing"

	"gimbal/internal/engine"
	"gimbal/internal/model"
)

// fakeOn returns an engine on devices that compute nothing.
func fakeOn(t testing.TB, devices int, s engine.Spec) (*fakeSession, engine.Engine) {
	f := newFake(t, devices)
	return f, open(t, New(f, EngineOptions{}), s)
}

// A step keeps as many arrays on the devices as the one before, and all are given back in the end.
func TestArraysAreGivenBack(t *testing.T) {
	for _, devices := range []int{1, 2} {
		every(t, func(t *testing.T, s engine.Spec) {
			f, e := fakeOn(t, devices, s)
			after := 0
			for step := int64(1); step <= 50; step++ {
				train(t, e, step, step)
				e.Discard()
				if step == 1 {
					after = len(f.alive)
				}
			}
			if len(f.alive) != after {
				t.Errorf("%d arrays after a step, %d after 50", after, len(f.alive))
			}
			in := engine.SequenceInput(batchOf(1), batchOf(1).Spans[0])
			if _, err := e.Pass(t.Context(), in, engine.Nats|engine.PerToken); err != nil {
				t.Fatal(err)
			}
			if len(f.alive) != after {
				t.Errorf("%d arrays, and %d after a pass for values", after, len(f.alive))
			}
			snapshot, err := e.Get()
			if err == nil && len(snapshot.Params) == 0 {
				t.Error("nothing was got")
			}
			if err := errors.Join(err, e.Close()); err != nil || len(f.alive) > 0 {
				t.Errorf("%d arrays after the end: %v", len(f.alive), err)
			}
		})
	}
}

// Passes and updates do not wait for a device, and a proposal waits for the nats of its passes and one
// list of numbers.
func TestWaits(t *testing.T) {
	f, e := fakeOn(t, 1, spec(shapes[0], model.ModeFP32, false))
	train(t, e, 1, 1)
	acc, b := engine.Accumulator{MicroTokens: micro}, batchOf(2)
	e.Discard()
	clear(f.calls)
	f.ran = nil
	if err := acc.Gradient(t.Context(), e, b, 2); err != nil || f.calls["fetch"] != 0 {
		t.Errorf("%d fetches of passes: %v", f.calls["fetch"], err)
	}
	runs := len(f.ran) - 1 // without the zeros
	r, err := e.Propose(t.Context(), engine.Proposal{Step: 2, LR: 1, Clip: 1, Scale: 1})
	if err != nil || f.calls["fetch"] != runs+1 {
		t.Errorf("%d fetches of a proposal over %d runs: %v", f.calls["fetch"], runs, err)
	}
	before := f.calls["fetch"]
	commit(t, e, engine.Update{Step: 2, LR: r.LR, Scale: r.ClipScale})
	if f.calls["fetch"] != before || !slices.Equal(f.ran[len(f.ran)-2:], []string{"propose", "update"}) ||
		f.calls["compile"] != 0 {
		t.Errorf("%v, %v", f.calls, f.ran)
	}
}

// A lost device is an error of every call, by its name, and gives no panic.
func TestLostCalls(t *testing.T) {
	for _, call := range []string{"run", "fetch", "upload"} {
		f, e := fakeOn(t, 2, spec(shapes[0], model.ModeFP32, true))
		train(t, e, 1, 2)
		f.failing[call] = ErrLost
		acc, b := engine.Accumulator{MicroTokens: micro}, batchOf(2)
		err := acc.Gradient(t.Context(), e, b, 3)
		if err == nil {
			_, err = e.Propose(t.Context(), engine.Proposal{Step: 3, LR: 1, Clip: 1, Scale: 1})
		}
		if !errors.Is(err, ErrLost) {
			t.Errorf("%s: %v", call, err)
		}
		_, err = e.Commit(engine.Update{Step: 3, LR: 1, Scale: 1})
		if call != "fetch" && !errors.Is(err, ErrLost) {
			t.Errorf("%s: %v", call, err)
		}
		if _, err := e.Get(); call != "upload" && call != "run" && !errors.Is(err, ErrLost) {
			t.Errorf("%s: %v", call, err)
		}
		e.(engine.Planter).Harm(engine.Fault{Kind: engine.ScaleBlock, Block: 1, Factor: 2})
		in := engine.SequenceInput(b, b.Spans[0])
		if _, err := e.Pass(t.Context(), in, engine.Nats); !errors.Is(err, ErrLost) {
			t.Errorf("%s: %v", call, err)
		}
		e.Discard()
		e.Close()
	}
}

// A context that is done ends passes and proposals before anything is run.
func TestContext(t *testing.T) {
	f, e := fakeOn(t, 1, spec(shapes[0], model.ModeFP32, false))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	clear(f.calls)
	in := engine.SequenceInput(batchOf(1), batchOf(1).Spans[0])
	if _, err := e.Pass(ctx, in, engine.Gradient); !errors.Is(err, context.Canceled) {
		t.Errorf("Pass: %v", err)
	}
	if _, err := e.Propose(ctx, engine.Proposal{Step: 1, Clip: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("Propose: %v", err)
	}
	if len(f.calls) > 0 {
		t.Errorf("%v", f.calls)
	}
}

// What the bits depend on is in the numerics that a run records.
func TestNumerics(t *testing.T) {
	var all []string
	for _, o := range []EngineOptions{{Devices: 1}, {Devices: 2}, {Devices: 2, Sharded: true},
		{Devices: 1, Flags: "fast"}} {
		e := open(t, New(newFake(t, 2), o), spec(shapes[0], model.ModeFP32, false))
		if n := e.Info().Numerics; slices.Contains(all, n) {
			t.Errorf("%+v has the numerics of another: %s", o, n)
		} else {
			all = append(all, n)
		}
	}
}

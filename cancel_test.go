package gimbal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// doneAfter is a context that is done when its error has been asked for n times.
type doneAfter struct {
	context.Context
	n atomic.Int64
}

func newDoneAfter(t *testing.T, n int64) *doneAfter {
	c := &doneAfter{Context: t.Context()}
	c.n.Store(n)
	return c
}

func (c *doneAfter) Err() error {
	if c.n.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// TestCancelModel wants generations, streams and scores to end in the middle, and those that wait for their turn, too.
func TestCancelModel(t *testing.T) {
	m := openRandom(t, 600)
	for what, do := range map[string]func(context.Context) error{
		"generate": func(ctx context.Context) error {
			texts, err := m.Generate(ctx, "x", GenerateOptions{Samples: 2, TopK: -1, MaxTokens: 30})
			if err != nil && texts != nil {
				t.Errorf("texts with an error: %+v", texts)
			}
			return err
		},
		"a long prompt": func(ctx context.Context) error {
			_, err := m.Generate(ctx, strings.Repeat("x", 590), GenerateOptions{MaxTokens: 1})
			return err
		},
		"score": func(ctx context.Context) error {
			s, err := m.Score(ctx, strings.Repeat("long ", 500))
			if err != nil && s != (Score{}) {
				t.Errorf("a score with an error: %+v", s)
			}
			return err
		},
	} {
		n := int64(0)
		for ; ; n++ {
			err := do(newDoneAfter(t, n))
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%s, cancelled at %d: %v", what, n, err)
			}
		}
		if n < 4 {
			t.Errorf("%s asks its context %d times only", what, n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	n, last := 0, error(nil)
	for _, err := range m.Stream(ctx, "x", GenerateOptions{TopK: -1, MaxTokens: 500}) {
		if n, last = n+1, err; n == 3 {
			cancel()
		}
	}
	if n != 4 || !errors.Is(last, context.Canceled) {
		t.Errorf("a stream that was cancelled at its third token yields %d, the last with %v", n, last)
	}
	m.turn <- struct{}{} // somebody computes for ever
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := m.Score(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled while it waits: %v", err)
	}
	<-m.turn
}

// tinyRun is a run of a moment, on a text that it writes.
func tinyRun(t *testing.T) TrainOptions {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	text := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("The cat sat on the mat. ", 100)), 0o666); err != nil {
		t.Fatal(err)
	}
	return TrainOptions{Data: []string{text}, Steps: 4, Out: filepath.Join(dir, "run"), Workers: 1, Set: []string{
		"tokenizer.kind=chars", "model.layers=1", "model.width=16", "train.context=32", "train.batch_tokens=128",
		"eval.every=2", "eval.prompts=4", "eval.samples=2", "eval.max_tokens=8"}}
}

// TestCancelTrain cancels a run at more and more places. Where there is a run then, it can be resumed, and comes to the
// end that it would have had.
func TestCancelTrain(t *testing.T) {
	opt := tinyRun(t)
	out := opt.Out
	interrupted := 0
	want := 0.0
	var losses []float64
	for n := int64(0); ; n += 1 + n/6 {
		opt.Out = filepath.Join(out, time.Duration(n).String())
		r, err := Train(newDoneAfter(t, n), opt)
		if err == nil {
			want = r.ValLoss
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled at %d: %v", n, err)
		}
		if !errors.Is(err, ErrInterrupted) {
			continue
		}
		interrupted++
		if r == nil || r.Reason != "interrupted" {
			t.Fatalf("cancelled at %d: %+v", n, r)
		}
		if r, err = Resume(t.Context(), opt.Out, ResumeOptions{Workers: 1}); err != nil {
			t.Fatalf("cancelled at %d, resumed: %v", n, err)
		}
		losses = append(losses, r.ValLoss)
	}
	for _, got := range losses {
		if got != want {
			t.Errorf("an interrupted run ends at %v, an unbroken one at %v", got, want)
		}
	}
	if interrupted < 3 {
		t.Errorf("only %d of the places left a run: the test says little", interrupted)
	}
}

// TestCancelEvaluate cancels an evaluation at more and more places, those among them at which the model writes.
func TestCancelEvaluate(t *testing.T) {
	opt := tinyRun(t)
	if _, err := Train(t.Context(), opt); err != nil {
		t.Fatal(err)
	}
	asked := map[bool]int64{}
	for _, lossOnly := range []bool{true, false} {
		n := int64(0)
		for ; ; n = n + 1 + n/4 {
			r, err := Evaluate(newDoneAfter(t, n), opt.Out, EvalOptions{LossOnly: lossOnly, Workers: 1})
			if err == nil {
				break
			}
			if r != nil || !errors.Is(err, context.Canceled) {
				t.Fatalf("cancelled at %d: %+v, %v", n, r, err)
			}
		}
		asked[lossOnly] = n
	}
	if asked[false] < asked[true]+8 { // a token of a text each
		t.Errorf("with %d looks at the context for the loss, and %d with what is written, generation is not cancelled",
			asked[true], asked[false])
	}
}

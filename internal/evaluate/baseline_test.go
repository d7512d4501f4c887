package evaluate

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"gimbal/internal/runlog"
)

// The unigram is that of Witten and Bell, written down here from its formula; the best order beats it, and bits per
// byte are of the bytes that the labels spell.
func TestFit(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	b, err := Fit(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	count, types := map[int32]float64{}, 0.0
	for ids := range text.Train.Labels() {
		for _, id := range ids {
			if count[id] == 0 {
				types++
			}
			count[id]++
		}
	}
	total, nats, bytes := float64(text.Train.Tokens()), 0.0, 0.0
	for ids := range text.Val.Labels() {
		for _, id := range ids {
			nats -= math.Log((count[id] + types/float64(text.Tok.VocabSize())) / (total + types))
			bytes += float64(len(text.Tok.Bytes(id)))
		}
	}
	n := float64(text.Val.Tokens())
	if got, want := float64(b.Unigram), nats/n; math.Abs(got-want) > 1e-9 {
		t.Errorf("unigram %v, want %v", got, want)
	}
	if b.TrainTokens != text.Train.Tokens() || b.Tokens != text.Val.Tokens() {
		t.Errorf("%+v; the text has %d and %d labels", b, text.Train.Tokens(), text.Val.Tokens())
	}
	if !(b.Loss < b.Unigram-0.5) || b.Order < 2 {
		t.Errorf("order %d has %v, the unigram %v", b.Order, float64(b.Loss), float64(b.Unigram))
	}
	for _, p := range [][2]runlog.Float{{b.Bits, b.Loss}, {b.UnigramBits, b.Unigram}} {
		if got, want := float64(p[0]), float64(p[1])*n/bytes/math.Ln2; math.Abs(got-want) > 1e-9 {
			t.Errorf("%v bits per byte, want %v", got, want)
		}
	}
}

// The baseline is scored on the same labels as the model: those that count.
func TestFitCountsAnswersOnly(t *testing.T) {
	text := openText(t, chats(t, 60), 0.2)
	b, err := Fit(t.Context(), text)
	if err != nil || b.Tokens != text.Val.Counted() || b.Tokens >= text.Val.Tokens() {
		t.Errorf("%d labels are scored, %d of %d count, %v", b.Tokens, text.Val.Counted(), text.Val.Tokens(), err)
	}
}

// A loss on the sample is compared with n-grams on the same tokens, whatever the sample is.
func TestBaselineOnTheSample(t *testing.T) {
	for name, path := range map[string]string{"text": grammar(t, 60), "chats": chats(t, 60)} {
		text := openText(t, path, 0.3)
		g, err := Fit(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		sum, labels := 0.0, int64(0)
		for i, v := range g.nats {
			sum, labels = sum+v, labels+g.tokens[i]
		}
		if labels != g.Tokens || math.Abs(sum/float64(labels)-float64(g.Loss)) > 1e-9 {
			t.Errorf("%s: the sequences have %v nats per token on %d, all has %v on %d", name, sum/float64(labels), labels,
				float64(g.Loss), g.Tokens)
		}
		for _, size := range []int64{1, 100, 400, 1 << 20} {
			opt := options(newFake(t, text), text)
			opt.SampleSize = size
			e := New(opt)
			l, err := e.Loss(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			b := g.On(e)
			if b.SampleTokens != l.Sample.Tokens || b.Of(l.Sample.Tokens) != b.Sample {
				t.Errorf("%s, %d: n-grams on %d tokens, the model on %d", name, size, b.SampleTokens, l.Sample.Tokens)
			}
			if size == 1<<20 && b.Sample != b.Loss || size == 1 && b.Sample == b.Loss {
				t.Errorf("%s, %d: %v on the sample, %v on all", name, size, float64(b.Sample), float64(b.Loss))
			}
			if unknown := b.Of(b.Tokens - 3); b.SampleTokens != b.Tokens-3 && unknown == unknown {
				t.Errorf("%s: other tokens have the loss %v", name, float64(unknown))
			}
		}
	}
}

func TestFitStops(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err := Fit(ctx, text); !errors.Is(err, context.Canceled) || b != nil {
		t.Errorf("%+v, %v", b, err)
	}
}

// What is looked at ends at the limit to the label, with the marks of those that count beside it.
func TestHead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.txt")
	put(t, path, "0123456789")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	text := openText(t, path, 0)
	for limit, want := range map[int64]int{1: 1, 5: 5, 11: 11, 12: 11} { // ten characters and the EOS
		var got []int32
		for ids := range head(t.Context(), text.Val.CountedLabels(), limit) {
			got = append(got, ids...)
		}
		all := slices.Collect(func(yield func(int32) bool) {
			for ids := range text.Val.Labels() {
				for _, id := range ids {
					if !yield(id) {
						return
					}
				}
			}
		})
		if !slices.Equal(got, all[:want]) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
}

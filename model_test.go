package gimbal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/family"
	"gimbal/internal/param"
	"gimbal/internal/rng"
	"gimbal/internal/tokenizer"
)

// openRandom opens a model of bytes with random weights, whose texts differ and some of which end.
func openRandom(t *testing.T, contextLen int) *Model {
	t.Helper()
	return openSaved(t, saveRandom(t, contextLen), "")
}

// openSaved opens a checkpoint with its weights in a format.
func openSaved(t *testing.T, path, weights string) *Model {
	t.Helper()
	m, err := Open(path, OpenOptions{Workers: 2, Weights: weights})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// saveRandom saves the checkpoint of openRandom.
func saveRandom(t *testing.T, contextLen int) string {
	t.Helper()
	arch := config.Arch{Shape: "qwen3", Layers: 1, Width: 16, Heads: 2, KVHeads: 1, HeadSize: 8, MLP: 24, Vocab: 257,
		Context: contextLen, Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 1e4, QKNorm: true,
		MLPKind: "swiglu", Tie: true}
	p := param.New[float32](arch)
	key := rng.New(1, rng.Init)
	for i := range p.Flat {
		p.Flat[i] = float32(0.5 * key.Normal(uint64(i)))
	}
	clear(p.Tensor("model.embed_tokens.weight")[256*arch.Width:]) // the end is never the most probable token
	conf, err := family.Config(arch, 256, 256, "float32")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.NewBytes().JSON()
	if err != nil {
		t.Fatal(err)
	}
	path, err := checkpoint.Save(durable.OS, filepath.Join(t.TempDir(), "checkpoints"), &checkpoint.Snapshot{Step: 7,
		Model: param.Entries(p), Files: map[string][]byte{"config.json": conf, "tokenizer.json": tok}})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWeights wants formats to change what is written, a little, and never what is measured.
func TestWeights(t *testing.T) {
	path := saveRandom(t, 48)
	texts := map[string]string{}
	var loss float64
	for _, format := range []string{"fp32", "bf16", "int8"} {
		m := openSaved(t, path, format)
		all, err := m.Generate(t.Context(), "prompt", GenerateOptions{Samples: 20, Temperature: 1, MaxTokens: 40, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range all {
			texts[format] += text.Text
		}
		score, err := m.Score(t.Context(), "some text to measure")
		if err != nil {
			t.Fatal(err)
		}
		if format == "fp32" {
			loss = score.Loss
		}
		if score.Loss != loss {
			t.Errorf("%s: %v nats instead of %v", format, score.Loss, loss)
		}
	}
	if texts["fp32"] == texts["int8"] || texts["bf16"] == texts["int8"] {
		t.Error("formats write the same")
	}
	if _, err := Open(path, OpenOptions{Weights: "int4"}); err == nil || !strings.Contains(err.Error(), "int8") {
		t.Errorf("int4: %v", err)
	}
}

// TestStreamIsGenerate wants the tokens of a stream, joined, to be the texts of Generate, and each loop to yield
// the same ones.
func TestStreamIsGenerate(t *testing.T) {
	m := openRandom(t, 48)
	seen := map[Finish]int{}
	for seed := range uint64(6) {
		opt := GenerateOptions{Samples: 5, TopK: -1, Temperature: 1.5, MaxTokens: 45, Seed: seed}
		want, err := m.Generate(t.Context(), "prompt", opt)
		if err != nil {
			t.Fatal(err)
		}
		stream := m.Stream(t.Context(), "prompt", opt)
		for range 2 {
			got := make([]Text, 5)
			for token, err := range stream {
				if err != nil {
					t.Fatal(err)
				}
				text := &got[token.Sample]
				if text.Finish != "" {
					t.Fatalf("text %d goes on after its end", token.Sample)
				}
				if text.Text += token.Text; token.Finish != FinishEOS {
					text.Tokens++
				}
				text.Prompt, text.Finish = "prompt", token.Finish
			}
			if !slices.Equal(got, want) {
				t.Errorf("seed %d: streamed\n%+v, generated\n%+v", seed, got, want)
			}
		}
		for _, text := range want {
			seen[text.Finish]++
		}
	}
	if seen[FinishEOS] == 0 || seen[FinishContext]+seen[FinishLength] == 0 {
		t.Errorf("texts end for %v: the test says little", seen)
	}
}

// TestDefaults wants zero options to be what the constants say, and a text to be the same alone and among others.
func TestDefaults(t *testing.T) {
	m := openRandom(t, 512)
	zero, err := m.Generate(t.Context(), "", GenerateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	full, err := m.Generate(t.Context(), "", GenerateOptions{Samples: 3, TopK: DefaultTopK,
		Temperature: DefaultTemperature, MaxTokens: DefaultMaxTokens})
	if err != nil || len(zero) != 1 || zero[0] != full[0] {
		t.Errorf("%+v by default, %+v with the defaults, %v", zero, full[:1], err)
	}
	all, err := m.Generate(t.Context(), "", GenerateOptions{TopK: -1})
	if err != nil || all[0] == zero[0] {
		t.Errorf("drawn from all tokens: %+v, as from %d; %v", all, DefaultTopK, err)
	}
}

func TestWholeCharacters(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "a": 1, "aä": 3, "a\xc3": 1, "€": 3, "\xe2": 0, "\xe2\x82": 0, "x\xf0\x9f\x98": 1, "😀": 4,
		"\x82": 1, "\xff": 1, "a\x82\x82\x82\x82": 5, "\xe2\x82a": 3, "\xc3\xc3": 1,
	} {
		if got := wholeCharacters([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	// However a text is cut, every piece that is given out is whole.
	text := "añ€😀 ∑x\u0301"
	for cut := range len(text) {
		n := wholeCharacters([]byte(text[:cut]))
		if !utf8.ValidString(text[:n]) || !utf8.ValidString(text[n:]) || cut-n >= utf8.UTFMax {
			t.Errorf("cut at %d: %q", cut, text[:n])
		}
	}
}

// TestConcurrentUse wants texts and scores of many calls at once to be those of the calls alone.
func TestConcurrentUse(t *testing.T) {
	m := openRandom(t, 64)
	type call struct {
		texts []Text
		score Score
	}
	do := func(i int) (c call) {
		opt := GenerateOptions{Samples: 1 + i%3, MaxTokens: 20 + i, Seed: uint64(i)}
		prompt := strings.Repeat("x", 3*i)
		var err, scoreErr error
		if i%2 == 0 {
			c.texts, err = m.Generate(t.Context(), prompt, opt)
		} else {
			for token, e := range m.Stream(t.Context(), prompt, opt) {
				c.texts, err = append(c.texts, Text{Text: token.Text, Tokens: token.ID}), errors.Join(err, e)
			}
		}
		c.score, scoreErr = m.Score(t.Context(), strings.Repeat("score ", 1+5*i))
		if err := errors.Join(err, scoreErr); err != nil {
			t.Error(err)
		}
		return c
	}
	const calls = 10
	var want, got [calls]call
	for i := range calls {
		want[i] = do(i)
	}
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() { got[i] = do(i) })
	}
	all.Wait()
	for i := range calls {
		if !slices.Equal(got[i].texts, want[i].texts) || got[i].score != want[i].score {
			t.Errorf("call %d: %+v among others, %+v alone", i, got[i], want[i])
		}
	}
}

// TestStreamHoldsNobody wants a stream to be free for others between two of its tokens, even in its own loop, and a
// short text not to wait for the end of a long one.
func TestStreamHoldsNobody(t *testing.T) {
	m := openRandom(t, 1<<14)
	endless := GenerateOptions{Greedy: true, MaxTokens: 1 << 14}
	n := 0
	for _, err := range m.Stream(t.Context(), "a", endless) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Generate(t.Context(), "b", GenerateOptions{MaxTokens: 3}); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Score(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		if n++; n == 5 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var written atomic.Int64
	begun := make(chan bool)
	var long sync.WaitGroup
	long.Go(func() {
		for token, err := range m.Stream(ctx, "a", endless) {
			if err != nil || token.Finish != "" {
				return
			}
			if written.Add(1) == 1 {
				close(begun)
			}
		}
	})
	<-begun
	if _, err := m.Generate(t.Context(), "b", GenerateOptions{MaxTokens: 20}); err != nil {
		t.Error(err)
	}
	if n := written.Load(); n > 1000 { // about one for each of the 20
		t.Errorf("a text of 20 tokens was kept waiting for %d tokens of another", n)
	}
	cancel()
	long.Wait()
}

// TestClose closes a model while others use it, twice at the same time.
func TestClose(t *testing.T) {
	m := openRandom(t, 1<<12)
	var users, closers sync.WaitGroup
	begun := make(chan bool, 4)
	for i := range 4 {
		users.Go(func() {
			n, last := 0, error(nil)
			for _, err := range m.Stream(t.Context(), fmt.Sprint(i), GenerateOptions{Greedy: true, MaxTokens: 1 << 12}) {
				if n, last = n+1, err; n == 1 {
					begun <- true
				}
			}
			if !errors.Is(last, ErrClosed) {
				t.Errorf("stream %d, of which %d came, ends with %v", i, n, last)
			}
		})
	}
	for range 4 {
		<-begun
	}
	for range 2 {
		closers.Go(func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	closers.Wait()
	users.Wait()
	if _, err := m.Generate(t.Context(), "", GenerateOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("generate after close: %v", err)
	}
	if _, err := m.Score(t.Context(), "x"); !errors.Is(err, ErrClosed) {
		t.Errorf("score after close: %v", err)
	}
	if m.Close() != nil || m.Info().Step != 7 {
		t.Errorf("closed again, it is %+v", m.Info())
	}

	m = openRandom(t, 64) // in the loop over its own stream
	n, last := 0, error(nil)
	for _, err := range m.Stream(t.Context(), "", GenerateOptions{TopK: -1}) {
		if n, last = n+1, err; n == 1 {
			m.Close()
		}
	}
	if n != 2 || !errors.Is(last, ErrClosed) {
		t.Errorf("a stream that closes its model yields %d, the last with %v", n, last)
	}
}

// TestTold: a text is told as far as it is sure, and ends before a stop, however its pieces are cut.
func TestTold(t *testing.T) {
	for _, c := range []struct {
		text, want string
		stops      []string
		stopped    bool
	}{
		{"one two", "one two", nil, false},
		{"one STOP two", "one ", []string{"STOP"}, true},
		{"one STO", "one STO", []string{"STOP"}, false},
		{"a\n\nUser: b", "a\n\n", []string{"User:", "Assistant:"}, true},
		{"aab", "a", []string{"ab"}, true},
		{"xbcd", "x", []string{"cd", "bc"}, true},
		{"ä€STOP", "ä€", []string{"STOP"}, true},
	} {
		for size := 1; size <= len(c.text); size++ {
			var got, rest string
			stopped := false
			for at := 0; at < len(c.text) && !stopped; at += size {
				end := min(len(c.text), at+size)
				text, left, stop := told([]byte(rest+c.text[at:end]), c.stops, end == len(c.text))
				got, rest, stopped = got+text, string(left), stop
			}
			if got != c.want || stopped != c.stopped {
				t.Errorf("%q in pieces of %d: %q, stopped %v", c.text, size, got, stopped)
			}
		}
	}
}

// TestHostileNumbers wants errors that name the number, before anything is allocated for it.
func TestHostileNumbers(t *testing.T) {
	const huge = math.MaxInt
	m, ctx := openRandom(t, 48), t.Context()
	for _, opt := range []GenerateOptions{{Samples: -1}, {Samples: huge}, {Samples: 9_999_999_999}, {MaxTokens: -5},
		{Temperature: math.NaN()}, {Temperature: -1}, {Temperature: math.Inf(1)}, {TopP: math.NaN()}, {TopP: 2}, {MinP: 1},
		{Repetition: math.NaN()}, {Repetition: math.Inf(1)}} {
		if texts, err := m.Generate(ctx, "a", opt); err == nil || !strings.Contains(err.Error(), "ask for") &&
			!strings.Contains(err.Error(), "temperature") && !strings.Contains(err.Error(), "shares") &&
			!strings.Contains(err.Error(), "penalty") {
			t.Errorf("%+v: %v, %v", opt, texts, err)
		}
		for _, err := range m.Stream(ctx, "a", opt) {
			if err == nil {
				t.Errorf("%+v: streamed", opt)
			}
		}
	}
	for _, opt := range []GenerateOptions{{MaxTokens: huge}, {MaxTokens: huge, TopK: huge}, {MaxTokens: 2,
		TopK: -huge}} {
		if texts, err := m.Generate(ctx, "a", opt); err != nil || len(texts) != 1 {
			t.Errorf("%+v: %v", opt, err)
		}
	}
	for _, n := range []int{-1, 9_999_999_999, huge} {
		_, open := Open("none", OpenOptions{Workers: n})
		_, train := Train(ctx, TrainOptions{Workers: n})
		_, check := Check(ctx, TrainOptions{Workers: n})
		_, resume := Resume(ctx, "none", ResumeOptions{Workers: n})
		_, again := CheckRun(ctx, "none", ResumeOptions{Workers: n})
		_, eval := Evaluate(ctx, "none", EvalOptions{Workers: n})
		for i, err := range []error{open, train, check, resume, again, eval} {
			var fault *ConfigError
			if !errors.As(err, &fault) || !strings.Contains(err.Error(), "threads; ask for") {
				t.Errorf("%d workers, call %d: %v", n, i, err)
			}
		}
	}
}

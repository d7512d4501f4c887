package generate

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/rng"
)

const (
	vocab      = 23
	eos        = 0
	contextLen = 32
)

var archs = []config.Arch{
	{Shape: "qwen3", Layers: 2, Width: 24, Heads: 3, KVHeads: 1, HeadSize: 8, MLP: 40, Vocab: vocab, Context: contextLen,
		Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 10000, QKNorm: true, MLPKind: "swiglu", Tie: true},
	{Shape: "gpt2", Layers: 2, Width: 24, Heads: 3, KVHeads: 3, HeadSize: 8, MLP: 96, Vocab: vocab, Context: contextLen,
		Norm: "layer", NormEps: 1e-5, Position: "learned", QKVBias: true, Bias: true, MLPKind: "gelu", Tie: true},
}

// newTestModel returns a model whose logits are a few units wide, so that draws differ and some texts end.
func newTestModel(t *testing.T, arch config.Arch) *model.Model[float32] {
	t.Helper()
	x, err := kernel.NewExec(2, kernel.TierAuto)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	m, err := model.New[float32](arch, x, model.Options{MicroTokens: contextLen})
	if err != nil {
		t.Fatal(err)
	}
	m.Init(1)
	key := rng.New(5, rng.Init)
	for _, v := range m.Params().Views {
		for i := v.Lo; i < v.Hi; i++ {
			m.Params().Flat[i] += float32(0.3 * key.Normal(uint64(i)))
		}
	}
	m.Refresh()
	return m
}

func newGenerator(t *testing.T, m *model.Model[float32], rows, tokens int) *Generator {
	t.Helper()
	d, err := m.Decoder(model.DecoderOptions{Tokens: tokens, Rows: rows})
	if err != nil {
		t.Fatal(err)
	}
	d.Refresh()
	return New(model.NewWriter(d, rows, contextLen))
}

// requests are prompts of every length, most of them short.
func requests(n int) []Request {
	key := rng.New(9, rng.Prompt)
	r := make([]Request, n)
	for i := range r {
		length := 1 + (i*i)%contextLen
		r[i] = Request{Prompt: make([]int32, length), Index: uint64(100 + i)}
		for j := 1; j < length; j++ {
			r[i].Prompt[j] = int32(1 + key.Uint64(uint64(i*100+j))%(vocab-1))
		}
	}
	return r
}

func (s Sample) equal(o Sample) bool { return s.Finish == o.Finish && slices.Equal(s.Tokens, o.Tokens) }

// A sample is the same alone, among others, in another order, on more rows, and with
// its prompt cut into pieces wherever the decoder likes.
func TestSampleDoesNotDependOnItsBatch(t *testing.T) {
	opt := Options{TopK: 20, Temperature: 1.5, MaxTokens: 20, Seed: 3, Ends: []int32{eos}}
	for _, arch := range archs {
		m := newTestModel(t, arch)
		all := requests(20)
		want := make([]Sample, len(all))
		alone := newGenerator(t, m, 1, 64)
		seen := map[Finish]int{}
		for i := range all {
			got, err := alone.Generate(t.Context(), all[i:i+1], opt)
			if err != nil {
				t.Fatal(err)
			}
			want[i] = got[0]
			seen[got[0].Finish]++
		}
		if seen[FinishEOS] == 0 || seen[FinishLength] == 0 || seen[FinishContext] == 0 {
			t.Fatalf("%s: the samples end for %v, so this test tells little", arch.Shape, seen)
		}
		reversed := slices.Clone(all)
		slices.Reverse(reversed)
		for _, c := range []struct{ rows, tokens, atOnce int }{
			{1, 5, 0}, {4, 64, 0}, {7, 13, 0}, {32, 7, 0}, {32, 1024, 0}, {1, 64, 1}, {4, 64, 7}, {7, 13, 20},
		} {
			g := newGenerator(t, m, c.rows, c.tokens)
			opt.AtOnce = c.atOnce
			got, err := g.Generate(t.Context(), all, opt)
			if err != nil {
				t.Fatal(err)
			}
			back, err := g.Generate(t.Context(), reversed, opt)
			if err != nil {
				t.Fatal(err)
			}
			slices.Reverse(back)
			for i := range want {
				if !got[i].equal(want[i]) || !back[i].equal(want[i]) {
					t.Errorf("%s, %+v, request %d:\nalone    %v\namong    %v\nreversed %v", arch.Shape, c, i, want[i],
						got[i], back[i])
				}
			}
		}
	}
}

// Steps yield the tokens of Generate, in their order, and no step reads more of the prompts than it may. A generator
// whose steps were broken off begins anew.
func TestStep(t *testing.T) {
	m := newTestModel(t, archs[0])
	g := newGenerator(t, m, 3, 64)
	all, opt := requests(12), Options{TopK: 20, Temperature: 1.5, MaxTokens: 20, Seed: 3, Ends: []int32{eos}, AtOnce: 4}
	want, err := g.Generate(t.Context(), all, opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{5, 1000} { // the first is broken off
		if err := g.Start(all, opt); err != nil {
			t.Fatal(err)
		}
		got := make([]Sample, len(all))
		for n := 0; n < limit && g.Active(); n++ {
			read := g.decoder.Len(0) + g.decoder.Len(1) + g.decoder.Len(2)
			drawn, err := g.Step(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if more := g.decoder.Len(0) + g.decoder.Len(1) + g.decoder.Len(2) - read; more > opt.AtOnce+3 {
				t.Fatalf("step %d read %d tokens, more than %d of prompts and one of each row", n, more, opt.AtOnce)
			}
			for _, d := range drawn {
				s := &got[d.Request]
				if s.Finish != "" {
					t.Fatalf("request %d goes on after its end", d.Request)
				}
				if s.Finish = d.Finish; d.Finish != FinishEOS {
					s.Tokens = append(s.Tokens, d.Token)
				}
			}
		}
		if limit == 1000 && !slices.EqualFunc(got, want, Sample.equal) {
			t.Errorf("steps wrote\n%v, Generate\n%v", got, want)
		}
	}
	if err := g.Start(all, opt); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := g.Step(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := g.Step(ctx); !errors.Is(err, context.Canceled) || g.Active() {
		t.Errorf("cancelled between steps: %v, active %v", err, g.Active())
	}
}

// Another seed and another index give another text; the same give the same.
func TestSeedAndIndex(t *testing.T) {
	g := newGenerator(t, newTestModel(t, archs[0]), 4, 64)
	opt := Options{Temperature: 1, MaxTokens: 20, Seed: 3}
	one := func(seed, index uint64) Sample {
		opt.Seed = seed
		s, err := g.Generate(t.Context(), []Request{{Prompt: []int32{eos}, Index: index}}, opt)
		if err != nil {
			t.Fatal(err)
		}
		return s[0]
	}
	first := one(3, 0)
	if !first.equal(one(3, 0)) {
		t.Error("the same request gave another text")
	}
	if first.equal(one(4, 0)) || first.equal(one(3, 1)) {
		t.Error("another seed or index gave the same text")
	}
}

// At temperature 0 every token is the argmax of the model's own logits over the text so far.
func TestGreedyIsArgmaxOfLogits(t *testing.T) {
	for _, arch := range archs {
		m := newTestModel(t, arch)
		g := newGenerator(t, m, 3, 16)
		all := requests(6)
		samples, err := g.Generate(t.Context(), all, Options{TopK: 50, MaxTokens: contextLen + 5, Ends: []int32{eos}})
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range samples {
			text := slices.Concat(all[i].Prompt, s.Tokens)
			if s.Finish == FinishEOS {
				text = append(text, eos)
			}
			n := len(text) - 1 // positions whose next token is known
			logits := make([]float32, n*vocab)
			m.Logits(logits, model.Input{Tokens: text[:n], Bounds: []int32{0, int32(n)}})
			for p := len(all[i].Prompt) - 1; p < n; p++ {
				row := logits[p*vocab : (p+1)*vocab]
				if best := slices.Index(row, slices.Max(row)); int32(best) != text[p+1] {
					t.Errorf("%s, request %d, position %d: wrote %d, the largest logit is that of %d", arch.Shape, i, p, text[p+1],
						best)
				}
			}
		}
	}
}

func TestFinish(t *testing.T) {
	m := newTestModel(t, archs[0])
	g := newGenerator(t, m, 2, 64)
	prompt := []int32{eos, 3, 4}
	run := func(p []int32, opt Options) Sample {
		t.Helper()
		s, err := g.Generate(t.Context(), []Request{{Prompt: p}}, opt)
		if err != nil {
			t.Fatal(err)
		}
		return s[0]
	}
	free := run(prompt, Options{MaxTokens: 5})
	if free.Finish != FinishLength || len(free.Tokens) != 5 {
		t.Fatalf("%+v", free)
	}
	// Whatever token is called EOS ends the text at its first appearance, and is not part of it.
	stop := free.Tokens[3]
	at := slices.Index(free.Tokens, stop)
	if s := run(prompt, Options{MaxTokens: 5, Ends: []int32{-1, stop}}); s.Finish != FinishEOS ||
		!slices.Equal(s.Tokens, free.Tokens[:at]) {
		t.Errorf("%+v, want the first %d of %v", s, at, free.Tokens)
	}
	// The prompt and all tokens but the last fill the context exactly.
	if s := run(prompt, Options{MaxTokens: 1000}); s.Finish != FinishContext ||
		len(prompt)+len(s.Tokens) != contextLen+1 {
		t.Errorf("%s after %d tokens", s.Finish, len(s.Tokens))
	}
	full := make([]int32, contextLen)
	if s := run(full, Options{MaxTokens: 1000}); s.Finish != FinishContext || len(s.Tokens) != 1 {
		t.Errorf("%s after %d tokens", s.Finish, len(s.Tokens))
	}
}

func TestGenerateRefuses(t *testing.T) {
	m := newTestModel(t, archs[0])
	g := newGenerator(t, m, 2, 64)
	good := Options{MaxTokens: 3, Temperature: 1, Ends: []int32{eos}}
	with := func(edit func(*Options)) Options {
		o := good
		edit(&o)
		return o
	}
	for _, c := range []struct {
		prompt []int32
		opt    Options
		want   string
	}{
		{nil, good, "prompt 0 has 0 tokens"},
		{make([]int32, contextLen+1), good, "prompt 0 has 33 tokens; it must have 1 to 32"},
		{[]int32{1, vocab}, good, "prompt 0 has token 23"},
		{[]int32{1, -1}, good, "prompt 0 has token -1"},
		{[]int32{1}, with(func(o *Options) { o.MaxTokens = 0 }), "0 tokens to write"},
		{[]int32{1}, with(func(o *Options) { o.TopK = -1 }), "top-k -1"},
		{[]int32{1}, with(func(o *Options) { o.Temperature = -0.5 }), "temperature -0.5"},
		{[]int32{1}, with(func(o *Options) { o.Temperature = math.NaN() }), "temperature NaN"},
		{[]int32{1}, with(func(o *Options) { o.Temperature = math.Inf(1) }), "temperature +Inf"},
	} {
		if s, err := g.Generate(t.Context(), []Request{{Prompt: c.prompt}}, c.opt); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %v, want %q", s, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Generate(ctx, requests(3), good); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context gave %v", err)
	}
	m.Params().Tensor("model.norm.weight")[0] = float32(math.NaN())
	if _, err := g.Generate(t.Context(), requests(3), good); err == nil ||
		!strings.Contains(err.Error(), "request 0: the logits at position 1 are not finite") {
		t.Errorf("a NaN in the model gave %v", err)
	}
	if s, err := g.Generate(t.Context(), nil, good); err != nil || len(s) != 0 {
		t.Errorf("no requests gave %v %v", s, err)
	}
}

// BenchmarkGenerate writes 16 texts of 64 tokens at once with a decoder of 4 million parameters.
func BenchmarkGenerate(b *testing.B) {
	x, err := kernel.NewExec(0, kernel.TierAuto)
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	arch := config.Arch{Shape: "qwen3", Layers: 4, Width: 256, Heads: 4, KVHeads: 2, HeadSize: 64, MLP: 704, Vocab: 4096,
		Context: 256, Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 10000, QKNorm: true,
		MLPKind: "swiglu", Tie: true}
	d, err := model.NewDecoder[float32](arch, x, model.DecoderOptions{Tokens: 64, Rows: 16})
	if err != nil {
		b.Fatal(err)
	}
	d.Params().Init(x.Pool(), arch.Layers, 1)
	d.Refresh()
	g := New(model.NewWriter(d, 16, 256))
	all := make([]Request, 16)
	for i := range all {
		all[i] = Request{Prompt: []int32{0}, Index: uint64(i)}
	}
	for b.Loop() {
		if _, err := g.Generate(b.Context(), all, Options{TopK: 50, Temperature: 0.8, MaxTokens: 64}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*16*64)/b.Elapsed().Seconds(), "tokens/s")
}

// reads counts what a decoder reads.
type reads struct {
	*model.Writer
	tokens int
}

func (r *reads) Decode(ctx context.Context, tokens, rows []int32, logits []float32) error {
	r.tokens += len(tokens)
	return r.Writer.Decode(ctx, tokens, rows, logits)
}

// A text that is kept is read once: a prompt that goes on from it, or that shares its beginning, gives the same text as
// one that is read from the start.
func TestKeep(t *testing.T) {
	for _, arch := range archs {
		m := newTestModel(t, arch)
		d, err := m.Decoder(model.DecoderOptions{Tokens: 5, Rows: 1})
		if err != nil {
			t.Fatal(err)
		}
		d.Refresh()
		r := &reads{Writer: model.NewWriter(d, 1, 12)}
		kept, fresh := New(r), newGenerator(t, m, 1, 64)
		opt := Options{TopK: 20, Temperature: 1.5, MaxTokens: 4, Seed: 3, Repetition: 1.2, AtOnce: 3}
		prompt := []int32{0, 3, 4, 5}
		for turn := range 6 {
			opt.Keep = true
			before := r.tokens
			shared := 0
			for shared < min(len(kept.held), len(prompt)-1) && kept.held[shared] == prompt[shared] {
				shared++
			}
			if len(prompt)+opt.MaxTokens > r.Capacity() {
				r.Grow(contextLen)
			}
			got, err := kept.Generate(t.Context(), []Request{{Prompt: prompt}}, opt)
			if err != nil {
				t.Fatal(err)
			}
			opt.Keep = false
			want, err := fresh.Generate(t.Context(), []Request{{Prompt: prompt}}, opt)
			if err != nil {
				t.Fatal(err)
			}
			if !got[0].equal(want[0]) {
				t.Errorf("%s, turn %d: %v, without keeping %v", arch.Shape, turn, got, want)
			}
			// The last token is drawn and not read.
			if n := r.tokens - before; n != len(prompt)-shared+len(got[0].Tokens)-1 || turn > 0 && shared == 0 {
				t.Errorf("%s, turn %d: %d tokens read for a prompt of %d, of which %d are there", arch.Shape, turn, n,
					len(prompt), shared)
			}
			switch prompt = append(append(slices.Clone(prompt), got[0].Tokens...), int32(turn+1)); turn {
			case 2: // it is said otherwise now
				prompt[5]++
			case 3: // it has been read whole
				prompt = prompt[:7]
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		opt.Keep = true
		held := len(kept.held)
		if _, err := kept.Generate(ctx, []Request{{Prompt: prompt}}, opt); !errors.Is(err, context.Canceled) ||
			len(kept.held) != held || r.Len(0) != held {
			t.Errorf("an interrupt: %v, %d of %d tokens kept", err, len(kept.held), held)
		}
	}
}

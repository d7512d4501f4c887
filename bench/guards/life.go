package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"gimbal/internal/guard"
)

// life is clean runs as people make them: many short steps of tiny batches, very regular text, and ordinary shapes.
type life struct{}

func (life) name() string { return "life" }

// lifeGroup is a line of the table.
type lifeGroup struct {
	name  string
	steps int // of each run
	seed  int // before that of the first run
	runs  []arm
}

const (
	tinySteps     = 8400
	regularSteps  = 8400
	ordinarySteps = 2600
	heldOutSteps  = 5600
)

// lifeSet is settings of a run whose evaluations take no time.
func lifeSet(text string, steps, batch, context int, more ...string) []string {
	set := on(text, steps, more...)
	return with(set, "data.val_fraction=0.02", fmt.Sprintf("train.batch_tokens=%d", batch),
		fmt.Sprintf("train.context=%d", context), fmt.Sprintf("eval.every=%d", steps), "eval.prompts=2", "eval.samples=1",
		"eval.max_tokens=8", "judge.early_stop=off")
}

var (
	lifeBytes  = "tokenizer.kind=bytes"
	lifeChars  = "tokenizer.kind=chars"
	lifePieces = "tokenizer.vocab_size=512"
	oneBlock   = shape(1, 32, "model.heads=1")
	smallBlock = shape(1, 16, "model.heads=1")
	oneBlocks  = [][]string{oneBlock, shape(1, 32, "model.heads=2", "model.shape=llama"),
		shape(1, 32, "model.heads=2", "model.shape=gpt2")}
	smallBlocks = [][]string{smallBlock, shape(1, 16, "model.heads=1", "model.shape=llama"),
		shape(1, 16, "model.heads=1", "model.shape=gpt2")}
)

// lifeGroups are all clean runs, every one with a seed of its own.
func lifeGroups() []lifeGroup {
	tiny := lifeGroup{name: "64 or 128 tokens a step", steps: tinySteps}
	for n, text := range [][]string{{"shakespeare", lifeChars}, {"shakespeare", lifeBytes}, {"addresses", lifeBytes},
		{"addresses", lifePieces}, {"verses", lifeBytes}, {"go", lifeBytes}, {"perl", lifeBytes}, {"grammar", lifeChars,
			`data.separator="\n"`}} {
		for _, batch := range []int{64, 128} {
			models := oneBlocks
			if n >= 4 {
				models = smallBlocks
			}
			for i, model := range models {
				context := []int{64, 32, 64}[i]
				tiny.add(lifeSet(text[0], tiny.steps, batch, context, slices.Concat(text[1:], model)...))
			}
		}
	}
	regular := lifeGroup{name: "very regular text", steps: regularSteps}
	for _, text := range slices.Sorted(regularTexts()) {
		regular.add(lifeSet(text, regular.steps, 128, 64, with(oneBlock, lifeBytes)...))
		regular.add(lifeSet(text, regular.steps, 64, 32, with(smallBlock, lifeBytes)...))
	}
	ordinary := lifeGroup{name: "fine-tuning, chat, code, Chinese", steps: ordinarySteps}
	for i, text := range []string{"perl", "verses", "perl", "perl", "go", "go3", "verses", "verses"} {
		set := with(shape(2, 32, "model.heads=1"), []string{lifePieces, lifeBytes}[i%2])
		var base []string
		if i < 2 { // fine-tuned from a run on other text, which gives model and tokenizer
			base = lifeSet("addresses", 600, 256, 64, set...)
			set = nil
		}
		ordinary.add(lifeSet(text, ordinary.steps, 256, 64, set...))
		ordinary.runs[i].Base = base
	}
	// No limit was chosen on these, and no other group has these texts or seeds.
	heldOut := lifeGroup{name: "held out: 64 or 128 tokens a step", steps: heldOutSteps, seed: 1000}
	for _, text := range []string{"opticks", "entities", "api", "sums2", "assembly", "tables", "image", "go2"} {
		heldOut.add(lifeSet(text, heldOut.steps, 64, 64, with(oneBlock, lifeBytes)...))
		heldOut.add(lifeSet(text, heldOut.steps, 64, 32, with(smallBlocks[1], lifePieces)...))
		heldOut.add(lifeSet(text, heldOut.steps, 128, 64, with(smallBlocks[2], lifeBytes)...))
	}
	return []lifeGroup{tiny, regular, ordinary, heldOut}
}

func (g *lifeGroup) add(set []string) {
	n := len(g.runs) + 1
	g.runs = append(g.runs, arm{Set: with(set, seedOf(g.seed+n)), label: fmt.Sprintf("%s, run %d", g.name, n)})
}

func (life) arms(int) []arm { return nil } // they are kept as streams

// life writes the table of false events, by the limits as they are and by the first ones.
func (p *proof) life(b *bytes.Buffer) error {
	fmt.Fprint(b, "\n### Clean runs as people make them\n\nThe guard recorded what it saw, and today's limits were tried "+
		"on "+
		"that. A bound is the largest rate that would give so\nfew events with a chance of 5 % (Poisson). "+
		"\"Before\" is by the limits that do not look at the size of a batch.\n\n| runs | number | steps | labels a step | "+
		"E0 | E1 | E2 | E3 | upper bound of E1 in 100,000 steps | of E2 and E3 | before: E1, E2, E3 |\n"+
		"|---|---|---|---|---|---|---|---|---|---|---|\n")
	var all lifeSum
	for _, g := range lifeGroups() {
		var s lifeSum
		for _, a := range g.runs {
			now, ok, err := p.replay(a, guard.Limits)
			if err != nil {
				return err
			}
			before, _, err := p.replay(a, 0)
			if err != nil {
				return err
			}
			if ok {
				s.add(now, before)
				all.add(now, before)
			}
			for _, e := range now.Events {
				fmt.Fprintf(p.log, "%s: %s: %s\n", a.label, e.Code, e.Message)
			}
		}
		if s.runs > 0 {
			s.write(b, g.name)
		}
	}
	all.write(b, "all")
	return nil
}

// lifeSum counts the events of clean runs.
type lifeSum struct {
	runs          int
	steps, labels int64
	now, before   [4]int // E0 to E3
}

func (s *lifeSum) add(now, before outcome) {
	s.runs++
	s.steps += now.Made
	s.labels += now.Tokens
	for _, e := range now.Events {
		s.now[e.Code[1]-'0']++
	}
	for _, e := range before.Events {
		s.before[e.Code[1]-'0']++
	}
}

func (s *lifeSum) write(b *bytes.Buffer, name string) {
	steps := max(1, s.steps)
	bound := func(n int) float64 { return 1e5 * poissonBound(n) / float64(steps) }
	fmt.Fprintf(b, "| %s | %d | %s | %d | %d | %d | %d | %d | %.2f | %.2f | %d, %d, %d |\n", name, s.runs, group(s.steps),
		s.labels/steps, s.now[0], s.now[1], s.now[2], s.now[3], bound(s.now[1]), bound(s.now[2]+s.now[3]), s.before[1],
		s.before[2], s.before[3])
}

// poissonBound is the mean of a Poisson number that is at most n with a chance of 5 %.
func poissonBound(n int) float64 {
	chance := func(mean float64) float64 {
		term, sum := math.Exp(-mean), 0.0
		for k := 0; k <= n; k++ {
			sum += term
			term *= mean / float64(k+1)
		}
		return sum
	}
	lo, hi := 0.0, 10*float64(n)+10
	for range 100 {
		if mid := (lo + hi) / 2; chance(mid) > 0.05 {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}

// regularTexts yields the names of texts in which nearly every token follows from those before.
func regularTexts() func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for name := range regular {
			if !yield(name) {
				return
			}
		}
	}
}

// regular writes the i-th line of each regular text.
var regular = map[string]func(r *rand.Rand, i int) string{
	"counter": func(_ *rand.Rand, i int) string { return fmt.Sprintf("hello world of chars %d and some more", i) },
	"sums": func(r *rand.Rand, _ int) string {
		a, b := r.IntN(100), r.IntN(100)
		return fmt.Sprintf("%d + %d = %d", a, b, a+b)
	},
	"table": func(r *rand.Rand, i int) string {
		return fmt.Sprintf("%06d,%.2f,%d,ok", i, 20+r.NormFloat64(), r.IntN(2))
	},
	"records": func(r *rand.Rand, i int) string {
		return fmt.Sprintf(`{"id": %d, "name": "%s", "kind": "item", "tags": ["a", "b"], "score": %d}`, i, word(r),
			r.IntN(5))
	},
	"served": func(r *rand.Rand, i int) string { // one line in 500 is like no other
		if r.IntN(500) == 0 {
			return fmt.Sprintf("ERROR %016x%016x%016x", r.Uint64(), r.Uint64(), r.Uint64())
		}
		return fmt.Sprintf("2026-03-01 %02d:%02d:%02d INFO worker-%d served /items", i/3600%24, i/60%60, i%60, r.IntN(4))
	},
	"refrain": func(r *rand.Rand, i int) string { // one line in 400 is a sentence of another kind
		if r.IntN(400) == 0 {
			return strings.ToUpper(word(r) + " " + word(r) + " " + word(r) + "! " + word(r) + "?")
		}
		return "row, row, row your boat, gently down the stream"
	},
}

// regularText writes a regular text.
func regularText(name string) string {
	r := rand.New(rand.NewPCG(5, uint64(len(name))))
	var b strings.Builder
	for i := range 30_000 {
		b.WriteString(regular[name](r, i) + "\n")
	}
	return b.String()
}

// Package judge measures what a model writes, and decides by it whether a run should stop and which checkpoint to keep.
//
// A [Judge] is made once for a run, from its held-out text and its training text. It chooses the prompts (Prompts) and
// measures generated continuations of them (Measure) next to the human continuations, cut to the same lengths: a
// repetition rate alone means nothing, its excess over human text does. Every number comes with a 95 % interval by
// prompt, because samples of one prompt are not independent.
//
//	j := judge.New(judge.Options{…})
//	report := j.Measure(texts)
//
// [Stop] and [Choose] are pure functions of the history of evaluations, a list of [Point], which the run saves: a
// resumed run decides as an unbroken one would. [Illusion] says where the validation loss misleads.
//
// docs/judge.md has every formula, source, unit and threshold. The package writes nothing, reads no file but an
// encoder that it is given, and knows no model: tokens come in as numbers, and text as what they spell.
package judge

import (
	"fmt"

	"gimbal/internal/baseline"
)

// Options say what is measured, and compared with what.
type Options struct {
	Held Corpus // text that the model was not trained on: the source of prompts and of human text
	// Answers returns the tokens [lo, hi) of the k-th document that the assistant says, turn by turn. Then prompts end
	// where an answer begins, and the human text is the answer; nil: the documents are texts.
	Answers func(k int) [][2]int64
	Known   Known // text that it was trained on
	Plan    Plan
	Seed    uint64
	Vocab   int
	Chars   bool    // tokens are characters or bytes: hash-sif counts characters, not words
	Go      bool    // the corpus is Go source
	Own     bool    // Known is what the model was trained on, so that copying can be measured
	Encoder Encoder // nil: hash-sif
}

// Text is one continuation of a prompt.
type Text struct {
	Prompt int     // number of the prompt
	Tokens []int32 // without the prompt and the end
	Ended  bool    // the text is complete, and was not cut
}

// Judge measures texts next to human text. Not safe for concurrent use.
type Judge struct {
	opt     Options
	plan    Plan
	prompts [][]int32
	human   []Text // the human continuation at each spot; Prompt is the number of the spot
	spots   []spot

	space *space
	grams *baseline.Model
	words *vocabulary
	about [][]float64 // vectors of the prompts
	ref   reference
}

// reference is what is measured of human text alone.
type reference struct {
	alike       map[string]Estimate // similarities by name; nil: the held-out documents are too short
	spotVectors [][]float64         // of the prompt at each spot
}

// New chooses prompts and human continuations, and learns what it needs of the training text.
func New(opt Options) *Judge {
	j := &Judge{opt: opt}
	plan := j.choose()
	plan.Prompts = min(plan.Prompts, len(j.spots))
	j.plan = plan
	encoder := opt.Encoder
	if encoder == nil {
		encoder = newHashSIF(opt.Chars, opt.Known.texts(sifTokens))
	}
	j.space = newSpace(encoder, opt.Known.windows(sifWindows, plan.MaxTokens))
	j.grams = baseline.Fit(gramOrder, opt.Vocab, opt.Known.spread(gramTokens))
	j.words = newVocabulary()
	for text := range opt.Known.texts(wordTokens) {
		words(text, j.words.add)
	}
	for i, s := range j.spots {
		end := min(s.end, s.begin+int64(plan.MaxTokens))
		prompt := opt.Held.Append(nil, s.doc, s.at, s.begin)
		if i < plan.Prompts {
			j.prompts = append(j.prompts, prompt)
		}
		j.ref.spotVectors = append(j.ref.spotVectors, j.space.vector(opt.Known.Spell(nil, prompt)))
		j.human = append(j.human, Text{Prompt: i, Tokens: opt.Held.Append(nil, s.doc, s.begin, end),
			Ended: end-s.begin < int64(plan.MaxTokens)})
	}
	j.about = j.ref.spotVectors[:plan.Prompts]
	j.refer()
	return j
}

// choose sets the spots, and returns the plan as the held-out text allows it.
func (j *Judge) choose() Plan {
	opt := j.opt
	if opt.Answers != nil {
		if all := turns(opt.Held, opt.Answers, int64(opt.Plan.Context/2)); all != nil {
			plan := opt.Plan.fitTurns(all)
			j.spots = chooseTurns(opt.Held, all, plan, opt.Seed)
			return plan
		}
	}
	plan := opt.Plan.fit(opt.Held)
	j.spots = spots(opt.Held, plan, opt.Seed)
	return plan
}

// refer measures how similar human texts are: two neighbouring pieces of one document, and pieces of different ones.
func (j *Judge) refer() {
	var vectors [][]float64
	var group, doc []int
	for _, s := range j.spots {
		half := min(int64(j.plan.MaxTokens), (s.end-s.begin)/2)
		if half < int64(j.plan.MinTokens) {
			continue
		}
		for k := range int64(2) {
			ids := j.opt.Held.Append(nil, s.doc, s.begin+k*half, s.begin+(k+1)*half)
			vectors = append(vectors, j.space.vector(j.opt.Known.Spell(nil, ids)))
			group = append(group, len(doc))
		}
		doc = append(doc, s.doc)
	}
	const least = 4 // groups; fewer say nothing
	if len(doc) < least {
		return
	}
	s := compare(vectors, group, len(doc))
	if !j.FewDocuments() { // pieces of one document are not "different"
		for p := range doc {
			for q := range doc {
				if p != q && doc[p] == doc[q] {
					s.sum[p][q], s.count[p][q] = 0, 0
				}
			}
		}
	}
	j.ref.alike = map[string]Estimate{}
	for name, stat := range similarities {
		j.ref.alike[name] = bootstrap(len(doc), func(weight []int) float64 { return stat(s, weight) })
	}
}

// Plan is the plan as the held-out text allows it.
func (j *Judge) Plan() Plan { return j.plan }

// Prompts are the tokens of each prompt, without a start token: the same at every evaluation.
func (j *Judge) Prompts() [][]int32 { return j.prompts }

// FewDocuments reports whether the held-out text has so few documents that windows of it are compared instead. How
// texts end decides nothing then.
func (j *Judge) FewDocuments() bool { return j.opt.Held.Documents() < fewDocuments }

// Notes say what the judge cannot measure here, for a person.
func (j *Judge) Notes() (notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if j.FewDocuments() {
		note("the held-out text has only %s: windows of it are compared, and how texts end decides nothing",
			plural(j.opt.Held.Documents(), "document"))
	}
	if len(j.spots) > 0 && j.opt.Answers != nil {
		note("prompts are the turns before an answer, whole unless they take more than half of the context")
	}
	if j.plan != j.opt.Plan {
		note("the held-out text has room for %s", j.plan)
	}
	if n := len(j.human); n < j.plan.Prompts*j.plan.Samples {
		note("the held-out text gives only %s of human text to compare with", plural(n, "piece"))
	}
	if v := j.opt.Vocab - 1; v <= TopK || float64(TopK) > 0.95*float64(v) {
		note("top-k %d has no effect: the vocabulary has %s", TopK, plural(v, "token"))
	}
	if j.ref.alike == nil {
		note("held-out documents are too short to measure how similar human texts are")
	}
	if !j.opt.Own {
		note("the training text is not here: copying is not measured, and words and n-grams are those of half of the " +
			"given text")
	} else if j.opt.Known.Tokens > copyTokens {
		note("copying is measured against %d of %d training tokens", copyTokens, j.opt.Known.Tokens)
	}
	return notes
}

// plural writes a number with the thing that it counts.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

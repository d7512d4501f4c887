package judge

import (
	"fmt"

	"gimbal/internal/baseline"
)

// Options say what is judged, and beside what.
type Options struct {
	Held    Corpus // text that the model was not trained on: prompts and people's texts come from it
	Known   Known  // text that it was trained on
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
	Prompt int     // which one
	Tokens []int32 // without the prompt and the end
	Ended  bool    // its writer ended it
}

// Judge measures texts beside people's. Not safe for concurrent use.
type Judge struct {
	opt     Options
	plan    Plan
	prompts [][]int32
	human   []Text // people's texts: the continuation at each spot; Prompt is the number of the spot
	spots   []spot

	space   *space
	grams   *baseline.Model
	words   *vocabulary
	about   [][]float64 // vectors of the prompts
	ref     reference
	seenAll bool // the training text is compared in full
}

// reference is what people's texts say by themselves.
type reference struct {
	within, between, consistency Estimate
	has                          bool
	spotVectors                  [][]float64 // of the prompt at each spot
}

// New chooses prompts and people's texts, and learns what it must know of the training text.
func New(opt Options) *Judge {
	plan := opt.Plan.fit(opt.Held)
	j := &Judge{opt: opt, spots: spots(opt.Held, plan, opt.Seed)}
	plan.Prompts = min(plan.Prompts, len(j.spots))
	j.plan = plan
	spell := opt.Known.Spell
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
	j.seenAll = opt.Known.Tokens <= copyTokens
	for i, s := range j.spots {
		begin := s.at + int64(plan.PromptTokens)
		end := min(opt.Held.Len(s.doc), begin+int64(plan.MaxTokens))
		prompt := opt.Held.Append(nil, s.doc, s.at, begin)
		if i < plan.Prompts {
			j.prompts = append(j.prompts, prompt)
		}
		v := j.space.vector(spell(nil, prompt))
		j.ref.spotVectors = append(j.ref.spotVectors, v)
		j.human = append(j.human, Text{Prompt: i, Tokens: opt.Held.Append(nil, s.doc, begin, end),
			Ended: end-begin < int64(plan.MaxTokens)})
	}
	j.about = j.ref.spotVectors[:plan.Prompts]
	j.refer()
	return j
}

// refer measures how alike people's texts are: two neighbouring pieces of one document against pieces of different
// ones.
func (j *Judge) refer() {
	var vectors [][]float64
	var group, doc []int
	for _, s := range j.spots {
		begin := s.at + int64(j.plan.PromptTokens)
		half := min(int64(j.plan.MaxTokens), (j.opt.Held.Len(s.doc)-begin)/2)
		if half < int64(j.plan.MinTokens) {
			continue
		}
		for k := range int64(2) {
			ids := j.opt.Held.Append(nil, s.doc, begin+k*half, begin+(k+1)*half)
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
	if j.opt.Held.Documents() >= fewDocuments { // pieces of one document are not "different"
		for p := range doc {
			for q := range doc {
				if p != q && doc[p] == doc[q] {
					s.sum[p][q], s.count[p][q] = 0, 0
				}
			}
		}
	}
	j.ref.has = true
	j.ref.within = bootstrap(len(doc), s.within)
	j.ref.between = bootstrap(len(doc), s.between)
	j.ref.consistency = bootstrap(len(doc), s.consistency)
}

// Plan is the plan as the held-out text allows it.
func (j *Judge) Plan() Plan { return j.plan }

// Prompts are the tokens of each prompt, without a start token: the same at every evaluation.
func (j *Judge) Prompts() [][]int32 { return j.prompts }

// FewDocuments reports whether the held-out text has so few documents that windows are compared, and that how texts
// end says little.
func (j *Judge) FewDocuments() bool { return j.opt.Held.Documents() < fewDocuments }

// Notes say what the judge cannot do here, for a person.
func (j *Judge) Notes() (notes []string) {
	if j.FewDocuments() {
		notes = append(notes, fmt.Sprintf("%d held-out documents: windows are compared instead, and how texts end "+
			"is only noted", j.opt.Held.Documents()))
	}
	if want := j.opt.Plan; j.plan != want {
		notes = append(notes, fmt.Sprintf("the held-out text has room for %s", j.plan))
	}
	if n := len(j.human); n < j.plan.Prompts*j.plan.Samples {
		notes = append(notes, fmt.Sprintf("people's texts: %d, the held-out text has no more", n))
	}
	if v := j.opt.Vocab - 1; v <= TopK || float64(TopK) > 0.95*float64(v) {
		notes = append(notes, fmt.Sprintf("top-k %d cannot bite: the vocabulary has %d", TopK, v))
	}
	if !j.ref.has {
		notes = append(notes, "held-out documents are too short to say how alike people's texts are")
	}
	if !j.opt.Own {
		notes = append(notes, "the training text is not here: copying is not measured, and words and n-grams are "+
			"known from half of the given text")
	} else if !j.seenAll {
		notes = append(notes, fmt.Sprintf("copying is measured against %d of %d training tokens",
			copyTokens, j.opt.Known.Tokens))
	}
	return notes
}

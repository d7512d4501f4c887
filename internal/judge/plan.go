package judge

import (
	"fmt"
	"slices"

	"gimbal/internal/rng"
)

// Corpus is one side of a prepared corpus, document by document, in tokens without start and end.
type Corpus interface {
	Documents() int
	Len(k int) int64
	Append(dst []int32, k int, lo, hi int64) []int32 // tokens [lo, hi) of the k-th document
}

// Plan is what an evaluation writes.
type Plan struct {
	Prompts      int
	Samples      int // of each prompt
	PromptTokens int
	MaxTokens    int // most tokens written of a text
	MinTokens    int // shorter texts are counted as short, and not measured
	Context      int // of the model: a prompt of a conversation may take half of it
}

// Defaults of what is written.
const (
	promptTokens = 32
	countedLeast = 32 // tokens of a text that is measured
	TopK         = 50
	Temperature  = 0.8
)

// Tokens is what an evaluation costs, in tokens read and written.
func (p Plan) Tokens() int64 {
	return int64(p.Prompts) * int64(p.Samples) * int64(p.PromptTokens+p.MaxTokens)
}

// Texts is how many texts an evaluation writes.
func (p Plan) Texts() int { return p.Prompts * p.Samples }

// measuring returns the plan with MinTokens set from MaxTokens.
func (p Plan) measuring() Plan {
	p.MinTokens = min(countedLeast, max(1, p.MaxTokens/2))
	return p
}

// PlanFor fits what was asked for into a context. A context of fewer than two tokens has room for no prompt.
func PlanFor(prompts, samples, maxTokens, context int) Plan {
	if context < 2 {
		return Plan{}
	}
	p := Plan{Prompts: prompts, Samples: samples, PromptTokens: max(1, min(promptTokens, context/4)), Context: context}
	p.MaxTokens = max(1, min(maxTokens, context-p.PromptTokens))
	return p.measuring()
}

// Thin makes a plan smaller until it costs at most budget tokens: shorter texts first, then fewer of each prompt, then
// fewer prompts, and at last shorter texts again. It stops at 4 prompts of 2 texts, with which nothing less could be
// judged. It depends only on numbers known before the first step, never on a clock, so a resumed run writes the same.
func (p Plan) Thin(budget int64) Plan {
	for _, least := range []Plan{{Prompts: 20, Samples: 5, MaxTokens: 64}, {Prompts: 20, Samples: 2, MaxTokens: 64},
		{Prompts: 8, Samples: 2, MaxTokens: 64},
		{Prompts: 8, Samples: 2, MaxTokens: countedLeast}, {Prompts: 4, Samples: 2, MaxTokens: countedLeast}} {
		for more := true; more && p.Tokens() > budget; {
			switch {
			case p.MaxTokens > least.MaxTokens:
				p.MaxTokens = max(least.MaxTokens, p.MaxTokens/2)
			case p.Samples > least.Samples:
				p.Samples--
			case p.Prompts > least.Prompts:
				p.Prompts--
			default:
				more = false
			}
		}
	}
	return p.measuring()
}

// String describes the plan in a sentence.
func (p Plan) String() string {
	return fmt.Sprintf("%s (%s of %s × %d), at most %s each", plural(p.Prompts*p.Samples, "text"),
		plural(p.Prompts, "prompt"), plural(p.PromptTokens, "token"), p.Samples, plural(p.MaxTokens, "token"))
}

// spot is a place in the held-out text: a prompt from at to begin, and its human continuation up to end.
type spot struct {
	doc            int
	at, begin, end int64
}

const (
	sharedTokens = 16 // in a row must not occur in two prompts
	fewDocuments = 40 // with fewer held-out documents, windows of text are compared instead
)

// fit shortens the prompt and the least measured text if most of the held-out text is in documents too short for them.
func (p Plan) fit(c Corpus) Plan {
	var lengths []int64 // of documents
	total := int64(0)
	for k := range c.Documents() {
		lengths = append(lengths, c.Len(k))
		total += c.Len(k)
	}
	slices.Sort(lengths)
	half, seen := int64(0), int64(0) // half of the text is in documents at least that long
	for _, n := range lengths {
		if seen += n; 2*seen >= total {
			half = n
			break
		}
	}
	if most := int(half) / 2; p.PromptTokens+p.MinTokens > most {
		p.PromptTokens = max(1, min(p.PromptTokens, most/2))
		p.MinTokens = max(1, min(p.MinTokens, most/2))
	}
	return p
}

// spots chooses places in the held-out text, which is cut into as many equal parts as texts are wanted. Each part has
// one spot at a seeded position, inside a document, with p.MinTokens after the prompt. The first p.Prompts are for the
// prompts, no two of which share sharedTokens; all give human text. There are fewer if the text has no room, and none
// for a plan that writes nothing.
func spots(c Corpus, p Plan, seed uint64) []spot {
	if p.Tokens() == 0 {
		return nil
	}
	room := func(k int) int64 { return max(0, c.Len(k)-int64(p.PromptTokens+p.MinTokens)+1) }
	total, tokens := int64(0), int64(0)
	for k := range c.Documents() {
		total += room(k)
		tokens += c.Len(k)
	}
	// Human texts must not overlap much, or an interval would count the same text twice.
	want := int64(p.Prompts) * int64(p.Samples)
	parts := min(total, want, max(int64(p.Prompts), tokens/int64(p.PromptTokens+p.MaxTokens)))
	key := rng.New(seed, rng.Prompt)
	seen := map[uint64]bool{} // runs of tokens in the prompts so far
	var first, rest []spot
	doc, before := 0, int64(0) // positions in the documents before doc
	for i := range parts {
		lo, hi := i*total/parts, (i+1)*total/parts
		prompt := len(first) < p.Prompts && i >= int64(len(first))*parts/int64(p.Prompts)
		for try := range uint64(8) { // other positions if the prompt is like another
			at := lo + int64(key.Sub(uint64(i)).Float64(try)*float64(hi-lo))
			k, base := doc, before
			for at-base >= room(k) {
				base += room(k)
				k++
			}
			s := spot{k, at - base, at - base + int64(p.PromptTokens), c.Len(k)}
			if !prompt || fresh(seen, c.Append(nil, k, s.at, s.begin)) {
				if prompt {
					first = append(first, s)
				} else {
					rest = append(rest, s)
				}
				break
			}
		}
		for doc < c.Documents()-1 && hi-before >= room(doc) {
			before += room(doc)
			doc++
		}
	}
	return append(first, rest...)
}

// fresh reports whether no run of sharedTokens of a prompt is in seen, and adds its runs if so.
func fresh(seen map[uint64]bool, prompt []int32) bool {
	n := min(sharedTokens, len(prompt))
	var runs []uint64
	for i := 0; i+n <= len(prompt); i++ {
		h := uint64(n)
		for _, t := range prompt[i : i+n] {
			h = mix(h + uint64(uint32(t)) + 0x9e3779b97f4a7c15)
		}
		if seen[h] {
			return false
		}
		runs = append(runs, h)
	}
	for _, h := range runs {
		seen[h] = true
	}
	return true
}

package judge

import (
	"slices"

	"gimbal/internal/rng"
)

// fitTurns fits the plan to the answers of conversations: a prompt is all that stands before an answer, and half of the
// context is left for what is written.
func (p Plan) fitTurns(answers []spot) Plan {
	longest := int64(0)
	var lengths []int64
	for _, a := range answers {
		longest = max(longest, a.begin-a.at)
		lengths = append(lengths, a.end-a.begin)
	}
	slices.Sort(lengths)
	p.PromptTokens = int(longest)
	p.MaxTokens = max(1, min(p.MaxTokens, p.Context-p.PromptTokens))
	p.MinTokens = max(1, min(p.MinTokens, p.MaxTokens/2, int(lengths[len(lengths)/2])/2))
	return p
}

// turns returns the answers of the assistant in a corpus, each with the whole conversation before it as the prompt. Of
// conversations that leave no room for a text the prompt is the end; they are taken only if there are no others.
func turns(c Corpus, answers func(k int) [][2]int64, room int64) []spot {
	var whole, cut []spot
	for k := range c.Documents() {
		for _, a := range answers(k) {
			switch {
			case a[0] <= 0 || a[0] >= a[1]: // nothing before it, or nothing said
			case a[0] <= room:
				whole = append(whole, spot{k, 0, a[0], a[1]})
			default:
				cut = append(cut, spot{k, a[0] - room, a[0], a[1]})
			}
		}
	}
	if whole != nil {
		return whole
	}
	return cut
}

// chooseTurns chooses answers: one of each of as many equal parts as texts are wanted, at a seeded place. The first
// p.Prompts are for the prompts, no two of which are equal.
func chooseTurns(c Corpus, all []spot, p Plan, seed uint64) []spot {
	total := int64(len(all))
	parts := min(total, int64(p.Prompts)*int64(p.Samples))
	key := rng.New(seed, rng.Prompt)
	seen := map[uint64]bool{}
	var first, rest []spot
	for i := range parts {
		lo, hi := i*total/parts, (i+1)*total/parts
		s := all[lo+int64(key.Sub(uint64(i)).Float64(0)*float64(hi-lo))]
		prompt := len(first) < p.Prompts && i >= int64(len(first))*parts/int64(p.Prompts)
		h := uint64(0)
		for _, t := range c.Append(nil, s.doc, s.at, s.begin) {
			h = mix(h + uint64(uint32(t)) + 0x9e3779b97f4a7c15)
		}
		if prompt && !seen[h] {
			first = append(first, s)
		} else {
			rest = append(rest, s)
		}
		seen[h] = true
	}
	return append(first, rest...)
}

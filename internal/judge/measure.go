package judge

import (
	"cmp"
	"math"
	"slices"
)

// Metric is a measured number of the texts of an evaluation, next to the same number of human text.
type Metric struct {
	Estimate
	Human    float64 `json:"human"`
	HumanSE  float64 `json:"human_se"`
	Compared bool    `json:"compared"`          // there is a human value
	N        int     `json:"n,omitempty"`       // texts that Value is a mean of; 0: it is none, or not known
	HumanN   int     `json:"human_n,omitempty"` // texts that Human is a mean of
}

// Excess is how far the metric is above that of human text.
func (m Metric) Excess() float64 { return m.Value - m.Human }

// ExcessSE is the standard error of Excess.
func (m Metric) ExcessSE() float64 { return math.Hypot(m.SE, m.HumanSE) }

// Report is the measurements of one evaluation.
type Report struct {
	Metrics  map[string]Metric // by name; those that could be measured
	Texts    int
	Counted  int       // long enough to be measured
	Readings []Reading // one for each text, in their order
	Alarms   []Alarm   // what is worse than in human text by more than chance and more than a minimum
}

// WorstFirst returns the order in which a person should read the texts.
func (r *Report) WorstFirst() []int {
	order := make([]int, len(r.Readings))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(r.Readings[b].Badness, r.Readings[a].Badness)
	})
	return order
}

// A match with the training text counts as copied from this many tokens and bytes.
const (
	copiedTokens = 50
	copiedBytes  = 200
)

// side is the generated texts or the human ones, each cut to the length of its partner.
type side struct {
	tokens  [][]int32
	text    [][]byte
	prompt  []int       // the prompt of each, in before and about
	before  [][]int32   // the tokens of each prompt
	about   [][]float64 // the vector of each prompt
	vectors [][]float64
	values  map[string][]float64 // of each metric, by text
}

// Measure measures texts, which come sample by sample: one of each prompt, then the next of each.
func (j *Judge) Measure(texts []Text) *Report {
	r := &Report{Metrics: map[string]Metric{}, Texts: len(texts), Readings: make([]Reading, len(texts))}
	model := &side{about: j.about, before: j.prompts, values: map[string][]float64{}}
	human := &side{about: j.ref.spotVectors, values: map[string][]float64{}}
	for _, s := range j.spots {
		human.before = append(human.before, j.opt.Held.Append(nil, s.doc, s.at, s.begin))
	}
	var counted []int
	for i, t := range texts {
		if len(t.Tokens) < j.plan.MinTokens || len(j.human) == 0 {
			continue
		}
		h := j.human[i%len(j.human)]
		n := min(len(t.Tokens), len(h.Tokens))
		counted = append(counted, i)
		j.add(model, t, n)
		j.add(human, h, n)
	}
	r.Counted = len(counted)
	j.ends(r, texts)
	if n := len(counted); n > 0 {
		if j.opt.Own {
			match, novel := copied(slices.Concat(model.tokens, human.tokens), j.opt.Known.spread(copyTokens))
			model.copying(match[:n], novel[:n])
			human.copying(match[n:], novel[n:])
		}
		j.perText(model)
		j.perText(human)
		band(model, human)
		for name, values := range model.values {
			r.add(name, j.mean(values, model.prompt, human.values[name]))
		}
		j.ofSets(r, model, human)
		j.alike(r, model)
	}
	j.read(r, counted, texts, model, human)
	r.alarm(j.FewDocuments())
	return r
}

// mean is the mean of a metric over texts, next to that of human text.
func (j *Judge) mean(values []float64, prompt []int, human []float64) Metric {
	m := Metric{Estimate: bootstrapMean(values, prompt, len(j.prompts)), Compared: true, N: len(numbers(values)),
		HumanN: len(numbers(human))}
	m.Human, m.HumanSE = meanSE(human)
	return m
}

// add keeps a metric that is a number.
func (r *Report) add(name string, m Metric) {
	if math.IsNaN(m.Value) {
		return
	}
	if math.IsNaN(m.Human) {
		m.Human, m.HumanSE, m.HumanN, m.Compared = 0, 0, 0, false
	}
	r.Metrics[name] = m
}

// add adds the first n tokens of a text to a side.
func (j *Judge) add(s *side, t Text, n int) {
	s.tokens = append(s.tokens, t.Tokens[:n])
	s.text = append(s.text, j.opt.Known.Spell(nil, t.Tokens[:n]))
	s.prompt = append(s.prompt, t.Prompt)
}

// put sets a metric of the i-th text.
func (s *side) put(name string, i int, v float64) {
	if s.values[name] == nil {
		s.values[name] = make([]float64, len(s.tokens))
	}
	s.values[name][i] = v
}

// copying turns matches with the training text into metrics.
func (s *side) copying(match, novel []float64) {
	for i := range s.tokens {
		s.put("match", i, match[i])
		s.put("novel5", i, novel[i])
		share := float64(len(s.text[i])) / float64(len(s.tokens[i])) // bytes of a token
		s.put("copied", i, is(match[i] >= copiedTokens && match[i]*share >= copiedBytes))
	}
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// perText fills in the metrics of each text alone.
func (j *Judge) perText(s *side) {
	s.vectors = make([][]float64, len(s.tokens))
	for i, ids := range s.tokens {
		text := s.text[i]
		r3, r4 := Repetition(ids, 3), Repetition(ids, 4)
		s.put("rep3", i, r3)
		s.put("rep4", i, r4)
		s.put("rep", i, (r3+r4)/2)
		loop, _ := Loop(ids)
		s.put("loop", i, float64(loop))
		s.put("unknown_words", i, j.words.unknown(text))
		s.put("unbalanced", i, 100*float64(unbalanced(text))/float64(len(ids)))
		s.put("ngram_nats", i, j.nats(s.before[s.prompt[i]], ids))
		if j.opt.Go {
			whole := j.opt.Known.Spell(nil, slices.Concat(s.before[s.prompt[i]], ids))
			s.put("parses", i, is(ParsesAsGo(whole)))
		}
		s.vectors[i] = j.space.vector(text)
		s.put("topic", i, topic(s.about, s.prompt[i], j.space.vector(j.opt.Known.Spell(nil, ids[2*len(ids)/3:]))))
	}
}

// topic is how much closer the end of a text is to its own prompt than to the others.
//
// Formula: cos(prompt, last third) - mean over the other prompts of cos(prompt', last third).
func topic(about [][]float64, own int, end []float64) float64 {
	if len(about) < 2 {
		return nan
	}
	chance := 0.0
	for p, v := range about {
		if p != own {
			chance += dot(v, end) / float64(len(about)-1)
		}
	}
	return dot(about[own], end) - chance
}

// nats is the cross-entropy per token of a text after its prompt, under the n-grams of the training text.
func (j *Judge) nats(prompt, text []int32) float64 {
	score := func(ids []int32) float64 {
		return j.grams.Score(func(yield func([]int32, []bool) bool) { yield(ids, nil) }).Nats
	}
	return (score(slices.Concat(prompt, text)) - score(prompt)) / float64(len(text))
}

// band counts the texts whose n-gram cross-entropy is outside the range of human text: mean ± 3 standard deviations.
// Above it a text is garbled; below it, the text repeats what is common.
func band(model, human *side) {
	mean, sd := meanSD(human.values["ngram_nats"])
	for _, s := range []*side{model, human} {
		for i, v := range s.values["ngram_nats"] {
			s.put("garbled", i, is(v > mean+3*sd))
			s.put("predictable", i, is(v < mean-3*sd))
		}
	}
}

// ends measures how the texts end. All texts count.
func (j *Judge) ends(r *Report, texts []Text) {
	var ended, short, length, humanEnded, humanLength []float64
	var prompt []int
	for _, t := range texts {
		ended, length = append(ended, is(t.Ended)), append(length, float64(len(t.Tokens)))
		short, prompt = append(short, is(len(t.Tokens) < j.plan.MinTokens)), append(prompt, t.Prompt)
	}
	for _, t := range j.human {
		humanEnded, humanLength = append(humanEnded, is(t.Ended)), append(humanLength, float64(len(t.Tokens)))
	}
	r.add("finish_rate", j.mean(ended, prompt, humanEnded))
	r.add("short_rate", j.mean(short, prompt, nil))
	r.add("length", j.mean(length, prompt, humanLength))
}

// ofSets measures what only a set of texts has. If there is less human text, as many texts of each side are taken.
func (j *Judge) ofSets(r *Report, model, human *side) {
	n := min(len(model.tokens), len(j.human))
	groups := make([]int, n) // human texts are all from different places
	for i := range groups {
		groups[i] = i % len(j.prompts)
	}
	put := func(name string, stat func(s *side, take []int) float64) {
		h := setEstimate(human, groups, len(j.prompts), stat)
		r.add(name, Metric{Estimate: setEstimate(model, model.prompt[:n], len(j.prompts), stat), Human: h.Value,
			HumanSE: h.SE, Compared: true})
	}
	for name, order := range map[string]int{"distinct2": 2, "distinct3": 3} {
		put(name, func(s *side, take []int) float64 { return Distinct(pick(s.tokens, take), order) })
	}
	put("compression", func(s *side, take []int) float64 { return Compression(pick(s.text, take)) })
	r.add("self_bleu", j.mean(SelfBLEU(model.tokens[:n]), model.prompt[:n], SelfBLEU(human.tokens[:n])))
}

// leftOut is how many parts of the prompts are left out in turn for the interval of a set's statistic.
const leftOut = 10

// setEstimate is a statistic of a set, with the interval from leaving out one part of the groups after another.
func setEstimate(s *side, group []int, groups int, stat func(s *side, take []int) float64) Estimate {
	parts := min(groups, leftOut)
	without := func(skip int) (take []int) {
		for i, g := range group {
			if g%parts != skip {
				take = append(take, i)
			}
		}
		return take
	}
	var left []float64
	for g := range parts {
		if rest := without(g); len(rest) < len(group) {
			left = append(left, stat(s, rest))
		}
	}
	return jackknife(stat(s, without(-1)), left)
}

func pick[T any](from []T, take []int) []T {
	out := make([]T, len(take))
	for i, k := range take {
		out[i] = from[k]
	}
	return out
}

// alike measures how similar the texts of one prompt, and of different prompts, are.
func (j *Judge) alike(r *Report, model *side) {
	s := compare(model.vectors, model.prompt, len(j.prompts))
	for name, stat := range similarities {
		m := Metric{Estimate: bootstrap(len(j.prompts), func(weight []int) float64 { return stat(s, weight) })}
		if h, ok := j.ref.alike[name]; ok {
			m.Human, m.HumanSE, m.Compared = h.Value, h.SE, true
		}
		r.add(name, m)
	}
}

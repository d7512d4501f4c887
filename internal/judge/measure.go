package judge

import (
	"math"
	"slices"
)

// Metric is a number about the texts of an evaluation, beside the same number of people's texts.
type Metric struct {
	Estimate
	Human    float64 `json:"human"`
	HumanSE  float64 `json:"human_se"`
	Compared bool    `json:"compared"` // there is a human value
}

// Excess is how far the metric is above people's.
func (m Metric) Excess() float64 { return m.Value - m.Human }

// ExcessSE is the standard error of Excess.
func (m Metric) ExcessSE() float64 { return math.Hypot(m.SE, m.HumanSE) }

// Report is an evaluation of what was written.
type Report struct {
	Metrics  map[string]Metric // by name; those that could be measured
	Texts    int
	Counted  int       // long enough to be measured
	Readings []Reading // one for each text, in their order
	Alarms   []Alarm   // what differs from people's texts by more than chance and more than matters
}

// Copied is a match with the training text that is called copying: as many tokens, and as many bytes.
const (
	copiedTokens = 50
	copiedBytes  = 200
)

// side is the texts of one kind, the model's or people's, each cut to the length of its partner.
type side struct {
	tokens  [][]int32
	text    [][]byte
	prompt  []int       // the prompt of each, in about
	before  [][]int32   // the tokens of each prompt
	about   [][]float64 // the vector of each prompt
	vectors [][]float64
	match   []float64
	values  map[string][]float64
}

// Measure measures texts, which come sample by sample: one of each prompt, then the next of each.
func (j *Judge) Measure(texts []Text) *Report {
	r := &Report{Metrics: map[string]Metric{}, Texts: len(texts), Readings: make([]Reading, len(texts))}
	model, human := &side{about: j.about, before: j.prompts}, &side{about: j.ref.spotVectors}
	for _, s := range j.spots {
		human.before = append(human.before, j.opt.Held.Append(nil, s.doc, s.at, s.at+int64(j.plan.PromptTokens)))
	}
	var counted []int
	for i, t := range texts {
		if len(t.Tokens) < j.plan.MinTokens || len(j.human) == 0 {
			continue
		}
		h := j.human[i%len(j.human)]
		n := min(len(t.Tokens), len(h.Tokens))
		counted = append(counted, i)
		model.add(j, t.Tokens[:n], t.Prompt)
		human.add(j, h.Tokens[:n], h.Prompt)
	}
	r.Counted = len(counted)
	j.ends(r, texts)
	if len(counted) > 0 {
		both := slices.Concat(model.tokens, human.tokens)
		if j.opt.Own {
			match, novel := copied(both, j.opt.Known.spread(copyTokens))
			model.match, human.match = match[:len(counted)], match[len(counted):]
			model.copying(novel[:len(counted)])
			human.copying(novel[len(counted):])
		}
		j.perText(model)
		j.perText(human)
		j.band(model, human)
		for name, values := range model.values {
			m := Metric{Estimate: bootstrapMean(values, model.prompt, len(j.prompts)), Compared: true}
			m.Human, m.HumanSE = meanSE(human.values[name])
			r.add(name, m)
		}
		j.ofSets(r, model, human)
		j.alike(r, model)
	}
	j.read(r, counted, texts, model, human)
	r.alarm(j.FewDocuments())
	return r
}

// add keeps a metric that is a number.
func (r *Report) add(name string, m Metric) {
	if math.IsNaN(m.Value) {
		return
	}
	if math.IsNaN(m.Human) {
		m.Human, m.HumanSE, m.Compared = 0, 0, false
	}
	r.Metrics[name] = m
}

func meanSE(values []float64) (mean, se float64) {
	n := 0.0
	for _, v := range values {
		if !math.IsNaN(v) {
			n++
		}
	}
	mean, sd := meanSD(values)
	return mean, sd / math.Sqrt(max(1, n))
}

func (s *side) add(j *Judge, tokens []int32, prompt int) {
	s.tokens = append(s.tokens, tokens)
	s.text = append(s.text, j.opt.Known.Spell(nil, tokens))
	s.prompt = append(s.prompt, prompt)
}

func (s *side) put(name string, i int, v float64) {
	if s.values == nil {
		s.values = map[string][]float64{}
	}
	if s.values[name] == nil {
		s.values[name] = make([]float64, len(s.tokens))
	}
	s.values[name][i] = v
}

// copying turns matches with the training text into metrics.
func (s *side) copying(novel []float64) {
	for i := range s.tokens {
		s.put("match", i, s.match[i])
		s.put("novel5", i, novel[i])
		share := float64(len(s.text[i])) / float64(len(s.tokens[i])) // bytes of a token
		s.put("copied", i, is(s.match[i] >= copiedTokens && s.match[i]*share >= copiedBytes))
	}
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// perText fills in what can be said of each text alone.
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

// nats is the cross-entropy of a text behind its prompt under the n-grams of the training text, for each token.
func (j *Judge) nats(prompt, text []int32) float64 {
	score := func(ids []int32) float64 { return j.grams.Score(slices.Values([][]int32{ids})).Nats }
	return (score(slices.Concat(prompt, text)) - score(prompt)) / float64(len(text))
}

// band counts the texts whose n-gram cross-entropy is outside of what people's texts have: mean ± 3 standard
// deviations. Above it a text is garbled, below it is repeating what is common.
func (j *Judge) band(model, human *side) {
	mean, sd := meanSD(human.values["ngram_nats"])
	for _, s := range []*side{model, human} {
		for i, v := range s.values["ngram_nats"] {
			s.put("garbled", i, is(v > mean+3*sd))
			s.put("predictable", i, is(v < mean-3*sd))
		}
	}
}

// ends measures how the texts end; all of them count.
func (j *Judge) ends(r *Report, texts []Text) {
	clusters := len(j.prompts)
	ended, short, length, prompt := make([]float64, len(texts)), make([]float64, len(texts)),
		make([]float64, len(texts)), make([]int, len(texts))
	for i, t := range texts {
		ended[i], short[i], length[i], prompt[i] = is(t.Ended), is(len(t.Tokens) < j.plan.MinTokens),
			float64(len(t.Tokens)), t.Prompt
	}
	var humanEnded, humanLength []float64
	for _, t := range j.human {
		humanEnded = append(humanEnded, is(t.Ended))
		humanLength = append(humanLength, float64(len(t.Tokens)))
	}
	put := func(name string, values, human []float64) {
		m := Metric{Estimate: bootstrapMean(values, prompt, clusters), Compared: human != nil}
		if human != nil {
			m.Human, m.HumanSE = meanSE(human)
		}
		r.add(name, m)
	}
	put("finish_rate", ended, humanEnded)
	put("short_rate", short, nil)
	put("length", length, humanLength)
}

// ofSets measures what only texts together have. Where there are fewer texts of people, as many of each are taken.
func (j *Judge) ofSets(r *Report, model, human *side) {
	n := min(len(model.tokens), len(j.human))
	put := func(name string, stat func(s *side, take []int) float64) {
		var m Metric
		m.Estimate, m.Compared = setEstimate(model, model.prompt[:n], len(j.prompts), stat), true
		groups := make([]int, n) // people's texts are all of different places
		for i := range groups {
			groups[i] = i % len(j.prompts)
		}
		h := setEstimate(human, groups, len(j.prompts), stat)
		m.Human, m.HumanSE = h.Value, h.SE
		r.add(name, m)
	}
	for name, order := range map[string]int{"distinct2": 2, "distinct3": 3} {
		put(name, func(s *side, take []int) float64 { return Distinct(pick(s.tokens, take), order) })
	}
	put("compression", func(s *side, take []int) float64 { return Compression(pick(s.text, take)) })
	m := Metric{Estimate: bootstrapMean(SelfBLEU(model.tokens[:n]), model.prompt[:n], len(j.prompts)), Compared: true}
	m.Human, m.HumanSE = meanSE(SelfBLEU(human.tokens[:n]))
	r.add("self_bleu", m)
}

// leftOut is how many times a part of the prompts is left out for the interval of a set's statistic.
const leftOut = 10

// setEstimate is a statistic of a set with the interval of leaving out one part of the groups after another.
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

// alike measures how alike the texts of one prompt, and of different prompts, are.
func (j *Judge) alike(r *Report, model *side) {
	s := compare(model.vectors, model.prompt, len(j.prompts))
	put := func(name string, stat func([]int) float64, human Estimate) {
		m := Metric{Estimate: bootstrap(len(j.prompts), stat)}
		if j.ref.has {
			m.Human, m.HumanSE, m.Compared = human.Value, human.SE, true
		}
		r.add(name, m)
	}
	put("within", s.within, j.ref.within)
	put("between", s.between, j.ref.between)
	put("consistency", s.consistency, j.ref.consistency)
}

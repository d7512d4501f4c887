package judge

import (
	"fmt"
	"math"
	"slices"
)

// Reading is what the detectors say of one text.
type Reading struct {
	Badness float64  // how far it is from people's texts, in their standard deviations; 0: as people write
	Reasons []string // what is wrong, worst first; none: nothing was found
}

// rule says when a metric differs from people's by more than matters.
type rule struct {
	metric string
	low    bool    // bad when below
	floor  float64 // least difference that matters
	digits int
	what   string // of one text; empty: of all together only
}

// rules are the alarms of an evaluation, and where they have a text of their own, the detectors of one text.
var rules = []rule{
	{"rep4", false, 0.02, 0, "repeating: %v of its 4-grams come again (people: %v)"},
	{"rep3", false, 0.02, 0, ""},
	{"loop", false, 8, 0, "repeating: a loop of %v tokens (people: %v)"},
	{"predictable", false, 0.05, 0, ""},
	{"garbled", false, 0.05, 0, ""},
	{"ngram_nats", false, 0.5, 1, "broken: %v nats per token by n-grams (people: %v)"},
	{"unknown_words", false, 0.05, 0, "broken: %v of its words are not in the training text (people: %v)"},
	{"unbalanced", false, 1, 1, "broken: %v unmatched brackets or quotes in 100 tokens (people: %v)"},
	{"parses", true, 0.1, 0, ""},
	{"topic", true, 0.05, 2, "drifting: its end is %v nearer to its prompt than to others (people: %v)"},
	{"match", false, copiedTokens, 0, "copied: %v tokens in a row from the training text (people: %v)"},
	{"copied", false, 0.05, 0, ""},
	{"distinct2", true, 0.1, 2, ""},
	{"distinct3", true, 0.1, 2, ""},
	{"compression", false, 0.5, 2, ""},
	{"self_bleu", false, 0.1, 2, ""},
	{"between", false, 0.05, 2, ""},
	{"consistency", true, 0.05, 2, ""},
	{"finish_rate", true, 0.1, 2, ""},
}

// sigmas is how many standard errors, or of one text standard deviations, chance may explain.
const sigmas = 3

// shares are metrics that are written in per cent.
var shares = []string{"rep3", "rep4", "unknown_words", "garbled", "predictable", "parses", "copied", "finish_rate"}

func (u rule) write(v float64) string {
	if slices.Contains(shares, u.metric) {
		return fmt.Sprintf("%.0f %%", 100*v)
	}
	return fmt.Sprintf("%.*f", u.digits, v)
}

// beyond returns by how many spreads a value is on the bad side, 0 where it is not by more than the floor and sigmas
// spreads.
func (u rule) beyond(value, human, spread float64) float64 {
	d := value - human
	if u.low {
		d = -d
	}
	if !(d > u.floor) || !(d > sigmas*spread) {
		return 0
	}
	return d / max(spread, u.floor/sigmas)
}

// read judges the texts one by one.
func (j *Judge) read(r *Report, counted []int, texts []Text, model, human *side) {
	for i, t := range texts {
		if len(t.Tokens) < j.plan.MinTokens && t.Ended {
			r.Readings[i].Reasons = []string{fmt.Sprintf("ended after %d tokens: too short to be measured",
				len(t.Tokens))}
		}
	}
	for _, u := range rules {
		values := model.values[u.metric]
		if u.what == "" || values == nil {
			continue
		}
		mean, sd := meanSD(human.values[u.metric])
		for k, i := range counted {
			if far := u.beyond(values[k], mean, sd); far > 0 {
				reading := &r.Readings[i]
				reason := fmt.Sprintf(u.what, u.write(values[k]), u.write(mean))
				if far > reading.Badness {
					reading.Badness = far
					reading.Reasons = slices.Insert(reading.Reasons, 0, reason)
				} else {
					reading.Reasons = append(reading.Reasons, reason)
				}
			}
		}
	}
}

// WorstFirst returns the order in which a person should read the texts.
func (r *Report) WorstFirst() []int {
	order := make([]int, len(r.Readings))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch x, y := r.Readings[a].Badness, r.Readings[b].Badness; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	return order
}

// Alarm is a metric that differs from people's.
type Alarm struct {
	Metric string
	Text   string
}

// alarm fills in what differs from people's texts by more than the floor and sigmas standard errors.
func (r *Report) alarm(fewDocuments bool) {
	for _, u := range rules {
		m, ok := r.Metrics[u.metric]
		if !ok || !m.Compared || u.metric == "match" || u.metric == "finish_rate" && fewDocuments {
			continue // the share of copied texts says what the length of a match means
		}
		if u.beyond(m.Value, m.Human, m.ExcessSE()) > 0 {
			text := fmt.Sprintf("%s is %s [%s, %s], of people's texts %s",
				u.metric, u.write(m.Value), u.write(m.Lo), u.write(m.Hi), u.write(m.Human))
			r.Alarms = append(r.Alarms, Alarm{u.metric, text})
		}
	}
	if share := float64(r.Counted) / math.Max(1, float64(r.Texts)); r.Texts > 0 && share < 0.5 {
		r.Alarms = append(r.Alarms, Alarm{"short_rate", fmt.Sprintf("%d of %d texts ended too early to be measured",
			r.Texts-r.Counted, r.Texts)})
	}
}

package judge

import (
	"fmt"
	"slices"
)

// Definition says how tables show a metric of generated text, and when it is an alarm. docs/judge.md defines each.
type Definition struct {
	Name, What string
	digits     int     // after the point, or percent
	low        bool    // worse when it is lower than in human text
	floor      float64 // least difference from human text that matters; 0: never an alarm
	reason     string  // why a text is bad, with its value and the human one; empty: texts are only judged together
}

// percent is the digits of a share.
const percent = -1

// Tabulated are the metrics in the order in which tables show them.
var Tabulated = []Definition{
	{"rep3", "share of 3-grams that repeat in a text", percent, false, 0.02, ""},
	{"rep4", "share of 4-grams that repeat in a text", percent, false, 0.02,
		"repeating: %v of its 4-grams repeat (human text: %v)"},
	{"loop", "longest loop, tokens", 0, false, 8, "repeating: a loop of %v tokens (human text: %v)"},
	{"distinct2", "share of different 2-grams in all texts", 2, true, 0.1, ""},
	{"distinct3", "share of different 3-grams in all texts", 2, true, 0.1, ""},
	{"compression", "compression ratio of all texts", 2, false, 0.5, ""},
	{"self_bleu", "Self-BLEU", 2, false, 0.1, ""},
	{"consistency", "prompt consistency C", 2, true, 0.05, ""},
	{"within", "similarity of texts of one prompt, W", 2, false, 0, ""},
	{"between", "similarity of texts of different prompts, X", 2, false, 0.05, ""},
	{"topic", "how much closer the end of a text is to its own prompt", 2, true, 0.05,
		"drifting: its end is %v closer to its prompt than to others (human text: %v)"},
	{"unknown_words", "share of words that are not in the training text", percent, false, 0.05,
		"broken: %v of its words are not in the training text (human text: %v)"},
	{"unbalanced", "unmatched brackets and quotes per 100 tokens", 1, false, 1,
		"broken: %v unmatched brackets or quotes per 100 tokens (human text: %v)"},
	{"ngram_nats", "nats per token under n-grams of the training text", 1, false, 0.5,
		"broken: %v nats per token under n-grams (human text: %v)"},
	{"garbled", "share of texts above the n-gram range of human text", percent, false, 0.05, ""},
	{"predictable", "share of texts below that range", percent, false, 0.05, ""},
	{"parses", "share of texts that the Go parser accepts", percent, true, 0.1, ""},
	{"finish_rate", "share of texts that the model ended", percent, true, 0.1, ""},
	{"short_rate", "share of texts too short to be measured", percent, false, 0, ""},
	{"length", "tokens per text", 0, false, 0, ""},
	{"match", "longest match with the training text, tokens", 0, false, copiedTokens,
		"copied: %v tokens in a row from the training text (human text: %v)"},
	{"novel5", "share of 5-grams that are not in the training text", percent, false, 0, ""},
	{"copied", "share of texts that are copied", percent, false, 0.05, ""},
}

// MetricNames are the names of Tabulated, in their order.
func MetricNames() (names []string) {
	for _, d := range Tabulated {
		names = append(names, d.Name)
	}
	return names
}

// write writes a value of the metric.
func (d Definition) write(v float64) string {
	if d.digits == percent {
		return fmt.Sprintf("%.0f %%", 100*v)
	}
	return fmt.Sprintf("%.*f", d.digits, v)
}

// sigmas is how many standard errors, or for one text standard deviations, chance may explain.
const sigmas = 3

// beyond returns how many spreads a value is on the bad side of the human one; 0 where the difference is within the
// floor, or within sigmas spreads.
func (d Definition) beyond(value, human, spread float64) float64 {
	diff := value - human
	if d.low {
		diff = -diff
	}
	if d.floor == 0 || !(diff > d.floor) || !(diff > sigmas*spread) {
		return 0
	}
	return diff / max(spread, d.floor/sigmas)
}

// Reading is what the detectors found in one text.
type Reading struct {
	Badness float64  // how far it is from human text, in standard deviations of that; 0: not at all
	Reasons []string // what is wrong, worst first; none: nothing was found
}

// read judges the texts one by one.
func (j *Judge) read(r *Report, counted []int, texts []Text, model, human *side) {
	for i, t := range texts {
		if len(t.Tokens) < j.plan.MinTokens && t.Ended {
			r.Readings[i].Reasons = []string{fmt.Sprintf("ended after %s: too short to be measured",
				plural(len(t.Tokens), "token"))}
		}
	}
	for _, d := range Tabulated {
		values := model.values[d.Name]
		if d.reason == "" || values == nil {
			continue
		}
		mean, sd := meanSD(human.values[d.Name])
		for k, i := range counted {
			if far := d.beyond(values[k], mean, sd); far > 0 {
				reading, at := &r.Readings[i], len(r.Readings[i].Reasons)
				if far > reading.Badness {
					reading.Badness, at = far, 0
				}
				reading.Reasons = slices.Insert(reading.Reasons, at, fmt.Sprintf(d.reason, d.write(values[k]), d.write(mean)))
			}
		}
	}
}

// Alarm is a metric that differs from that of human text.
type Alarm struct {
	Metric string
	Text   string
}

// alarm finds the metrics that differ from those of human text by more than the floor and sigmas standard errors.
func (r *Report) alarm(fewDocuments bool) {
	for _, d := range Tabulated {
		m, ok := r.Metrics[d.Name]
		if !ok || !m.Compared || d.Name == "match" || d.Name == "finish_rate" && fewDocuments {
			continue // for match, copied is the alarm
		}
		if d.beyond(m.Value, m.Human, m.ExcessSE()) > 0 {
			r.Alarms = append(r.Alarms, Alarm{d.Name, fmt.Sprintf("%s is %s [%s, %s]; in human text %s",
				d.Name, d.write(m.Value), d.write(m.Lo), d.write(m.Hi), d.write(m.Human))})
		}
	}
	if short := r.Texts - r.Counted; 2*r.Counted < r.Texts {
		r.Alarms = append(r.Alarms, Alarm{"short_rate", fmt.Sprintf("%d of %d texts ended too early to be measured", short,
			r.Texts)})
	}
}

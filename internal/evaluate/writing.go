package evaluate

import (
	"fmt"

	"gimbal/internal/judge"
	"gimbal/internal/runlog"
)

// Writing is what a model wrote at one evaluation, measured beside people's texts.
type Writing struct {
	Plan   judge.Plan      // as the held-out text allows it
	Report *judge.Report   // empty where nothing was written
	Texts  []judge.Written // sample by sample: one of each prompt, then the next of each; none: there was no prompt

	FewDocuments bool     // how texts end says little; also set where nothing was written
	Notes        []string // what the judge cannot do here
}

// Sample is one text that the model wrote.
type Sample struct {
	Prompt  string   // empty when the model began by itself
	Text    string   // what it wrote after the prompt
	Finish  string   // eos, length or context
	Reasons []string `json:",omitempty"` // what the detectors say of it, where they were asked
}

// Metrics are the numbers as keys of the log; nil where nothing was written.
func (w *Writing) Metrics() map[string]runlog.Float {
	if len(w.Texts) == 0 {
		return nil
	}
	r := w.Report
	m := map[string]runlog.Float{
		MetricTexts: runlog.Float(r.Texts), MetricCounted: runlog.Float(r.Counted),
		MetricAlarms: runlog.Float(len(r.Alarms)),
	}
	for name, v := range r.Metrics {
		m[name], m[name+"_lo"], m[name+"_hi"] = runlog.Float(v.Value), runlog.Float(v.Lo), runlog.Float(v.Hi)
		if v.Compared {
			m[name+"_human"], m[name+"_human_se"] = runlog.Float(v.Human), runlog.Float(v.HumanSE)
		}
	}
	return m
}

// Page is the file of the texts for people, worst first.
func (w *Writing) Page(evaluation int, step int64) []byte {
	r := w.Report
	about := []string{fmt.Sprintf("%d texts, %d long enough to be measured", r.Texts, r.Counted)}
	if about = append(about, w.alarms()...); len(r.Alarms) == 0 {
		about = append(about, "no metric differs from people's texts by more than chance")
	}
	return judge.Page(evaluation, step, about, w.Texts, r.WorstFirst())
}

// alarms are the sentences of the alarms.
func (w *Writing) alarms() []string {
	lines := []string{}
	for _, a := range w.Report.Alarms {
		lines = append(lines, a.Text)
	}
	return lines
}

// Shown are the first texts, at most n: not chosen by quality, and without what the detectors say.
func (w *Writing) Shown(n int) (samples []Sample) {
	for _, t := range w.Texts[:min(n, len(w.Texts))] {
		samples = append(samples, Sample{Prompt: t.Prompt, Text: t.Text, Finish: t.Finish})
	}
	return samples
}

// Worst are the worst texts by the detectors, at most n, with what they say.
func (w *Writing) Worst(n int) (samples []Sample) {
	for _, i := range w.Report.WorstFirst()[:min(n, len(w.Texts))] {
		t := w.Texts[i]
		samples = append(samples, Sample{Prompt: t.Prompt, Text: t.Text, Finish: t.Finish, Reasons: t.Reading.Reasons})
	}
	return samples
}

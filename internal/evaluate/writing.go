package evaluate

import (
	"fmt"

	"gimbal/internal/judge"
	"gimbal/internal/runlog"
)

// Writing is the texts that a model wrote at one evaluation, measured next to human text.
type Writing struct {
	Plan   judge.Plan      // as the held-out text allows it
	Report *judge.Report   // empty where nothing was written
	Texts  []judge.Written // sample by sample: one of each prompt, then the next of each; none: there was no prompt

	FewDocuments bool     // how texts end says little; also set where nothing was written
	Notes        []string // what the judge cannot measure here
}

// Sample is one text that the model wrote.
type Sample struct {
	Prompt  string   // empty when the model began by itself
	Text    string   // what it wrote after the prompt
	Finish  string   // eos, length or context
	Reasons []string `json:",omitempty"` // what the detectors found; only in Worst
}

// Metrics are the numbers under the keys of the log; nil if nothing was written.
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
	about := []string{fmt.Sprintf("%d of %d texts are long enough to be measured", r.Counted, r.Texts)}
	if about = append(about, w.alarms()...); len(r.Alarms) == 0 {
		about = append(about, "no metric differs from human text by more than chance")
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

// Shown are the first texts, at most n. They are not chosen by quality and have no reasons.
func (w *Writing) Shown(n int) (samples []Sample) {
	for _, t := range w.Texts[:min(n, len(w.Texts))] {
		samples = append(samples, Sample{Prompt: t.Prompt, Text: t.Text, Finish: t.Finish})
	}
	return samples
}

// Worst are the worst texts, at most n, with the reasons.
func (w *Writing) Worst(n int) (samples []Sample) {
	for _, i := range w.Report.WorstFirst()[:min(n, len(w.Texts))] {
		t := w.Texts[i]
		samples = append(samples, Sample{Prompt: t.Prompt, Text: t.Text, Finish: t.Finish, Reasons: t.Reading.Reasons})
	}
	return samples
}

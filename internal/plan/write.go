package plan

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/corpus"
	"gimbal/internal/judge"
)

// Write prints the plan for a person: what will be trained on what, for how long, and where each setting came from.
func (p *Plan) Write(w io.Writer) {
	c, a := p.Config, p.Spec.Arch
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	kv := ""
	if a.KVHeads != a.Heads {
		kv = fmt.Sprintf(" (%d for keys and values)", a.KVHeads)
	}
	row("model", "%s shape, %d layers × %d wide, %d heads of %d%s, mlp %d, vocabulary %d, context %d", a.Shape, a.Layers,
		a.Width, a.Heads, a.HeadSize, kv, a.MLP, a.Vocab, a.Context)
	row("parameters", "%s, of which %s are multiplied for every token", Count(p.Params), Count(p.Multiplied))
	census := p.Text.Census
	row("corpus", "%s in %s: %s of text, %s tokens, %.2f bytes per token",
		corpus.CountKind(census.Documents, "document"), corpus.CountKind(census.Sources, "file"), BytesText(census.TextBytes), Count(census.Tokens), census.BytesPerToken())
	row("data", "%s tokens to train on, %s held out: %s", Count(p.Text.Train), Count(p.Text.Val), p.Text.SplitBy)
	if c.Train.Objective == "dpo" {
		row("objective", "preferences (DPO) with beta %g: %d pairs to train on, %d held out, beside the model as it begins",
			c.DPO.Beta, p.Text.Pairs[0], p.Text.Pairs[1])
	}
	if note := EndsNote(p.Text.Ends); note != "" {
		row("ends", "%s", note)
	}
	row("steps", "%d of up to %d tokens (passes of %d): %s tokens, %.2f epochs", c.Train.Steps, c.Train.BatchTokens,
		c.Train.MicroTokens, Count(p.Tokens()), p.Text.Epochs)
	p.writeRate(row)
	m := p.Memory
	saving := "a copy to save beside training " + BytesText(m.Copy)
	if m.Copy == 0 {
		saving = "too little for a copy, so training waits for each save"
	}
	row("memory", "%s: weights, gradients and activations %s, moments %s, writing samples %s, the program %s, %s",
		BytesText(m.Total()), BytesText(m.Model), BytesText(m.Slots), BytesText(m.Writing), BytesText(programBytes),
		saving)
	texts, ends := p.Writing.Samples, ""
	if p.Writing.Usual != (judge.Plan{}) {
		texts, ends = p.Writing.Usual, fmt.Sprintf(", %d at the end of an epoch and of the run", texts.Texts())
	}
	row("judge", "%.0f evaluations of %s%s, about %.1f %% of the time", p.Writing.Evaluations, texts, ends,
		100*p.Writing.Share)
	if hw := p.Hardware; hw.Device != "" {
		row("devices", "%d × %s, %s, checkpointing %s, attention %s", hw.Workers, hw.Name, c.Numeric.Mode,
			p.Spec.Checkpointing, cmp.Or(hw.Attention, "not yet chosen"))
	} else {
		row("kernels", "%s, %s, %d workers", hw.Name, c.Numeric.Mode, hw.Workers)
	}
	if p.Speed > 0 {
		row("time", "about %s at %s tokens/s, evaluations not counted", p.Estimated.Round(time.Second), Count(int64(p.Speed)))
	}
	p.writeSettings(w)
}

// EndsNote says so where a training part in which so many documents end has next to nothing to learn from where a text
// ends; else it is empty.
func EndsNote(ends int64) string {
	const fewEnds = 10
	const advice = "; if the text has parts, cut it there with data.separator"
	switch {
	case ends == 0:
		return "no document ends in the training part: the model will not learn to stop" + advice
	case ends == 1:
		return "1 document ends in the training part: the model will hardly learn to stop" + advice
	case ends < fewEnds:
		return fmt.Sprintf("%d documents end in the training part: the model will hardly learn to stop%s", ends, advice)
	}
	return ""
}

func (p *Plan) writeRate(row func(name, format string, args ...any)) {
	s := p.Rate.Schedule
	var rates []string
	for _, r := range p.Rate.Rules {
		rates = append(rates, fmt.Sprintf("%s %.2g", r.Rule, r.LR))
	}
	row("lr", "peak %.3g (rules would give: %s)", s.Peak, strings.Join(rates, ", "))
	warmup := fmt.Sprintf("%s, %.0f %% of the run", corpus.CountKind(s.Warmup, "step"),
		100*float64(s.Warmup)/float64(s.Steps))
	if p.Rate.Capped {
		warmup += ", cut to a quarter of it"
	}
	row("schedule", "%s", cmp.Or(p.Rate.Course(), fmt.Sprintf("%s to %.3g, warmup %s", s.Kind, s.Peak*s.Floor, warmup)))
}

// writeSettings lists the keys that have another value than their default, and where it came from.
func (p *Plan) writeSettings(w io.Writer) {
	var settings []string
	for _, key := range config.Keys() {
		if origin := p.Config.Origin(key); origin != "default" {
			value, _ := p.Config.Value(key)
			settings = append(settings, fmt.Sprintf("    %-24s %-14s %s", key, value, origin))
		}
	}
	if len(settings) > 0 {
		fmt.Fprintf(w, "  settings that are not defaults, and where they came from:\n%s\n", strings.Join(settings, "\n"))
	}
}

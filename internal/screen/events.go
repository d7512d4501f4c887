package screen

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"gimbal"
	"gimbal/internal/plan"
	"gimbal/internal/runlog"
	"gimbal/internal/runs"
)

// evaluation takes an evaluation and prints it in a line: the loss beside the n-grams on the same tokens, speed, time,
// and the gradients of the last look.
func (p *Progress) evaluation(e gimbal.Evaluation) {
	r, now := &p.run, p.now()
	r.clock.evaluation(now)
	r.evals = append(r.evals, evaluation{e, r.step.Tokens})
	if p.level == Quiet {
		return
	}
	speed, left, colour := "-", "-", ""
	if r.clock.n > 0 {
		speed = plan.Count(int64(r.clock.speed()))
	}
	if d, ok := r.clock.left(now); ok {
		left = clockText(d)
	}
	gradients, verdict := r.gradients()
	switch {
	case verdict != levelled:
		colour = yellow
	case e.Loss < e.BaselineLoss:
		colour = green
	}
	width := p.screen.width()
	if len(r.evals) == 1 {
		p.say(clip("  step    loss  n-gram   tok/s  elapsed    left  mean |gradient| bottom, top", width))
	}
	line := fmt.Sprintf("%6d %7s %7s %7s %8s %7s  %s%s", e.Step, nats(e.Loss), nats(e.BaselineLoss), speed,
		clockText(now.Sub(p.began)), left, gradients, verdict)
	p.say(p.screen.paint(colour, clip(line, width)))
	m := e.Metrics
	if pairs := m["pairs"]; pairs > 0 {
		p.say(clip(fmt.Sprintf("        prefers the chosen answer in %.0f %% of %.0f pairs, loss %.3f, margin %.3g",
			100*m["accuracy"], pairs, m["pair_loss"], m["margin"]), width))
	}
	people, compared := m["rep4_human"]
	if m["rep4_lo"] > people && compared || p.level == Verbose {
		p.say(fmt.Sprintf("        repeats %.1f %% of 4-grams; people repeat %.1f %%", 100*m["rep4"], 100*people))
	}
	if p.level == Verbose {
		p.say(fmt.Sprintf("        %.4f bits/byte, prompt consistency %.3f, %s from human text", e.BitsPerByte,
			m["consistency"], runs.Plural(int64(m["alarms"]), "difference")))
	}
}

// nats writes a loss; what is unknown is a dash.
func nats(loss float64) string {
	if math.IsNaN(loss) {
		return "-"
	}
	return fmt.Sprintf("%.3f", loss)
}

// levelled is the verdict on gradients that are about as large at the bottom as at the top.
const levelled = "ok"

// gradients is the last look in two numbers and a word. The limits are those of the alarms A2 and A3.
func (r *told) gradients() (numbers, verdict string) {
	if r.look == nil {
		return "-", ""
	}
	bottom, top := r.look.Bottom, r.look.Top
	numbers = fmt.Sprintf("%.1e %.1e ", bottom, top)
	switch {
	case bottom-bottom != 0 || top-top != 0:
		return numbers, "broken"
	case bottom < top/10:
		return numbers, "starved"
	case bottom > 100*top:
		return numbers, "exploding"
	case r.look.Alarms > 0:
		return numbers, "alarm"
	}
	return numbers, levelled
}

// idle are the codes of events that ask nothing of anybody.
var idle = func() map[string]bool {
	codes := map[string]bool{}
	for _, part := range runlog.Codes {
		for _, c := range part.Codes {
			codes[c.Code] = c.Severity != "error" && (c.Advice == "" || strings.HasPrefix(c.Advice, "nothing"))
		}
	}
	return codes
}()

// repeated is how often events of one code are told. All are in the log.
const repeated = 3

// event prints an event in a line of its own. Where not everything is told, those that ask nothing of anybody are left
// out, those that the checks have told, and those that come again and again.
func (p *Progress) event(e gimbal.Event) {
	p.events[e.Code]++
	severe, colour := e.Severity == "error", yellow
	if severe {
		colour = red
	}
	if p.level < Verbose {
		checked := slices.ContainsFunc(p.run.checks, func(c gimbal.CheckResult) bool { return c.Code == e.Code })
		if p.level == Quiet && !severe || idle[e.Code] || checked || p.events[e.Code] > repeated {
			return
		}
		e.Documents = e.Documents[:min(1, len(e.Documents))]
	}
	p.say(p.screen.paint(colour, p.message(e.String())))
	if p.events[e.Code] == repeated && p.level < Verbose {
		p.say(fmt.Sprintf("  further %s events are in the log, which \"gimbal why\" shows", e.Code))
	}
}

// eventsText counts the events of a run by their codes, and the updates that were refused.
func eventsText(r *gimbal.Result) string {
	if r.Events == 0 {
		return "no events"
	}
	var codes []string
	for _, code := range slices.Sorted(maps.Keys(r.EventCodes)) {
		codes = append(codes, fmt.Sprintf("%d %s", r.EventCodes[code], code))
	}
	text := runs.Plural(r.Events, "event") + ": " + strings.Join(codes, ", ")
	if r.Refused > 0 {
		text += "; " + runs.Plural(r.Refused, "update") + " refused"
	}
	return text
}

package screen

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gimbal"
	"gimbal/internal/plan"
	"gimbal/internal/runs"
)

// planned prints what a run will do, and what the checks found; everything of both at level Verbose.
func (p *Progress) planned(public *gimbal.Plan) {
	if p.level == Verbose {
		all := &strings.Builder{}
		PrintChecks(all, p.run.checks)
		p.say(fmt.Sprintf("plan\n%s  run         %s\n%s", runs.EscapeText(fmt.Sprint(public)), runs.Escape(public.Dir),
			strings.TrimRight(all.String(), "\n")))
		return
	}
	p.say(p.planLines(public))
	for _, c := range p.run.checks {
		// a warning, or a note about what is learned: those about the schedule are in the plan
		if c.Result == "warning" || c.Result == "info" && !strings.Contains(c.Code, "-WARMUP-") {
			text := strings.TrimSuffix(c.Code+": "+c.Message+"; "+c.Advice, "; ")
			p.say(p.screen.paint(yellow, p.message(text)))
		}
	}
}

// planLines is a plan in six lines, and one about the ends of texts where there are few.
func (p *Progress) planLines(public *gimbal.Plan) string {
	set := map[string]string{}
	for _, s := range public.Settings {
		set[s.Key] = s.Value
	}
	var lines []string
	row := func(name, format string, args ...any) {
		line := fmt.Sprintf("%-8s ", name) + fmt.Sprintf(format, args...)
		lines = append(lines, clip(runs.Escape(line), p.screen.width()))
	}
	layers, _ := strconv.Atoi(set["model.layers"])
	row("model", "%s, %s × %s wide, %s parameters, vocabulary %d", set["model.shape"], runs.Plural(layers, "layer"),
		set["model.width"], plan.Count(public.Parameters), public.Vocabulary)
	long := func(name, text string) {
		text = wrap(text, p.screen.width()-9, 0, 3)
		lines = append(lines, fmt.Sprintf("%-8s ", name)+strings.ReplaceAll(text, "\n", "\n         "))
	}
	documents := runs.Plural(public.Documents, "document")
	if set["train.objective"] == "dpo" {
		documents = runs.Plural(public.Documents/2, "pair") + " of answers"
	}
	text := fmt.Sprintf("%s: %s in %s, %s tokens, %s held out", sources(set["data.paths"]), documents,
		runs.Plural(public.Files, "file"), plan.Count(public.TrainTokens),
		plan.Count(public.ValTokens))
	if public.HeldOut != "" {
		text += " (" + public.HeldOut + ")"
	}
	if public.LeftOut != "" {
		text += "; left out: " + public.LeftOut
	}
	long("text", text)
	if note := plan.EndsNote(public.Ends); note != "" {
		long("ends", note)
	}
	row("steps", "%d of %d tokens: %s in all, %.3g epochs; %s", public.Steps, public.BatchTokens,
		plan.Count(int64(min(float64(public.Steps)*float64(public.BatchTokens), 1<<62))), public.Epochs,
		runs.Plural(public.Evaluations, "evaluation"))
	course := fmt.Sprintf("up to %.3g, warmup %s (%.0f %% of the run), %s", public.PeakLR,
		runs.Plural(public.Warmup, "step"), 100*float64(public.Warmup)/float64(public.Steps), set["schedule.kind"])
	row("rate", "%s", cmp.Or(public.RateCourse, course))
	if e := public.Expected; e.Value != 0 {
		row("expect", "about %.2f nats/token at the end (%.2f to %.2f)", e.Value, e.Low, e.High)
	}
	time := ""
	if total, known := p.run.clock.left(p.now()); known {
		time = "; about " + aboutText(total)
	}
	what, unit := public.Kernels+" kernels, "+public.Precision, "thread"
	if public.Device != "" {
		what, unit = public.Kernels+", "+public.Precision+", "+public.Attention+" attention", "device"
	}
	long("machine", fmt.Sprintf("%s, %s; %s of memory%s", what, runs.Plural(public.Workers, unit),
		runs.Size(public.MemoryBytes), time))
	if public.Dir != "" {
		row("run", "saved to %s", public.Dir)
	}
	return strings.Join(lines, "\n")
}

// DryRun prints what a run would do: the plan, and what the checks found.
func (p *Progress) DryRun(w io.Writer, d *gimbal.Diagnosis) {
	out := NewProgress(w, p.level)
	out.run.checks = d.Checks
	out.run.clock.start(d.Plan)
	out.planned(d.Plan)
	if p.level < Verbose && len(d.Checks) > 0 {
		out.say("checks   " + wrap(countChecks(d.Checks)+"; \"gimbal doctor\" prints all", pageWidth-9, 9, 0))
	}
}

// sources names the text of a run, as the configuration has it.
func sources(paths string) string {
	if paths == "" || paths == "[]" {
		return "the Go sources"
	}
	if here, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(here, paths); err == nil && len(short) < len(paths) {
			return short
		}
	}
	return paths
}

// PrintChecks prints each check in a line, and what to do below those that want something done.
func PrintChecks(w io.Writer, checks []gimbal.CheckResult) {
	for _, c := range checks {
		fmt.Fprintf(w, "%-21s %-8s %s\n", c.Code, c.Result, runs.Escape(c.Message))
		if c.Advice != "" {
			fmt.Fprintf(w, "%-30s → %s\n", "", runs.Escape(c.Advice))
		}
	}
	fmt.Fprintln(w, countChecks(checks))
}

// countChecks counts the results of the checks in a line.
func countChecks(checks []gimbal.CheckResult) string {
	count := map[string]int{}
	for _, c := range checks {
		count[c.Result]++
	}
	return fmt.Sprintf("%s: %d ok, %s, %s, %s, %d skipped", runs.Plural(len(checks), "check"), count["ok"],
		runs.Plural(count["info"], "note"), runs.Plural(count["warning"], "warning"), runs.Plural(count["error"], "error"),
		count["skipped"])
}

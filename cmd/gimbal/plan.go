package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gimbal"
	"gimbal/internal/runs"
)

// plan prints what a run will do, and what the checks found; everything of both where everything is told.
func (p *progress) plan(plan *gimbal.Plan) {
	if p.level == verbose {
		p.say("plan\n" + strings.TrimRight(plan.String(), "\n"))
		if plan.Dir != "" {
			p.say("  run         " + runs.Escape(plan.Dir))
		}
		var all strings.Builder
		printChecks(&all, p.run.checks)
		p.say(strings.TrimRight(all.String(), "\n"))
		return
	}
	total, known := p.run.clock.left(p.now())
	p.say(planLines(plan, total, known, p.screen.width()))
	for _, c := range p.run.checks {
		if !matters(c) {
			continue
		}
		text := c.Code + ": " + c.Message
		if c.Advice != "" {
			text += "; " + c.Advice
		}
		p.say(p.screen.paint(yellow, p.message(text)))
	}
}

// matters reports whether a check has something to say to a person: a warning, or a note about what is learned. Notes
// about the schedule are in the plan.
func matters(c gimbal.CheckResult) bool {
	schedule := strings.HasPrefix(c.Code, "W-WARMUP") || strings.HasPrefix(c.Code, "P-WARMUP")
	return c.Result == "warning" || c.Result == "info" && !schedule
}

// planLines is a plan in six lines. total is the time of the run, where it is known.
func planLines(plan *gimbal.Plan, total time.Duration, known bool, width int) string {
	set := map[string]string{}
	for _, s := range plan.Settings {
		set[s.Key] = s.Value
	}
	var lines []string
	row := func(name, format string, args ...any) {
		lines = append(lines, clip(runs.Escape(fmt.Sprintf("%-8s ", name)+fmt.Sprintf(format, args...)), width))
	}
	layers, _ := strconv.Atoi(set["model.layers"])
	row("model", "%s, %s × %s wide, %s parameters, vocabulary %d", set["model.shape"], plural(layers, "layer"),
		set["model.width"], si(float64(plan.Parameters)), plan.Vocabulary)
	row("text", "%s: %s, %s tokens, %s held out", sources(set["data.paths"]), plural(plan.Documents, "document"),
		si(float64(plan.TrainTokens)), si(float64(plan.ValTokens)))
	row("steps", "%d of %d tokens: %s in all, %.3g epochs; %s", plan.Steps, plan.BatchTokens,
		si(float64(plan.Steps)*float64(plan.BatchTokens)), plan.Epochs, plural(plan.Evaluations, "evaluation"))
	row("rate", "up to %.3g, warmup %s (%.0f %% of the run), %s", plan.PeakLR, plural(plan.Warmup, "step"),
		100*float64(plan.Warmup)/float64(plan.Steps), set["schedule.kind"])
	row("machine", "%s kernels, %s, %s; %s of memory", plan.Kernels, plan.Precision, plural(plan.Workers, "thread"),
		runs.Size(plan.MemoryBytes))
	var last []string
	if known {
		last = append(last, "about "+aboutText(total))
	}
	if plan.Dir != "" {
		last = append(last, "saved to "+plan.Dir)
	}
	if len(last) > 0 {
		row("run", "%s", strings.Join(last, "; "))
	}
	return strings.Join(lines, "\n")
}

// sources names the text of a run, as the configuration has it.
func sources(paths string) string {
	if paths == "" || paths == "[]" {
		return "the source tree of the installed Go"
	}
	if here, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(here, paths); err == nil && len(short) < len(paths) {
			return short
		}
	}
	return paths
}

// printChecks prints each check in a line, and what to do below those that want something done.
func printChecks(w io.Writer, checks []gimbal.CheckResult) {
	count := map[string]int{}
	for _, c := range checks {
		count[c.Result]++
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
	return fmt.Sprintf("%s: %d ok, %s, %s, %s, %d skipped", plural(len(checks), "check"), count["ok"],
		plural(count["info"], "note"), plural(count["warning"], "warning"), plural(count["error"], "error"),
		count["skipped"])
}

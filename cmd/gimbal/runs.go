package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"gimbal/internal/rundir"
	"gimbal/internal/runs"
)

type runsCmd struct {
	List runsListCmd `cmd:"" default:"withargs" help:"List runs, newest first. This is the default."`
	Rm   runsRmCmd   `cmd:"" help:"Delete runs, after asking."`
}

type runsListCmd struct {
	Folders []string `arg:"" optional:"" name:"folder" help:"Folders of runs, or runs. Default: runs."`
	JSON    bool     `name:"json" help:"Print the list as JSON."`
}

func (c *runsListCmd) Run(e *env) error {
	list, err := runs.List(c.Folders...)
	if len(c.Folders) == 0 && errors.Is(err, fs.ErrNotExist) {
		list, err = []runs.Run{}, nil // nothing was trained here yet
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, list)
	}
	if len(list) == 0 {
		where := rundir.Parent
		if len(c.Folders) > 0 {
			where = runs.Escape(strings.Join(c.Folders, ", "))
		}
		_, err := fmt.Fprintf(e.stdout, "no runs in %s; \"gimbal train\" makes one\n", where)
		return err
	}
	return printRuns(e.stdout, list, time.Now())
}

// tableWidth is the columns of a terminal that a table may take.
const tableWidth = 80

// printRuns prints a table of runs. What else is to be said of one stands below it.
func printRuns(w io.Writer, list []runs.Run, now time.Time) error {
	rows := [][]string{{"RUN", "STATE", "STEPS", "LOSS", "N-GRAM", "EVENTS", "SIZE", "AGE"}}
	var bytes int64
	for _, r := range list {
		bytes += r.Bytes
		rows = append(rows, []string{runs.Escape(nameOf(r.Dir)), string(r.State), stepsOf(r), lossOf(float64(r.Loss)),
			lossOf(float64(r.Baseline)), eventsOf(r), runs.Size(r.Bytes), ageOf(now, r.Wrote)})
	}
	widths := make([]int, len(rows[0]))
	room := tableWidth // for the name
	for i := len(widths) - 1; i >= 0; i-- {
		for _, row := range rows {
			if n := utf8.RuneCountInString(row[i]); i > 0 || n <= room {
				widths[i] = max(widths[i], n)
			}
		}
		room -= 2 + widths[i]
	}
	for i, row := range rows {
		if utf8.RuneCountInString(row[0]) > widths[0] {
			fmt.Fprintln(w, row[0]) // a line of its own, so that it can be copied whole
			row[0] = ""
		}
		fmt.Fprintf(w, "%-*s  %-*s", widths[0], row[0], widths[1], row[1])
		for k := 2; k < len(row); k++ {
			fmt.Fprintf(w, "  %*s", widths[k], row[k])
		}
		fmt.Fprintln(w)
		if i > 0 {
			printDetail(w, list[i-1])
		}
	}
	_, err := fmt.Fprintf(w, "\n%s, %s. Losses are validation losses, in nats per token.\n"+
		"Events: E errors, W warnings, N notes. Age: since the last record.\n",
		runs.Plural(len(list), "run"), runs.Size(bytes))
	return err
}

// printDetail prints a line about a run in trouble.
func printDetail(w io.Writer, r runs.Run) {
	text := r.Detail
	if r.State == runs.Stopped && r.Code != "" {
		text = strings.TrimSuffix("stopped by the guard: "+r.Code+"; "+text, "; ")
	}
	if text == "" {
		return
	}
	line := []rune("  " + runs.Escape(text))
	if len(line) > tableWidth {
		line = append(line[:tableWidth-1], '…')
	}
	fmt.Fprintln(w, string(line))
}

// nameOf is what the other commands take for a run: its directory, or its name below runs/ where no other run has it.
func nameOf(dir string) string {
	name, ok := strings.CutPrefix(dir, rundir.Parent+string(os.PathSeparator))
	if !ok || rundir.IsRun(name) {
		return dir
	}
	return name
}

func stepsOf(r runs.Run) string {
	if r.Steps == 0 {
		return fmt.Sprint(r.Step)
	}
	return fmt.Sprintf("%d/%d", r.Step, r.Steps)
}

func lossOf(nats float64) string {
	if nats == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", nats)
}

// eventsOf counts events by their severity: 1E 3W.
func eventsOf(r runs.Run) string {
	var parts []string
	for _, part := range []struct {
		n    int
		mark string
	}{{r.Events.Errors, "E"}, {r.Events.Warnings, "W"}, {r.Events.Notes, "N"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d%s", part.n, part.mark))
		}
	}
	if len(parts) == 0 {
		parts = []string{"-"}
	}
	if r.Partial {
		parts = append(parts, "+")
	}
	return strings.Join(parts, " ")
}

// ageOf writes how long ago something was, in its largest unit.
func ageOf(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	d := max(0, now.Sub(then))
	switch day := 24 * time.Hour; {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < day:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/day)
	}
}

type runsRmCmd struct {
	Runs []string `arg:"" name:"run" help:"Run directories, or names of runs below runs/."`
	Yes  bool     `short:"y" help:"Delete without asking."`
}

func (c *runsRmCmd) Run(e *env) error {
	var list []runs.Run
	for _, name := range c.Runs { // all of them first: a mistake in the last one deletes nothing
		r, err := runs.Find(name)
		if err == nil {
			err = runs.Removable(r.Dir)
		}
		if err != nil {
			return err
		}
		list = append(list, r)
	}
	f, ok := e.stdin.(*os.File)
	if !c.Yes && !(ok && term.IsTerminal(int(f.Fd()))) {
		return usageError("runs rm: there is no terminal to ask on; --yes deletes without asking")
	}
	in := bufio.NewScanner(e.stdin)
	for _, r := range list {
		if !c.Yes {
			fmt.Fprintf(e.stderr, "Delete %s (%s, %s)? [y/N] ", runs.Escape(r.Dir), runs.Size(r.Bytes),
				runs.Plural(r.Step, "step"))
			if !in.Scan() {
				fmt.Fprintln(e.stderr)
				return in.Err()
			}
			if said := strings.ToLower(strings.TrimSpace(in.Text())); said != "y" && said != "yes" {
				continue
			}
		}
		left, err := runs.Remove(r.Dir)
		if err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "deleted %s (%s)\n", runs.Escape(r.Dir), runs.Size(r.Bytes))
		if len(left) > 0 {
			fmt.Fprintf(e.stdout, "  left what is not the run's: %s\n", runs.Escape(strings.Join(left, ", ")))
		}
	}
	return nil
}

package main

import (
	"bufio"
	"fmt"
	"strings"

	"gimbal/internal/runs"
)

type reviewCmd struct {
	Run_ string `arg:"" name:"run" help:"Run directory, or name of a run below runs/."`
	Eval int    `help:"Evaluation, from 1. Default: the newest." placeholder:"N"`
	List bool   `help:"Print all texts without asking."`
	JSON bool   `name:"json" help:"Print texts and marks as JSON without asking."`
}

// answers are the letters of the marks; several may be given.
var answers = map[rune]string{'g': "good", 'r': "repeating", 'd': "drifting", 'b': "broken"}

func (c *reviewCmd) Run(e *env) error {
	if c.Eval < 0 {
		return usageError(fmt.Sprintf("--eval %d: evaluations are counted from 1", c.Eval))
	}
	page, err := runs.OpenPage(c.Run_, c.Eval)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, page)
	}
	in := bufio.NewScanner(e.stdin)
	for i, s := range page.Sections {
		fmt.Fprintf(e.stdout, "%s\n", runs.EscapeText(s.Text))
		if len(s.Marks) > 0 {
			fmt.Fprintf(e.stdout, "(marked: %s)\n", strings.Join(s.Marks, ", "))
		}
		fmt.Fprintln(e.stdout)
		if c.List {
			continue
		}
		marks, done, err := c.ask(e, in)
		if err != nil {
			return err
		}
		if done {
			break
		}
		if marks == nil {
			continue
		}
		if err := page.Mark(i, marks); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.stdout, "%s: %s\n", page.Name, page.Looked())
	if c.List {
		return nil
	}
	return page.Report()
}

// ask reads what a person says of a text: marks, nil to leave it, or that it is enough.
func (c *reviewCmd) ask(e *env, in *bufio.Scanner) (marks []string, done bool, err error) {
	for {
		fmt.Fprint(e.stderr, "[g]ood [r]epeating [d]rifting [b]roken, several or none; [q]uit: ")
		if !in.Scan() {
			fmt.Fprintln(e.stderr)
			return nil, true, in.Err()
		}
		said := strings.TrimSpace(strings.ToLower(in.Text()))
		if said == "q" {
			return nil, true, nil
		}
		marks, known := []string(nil), true
		for _, r := range said {
			m, ok := answers[r]
			known = known && ok
			marks = append(marks, m)
		}
		if known {
			return marks, false, nil
		}
		fmt.Fprintf(e.stderr, "%q is not one of these letters\n", said)
	}
}

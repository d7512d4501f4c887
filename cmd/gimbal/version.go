package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/alecthomas/kong"

	"gimbal"
	"gimbal/internal/bench"
	"gimbal/internal/kernel"
	"gimbal/internal/runs"
	"gimbal/internal/screen"
)

// versionFlag prints the version in a line, and ends the program.
type versionFlag bool

// BeforeReset implements kong's hook: it runs before anything is missed in the rest of the command line.
func (versionFlag) BeforeReset(app *kong.Kong) error {
	x, err := printVersion(app.Stdout)
	if err == nil {
		x.Close()
		app.Exit(0)
	}
	return err
}

// printVersion prints version, Go, kernels and CPU, and returns the kernels, which the caller closes.
func printVersion(w io.Writer) (*kernel.Exec, error) {
	x, err := kernel.NewExec(1, kernel.TierAuto)
	if err == nil {
		fmt.Fprintf(w, "gimbal %s, %s %s/%s, %s kernels, %s\n", gimbal.Version(), runtime.Version(), runtime.GOOS,
			runtime.GOARCH, x.Tier(), bench.CPUName())
	}
	return x, err
}

type versionCmd struct{}

func (versionCmd) Run(e *env) error {
	x, err := printVersion(e.stdout)
	if err != nil {
		return err
	}
	defer x.Close()
	fmt.Fprintf(e.stdout, "%s; kernels: %v (GIMBAL_KERNEL chooses)\n", runs.Plural(runtime.GOMAXPROCS(0), "processor"),
		kernel.Tiers())
	if w := x.Warning(); w != "" {
		fmt.Fprintf(e.stdout, "warning: %s\n", w)
	}
	_, err = io.WriteString(e.stdout, `exit codes:
  0    done
  1    error
  2    usage or configuration
  3    stopped by the guard
  4    data
  5    checkpoint or resume
  6    out of disk or memory, or a device was lost
  70   a fault of the program; what was saved is intact
  75   interrupted, saved and resumable, or before anything was begun
  130  second interrupt
`)
	return err
}

// level is how much the flags want to be told.
func (c *cli) level() screen.Level {
	switch {
	case c.Verbose:
		return screen.Verbose
	case c.Quiet:
		return screen.Quiet
	}
	return screen.Normal
}

type helpCmd struct {
	Command []string `arg:"" optional:"" help:"Command, such as train or data stats."`
}

// Run prints help where flags came before the word; else run does.
func (c *helpCmd) Run(e *env) error {
	if run(append(c.Command, "--help"), e.stdin, e.stdout, io.Discard) != 0 {
		return usageError(fmt.Sprintf("help: there is no command %q", c.Command))
	}
	return nil
}

// Command gimbal trains autoregressive language models on the CPU and keeps them level. "gimbal --help" begins with
// examples.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"gimbal"
	"gimbal/internal/exit"
	"gimbal/internal/par"
	"gimbal/internal/runs"
	"gimbal/internal/screen"
)

func main() {
	par.OnPanic = func(value any, stack []byte) {
		text, code := fatal(value, stack)
		stderr := screen.NewMessages(os.Stderr)
		io.WriteString(stderr, text)
		stderr.Flush(screen.Hasty)
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// cli is the command line: one field per subcommand, one file each.
type cli struct {
	Version_ versionFlag `name:"version" help:"Print the version."`
	Verbose  bool        `short:"v" xor:"level" help:"Print everything: details, settings, every check and look."`
	Quiet    bool        `short:"q" xor:"level" help:"Print errors and results only."`

	Train      trainCmd      `cmd:"" help:"Train a model on text."`
	Resume     resumeCmd     `cmd:"" help:"Continue a run that was interrupted, or extend one that is done."`
	Sample     sampleCmd     `cmd:"" help:"Let a model write."`
	Chat       chatCmd       `cmd:"" help:"Talk with a model."`
	Eval       evalCmd       `cmd:"" help:"Measure a model: its loss and its writing."`
	Review     reviewCmd     `cmd:"" help:"Read a run's samples, worst first, and rate them."`
	Compare    compareCmd    `cmd:"" help:"Compare runs, and tell real differences from noise."`
	Why        whyCmd        `cmd:"" help:"Show what happened in a run, from its log."`
	Runs       runsCmd       `cmd:"" help:"List runs, or delete them."`
	Checkpoint checkpointCmd `cmd:"" help:"List, verify or prune the checkpoints of a run."`
	Doctor     doctorCmd     `cmd:"" help:"Check a run: before its first step, or what is whole of it."`
	Device     deviceCmd     `cmd:"" help:"List accelerators, and test them."`
	Data       dataCmd       `cmd:"" help:"Look at the text before training on it."`
	Import     importCmd     `cmd:"" help:"Import a model in Hugging Face format."`
	Export     exportCmd     `cmd:"" help:"Export a model in Hugging Face format."`
	Bench      benchCmd      `cmd:"" help:"Measure how fast this machine is."`
	Version    versionCmd    `cmd:"" help:"Print the version, the kernels and the exit codes."`
	Completion completionCmd `cmd:"" help:"Print a completion script for bash, zsh or fish."`
	Help       helpCmd       `cmd:"" help:"Print the help of a command."`
	Complete   completeCmd   `cmd:"" hidden:"" passthrough:""`
}

const description = `Trains autoregressive language models, and keeps them level.

Examples:
  gimbal train                           train on the Go sources: 2.5 minutes
  gimbal train --data books/             train on a folder of text
  gimbal train --data books/ --dry-run   print the plan and stop
  gimbal resume runs/books               continue after a stop or a power cut
  gimbal sample runs/books "Once upon"   let the model write
  gimbal chat runs/books                 talk with it
  gimbal eval runs/books --data new.txt  measure it on other text
  gimbal compare runs/a runs/b           see which run is better
  gimbal why runs/books                  see what happened, and why
  gimbal import models/qwen              take a model in Hugging Face format`

// run is the whole program: it returns the exit code.
func run(args []string, stdin io.Reader, results, messages io.Writer) (code int) {
	stderr := screen.NewMessages(messages)
	stdout := screen.NewResults(results, stderr)
	debug.SetPanicOnFault(true) // a mapped file may shrink
	defer func() {
		if v := recover(); v != nil {
			var text string
			text, code = fatal(v, debug.Stack())
			io.WriteString(stderr, text)
		}
		stdout.Flush(screen.Patient)
		stderr.Flush(screen.Patient)
	}()
	var c cli
	exited, exitCode := false, 0
	parser, err := kong.New(&c, kong.Name("gimbal"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true,
			WrapUpperBound: screen.MostWidth}),
		kong.Vars{"top_k": fmt.Sprint(gimbal.DefaultTopK), "temperature": fmt.Sprint(gimbal.DefaultTemperature),
			"max_tokens": fmt.Sprint(gimbal.DefaultMaxTokens),
			"which":      "Checkpoint: stable, best-loss, last or step-N. Default: stable, else last."},
		kong.TypeMapper(reflect.TypeFor[[]string](), kong.MapperFunc(takeStrings)),
		kong.Exit(func(code int) { exited, exitCode = true, code }))
	if err != nil {
		fmt.Fprintf(stderr, "gimbal: error: %v\n", err)
		return exit.Error
	}
	parser.Model.HelpFlag.Help = "Print help."
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help":
		args = append(args[1:len(args):len(args)], "--help")
	}
	k, err := parser.Parse(args)
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr, program: programName(os.Args[0])}
	if exited {
		if err := e.unwritten(); err != nil {
			fmt.Fprintf(stderr, "gimbal: error: %v\n", err)
			return exit.Error
		}
		return exitCode
	}
	if err != nil {
		help := "gimbal"
		if bad := (*kong.ParseError)(nil); errors.As(err, &bad) && bad.Context.Selected() != nil {
			help = bad.Context.Selected().FullPath()
		}
		fmt.Fprintf(stderr, "gimbal: error: %s\ngimbal: hint: \"%s --help\" shows how it is used\n",
			runs.EscapeText(err.Error()), help)
		return exit.Usage
	}
	e.progress = screen.NewProgress(stderr, c.level())
	ctx, stop := interruptible(e)
	defer stop()
	e.ctx = ctx
	err = k.Run(e)
	e.progress.End()
	var own exit.Coder
	switch {
	case err == nil:
		err = e.unwritten()
	case ctx.Err() != nil && !errors.As(err, &own):
		err = &exit.NotBegun{Cause: ctx.Err()}
	}
	if err != nil {
		fmt.Fprintf(stderr, "gimbal: error: %s\n", runs.EscapeText(err.Error()))
		if hint := hintFor(err); hint != "" {
			fmt.Fprintf(stderr, "gimbal: hint: %s\n", hint)
		}
	}
	return exitCodeOf(err)
}

// takeStrings appends the value of a flag that may be repeated, or all of an argument. The library's own would cut
// it at separators, and change bytes that are not UTF-8, which a path may have.
func takeStrings(ctx *kong.DecodeContext, target reflect.Value) error {
	for first := true; first || ctx.Value.Flag == nil && ctx.Scan.Peek().IsValue(); first = false {
		t, err := ctx.Scan.PopValue("value")
		if err != nil {
			return err
		}
		target.Set(reflect.Append(target, reflect.ValueOf(t.String())))
	}
	return nil
}

// fatal is what is printed for a panic, and the exit code: the program itself is wrong, or a file went away.
func fatal(value any, stack []byte) (text string, code int) {
	if err := exit.Shrunk(value); err != nil {
		return fmt.Sprintf("gimbal: error: %v\n", err), exit.Of(err)
	}
	return fmt.Sprintf(`gimbal: error: the program is wrong here: %v

%s
gimbal: hint: report this with the lines above and the run's config.toml, as SECURITY.md says; what a run has saved is
intact, and "gimbal resume" goes on from there
`, value, stack), exit.Fault
}

// usageError is a fault of the words of the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

// exitCodeOf maps an error to its exit code.
func exitCodeOf(err error) int {
	var usage usageError
	if errors.As(err, &usage) {
		return exit.Usage
	}
	return exit.Of(err)
}

// hintFor returns what to do about an error, where the error itself does not say.
func hintFor(err error) string {
	var stop *gimbal.StopError
	switch {
	case errors.As(err, &stop):
		return "report.md and post-mortem.md of the run say what happened; its checkpoints are intact"
	case errors.Is(err, gimbal.ErrNoSpace):
		return "free disk space, then resume the run: what was saved is intact"
	}
	return ""
}

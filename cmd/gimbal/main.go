// Command gimbal trains autoregressive language models on the CPU and keeps
// them level. "gimbal --help" leads with examples.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"gimbal"
	"gimbal/internal/exit"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// cli is the command line: one field per subcommand, one file each.
type cli struct {
	Train   trainCmd   `cmd:"" help:"Train a model on text: a folder, files, or by default the source tree of the installed Go."`
	Resume  resumeCmd  `cmd:"" help:"Continue a run from its newest valid checkpoint, to the same bits as if it had never stopped."`
	Sample  sampleCmd  `cmd:"" help:"Let a model write."`
	Eval    evalCmd    `cmd:"" help:"Measure a model: its loss beside the n-gram baseline, and what it writes beside people's texts."`
	Review  reviewCmd  `cmd:"" help:"Read what a run's model wrote, worst first, and mark it good, repeating, drifting or broken."`
	Compare compareCmd `cmd:"" help:"Show runs side by side with intervals, and say which differences are real."`
	Doctor  doctorCmd  `cmd:"" help:"Check a run, or one to come, on its own model, configuration and data, in seconds: what train and resume check before their first step."`
	Data    dataCmd    `cmd:"" help:"Look at the text before it is trained on: a batch, its statistics, the token caches."`
	Why     whyCmd     `cmd:"" help:"Show what happened in a run, and why: from its log, which is replayed."`
	Runs    runsCmd    `cmd:"" help:"List runs, newest first, and delete them."`
	Bench   benchCmd   `cmd:"" help:"Measure this machine with this program: kernels, training, generation, tokenizer."`
	Import  importCmd  `cmd:"" help:"Make a checkpoint of a Hugging Face model directory: to sample, to measure, to train on."`
	Export  exportCmd  `cmd:"" help:"Write a checkpoint as a Hugging Face model directory."`
	Version versionCmd `cmd:"" help:"Print the version, the kernel tier and the exit codes."`
}

const description = `Trains autoregressive language models on the CPU, and keeps them level.

Examples:
  gimbal train                                train on the Go source tree: 5 minutes, then samples to read
  gimbal train --data books/ --out runs/books train on a folder of text
  gimbal train --data a.txt --dry-run         show the plan, try one step, leave nothing behind
  gimbal doctor --data books/                 check the run before it begins: leaks, labels, rates, memory, disk
  gimbal resume runs/books                    go on after a stop, a kill or a power cut
  gimbal sample runs/books "Once upon"        let the model write
  gimbal eval runs/books --data new.txt       loss and writing on other text, beside n-grams and people
  gimbal review runs/books                    read what it wrote, worst first, and say what it is like
  gimbal compare runs/a runs/b                which run is better, and which differences are real
  gimbal data stats --data books/             what is in a corpus, before it is trained on
  gimbal import models/qwen                   take a Hugging Face model directory; export gives one back
  gimbal why runs/books                       what was seen, what was done, and what it did to the loss
  gimbal runs                                 which runs there are, how they stand, and what they take
  gimbal bench train --model char-10m         how fast this machine trains, and what takes the time`

// env is what a subcommand may touch: where results and messages go, and when to stop.
type env struct {
	ctx    context.Context
	stdin  io.Reader
	stdout io.Writer // results
	stderr io.Writer // messages
}

// run is the whole program: it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c cli
	exited, exitCode := false, 0
	parser, err := kong.New(&c, kong.Name("gimbal"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, Summary: false}), kong.UsageOnError(),
		kong.Vars{"top_k": fmt.Sprint(gimbal.DefaultTopK), "temperature": fmt.Sprint(gimbal.DefaultTemperature),
			"max_tokens": fmt.Sprint(gimbal.DefaultMaxTokens)},
		kong.Exit(func(code int) { exited, exitCode = true, code }))
	if err != nil {
		fmt.Fprintf(stderr, "gimbal: error: %v\n", err)
		return exit.Error
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if exited {
		return exitCode
	}
	if err != nil {
		fmt.Fprintf(stderr, "gimbal: error: %v\ngimbal: hint: \"gimbal --help\" shows examples\n", err)
		return exit.Usage
	}
	ctx, stop := interruptible(stderr)
	defer stop()
	err = k.Run(&env{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr})
	if err != nil {
		fmt.Fprintf(stderr, "gimbal: error: %v\n", err)
		if hint := hintFor(err); hint != "" {
			fmt.Fprintf(stderr, "gimbal: hint: %s\n", hint)
		}
	}
	return exitCodeOf(err)
}

// sameInterrupt is how soon a second signal is taken for an echo of the first: a terminal or a supervisor may send one
// to the process and one to its group.
const sameInterrupt = 500 * time.Millisecond

// interruptible returns a context that the first SIGINT or SIGTERM cancels. A second one leaves at once: what was
// saved is complete, and what was being saved is litter that the next start sweeps.
func interruptible(stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		var first time.Time
		for {
			select {
			case <-done:
				return
			case <-signals:
				if !first.IsZero() {
					if time.Since(first) < sameInterrupt {
						continue
					}
					os.Exit(exit.SecondInterrupt)
				}
				first = time.Now()
				fmt.Fprintln(stderr, "\ngimbal: stopping after this step, saving first (once more: leave at once)")
				cancel()
			}
		}
	}()
	return ctx, func() { signal.Stop(signals); close(done); cancel() }
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
		return "the run's report.md tells what was seen; its checkpoints are intact"
	case errors.Is(err, gimbal.ErrNoSpace):
		return "free some room, then \"gimbal resume RUN\": nothing that was saved is lost"
	}
	return ""
}

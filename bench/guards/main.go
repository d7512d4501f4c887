// Command guards regenerates the proof of the guard: what each fault does to a run without it and with it, and that
// clean runs raise no false alarm. From the root of the module:
//
//	go -C bench run -tags planted ./guards                 # everything
//	go -C bench run -tags planted ./guards -only clean     # clean runs, faults, or G1 to G12
//	go -C bench run -tags planted ./guards -seeds 1 -quick # a tenth of the steps, to see that it works
//
// The tag planted adds the mistakes that the trainer cannot make by itself. Results of finished runs are kept beside
// the report, by what was run: a proof that was interrupted goes on, and one that is repeated under another commit
// starts anew with -fresh. Runs go on side by side, a worker each; their losses do not depend on that.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "guards:", err)
		os.Exit(1)
	}
}

// proof is one run of the command.
type proof struct {
	seeds int
	quick bool
	set   []string // settings of all runs, over their own
	texts texts
	store *store
	work  string // run directories
	log   io.Writer

	streams string // folder of what the guard saw in the runs of life
}

func run(ctx context.Context, args []string, log io.Writer) error {
	if len(args) == 2 && args[0] == childFlag {
		return child(ctx, args[1])
	}
	fs := flag.NewFlagSet("guards", flag.ContinueOnError)
	fs.SetOutput(log)
	only := fs.String("only", "", "parts to run, by comma: clean, life, faults, unseen, G1 … G12, or a fault such as nan-grad; empty: all")
	seeds := fs.Int("seeds", 3, "seeds of each comparison")
	quick := fs.Bool("quick", false, "a tenth of the steps; proves nothing but that the harness works")
	out := fs.String("out", filepath.Join("guards", time.Now().Format(time.DateOnly)),
		"report (OUT.md) and results of the runs (OUT.json)")
	docs := fs.String("docs", "", "page whose table of proof is replaced, such as ../docs/guards.md; empty: none")
	data := fs.String("data", filepath.Join("..", "..", "shared", "data"),
		"folder of texts; without it the Go source tree stands in")
	set := fs.String("set", "", "settings of all runs over their own, by comma, such as optim.kind=muon; "+
		"give another -out with it")
	streams := fs.String("streams", "", "folder of what the guard saw in the runs of life; empty: OUT-streams")
	parallel := fs.Int("parallel", runtime.GOMAXPROCS(0), "runs at a time")
	told := fs.Bool("report", false, "run nothing and write the report of what was run so far")
	fresh := fs.Bool("fresh", false, "forget the results of earlier runs")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *seeds < 1 || *parallel < 1 || fs.NArg() > 0 {
		return errors.New("want at least one seed and one run at a time, and no arguments")
	}
	work, err := os.MkdirTemp("", "guards-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	p := &proof{seeds: *seeds, quick: *quick, work: work, log: log, streams: cmp.Or(*streams, *out+"-streams")}
	if *set != "" {
		p.set = strings.Split(*set, ",")
	}
	if p.texts, err = findTexts(*data, work); err != nil {
		return err
	}
	if p.store, err = openStore(*out+".json", *fresh); err != nil {
		return err
	}
	parts, err := p.choose(*only)
	if err != nil {
		return err
	}
	if !*told {
		if slices.ContainsFunc(parts, func(q part) bool { return q.name() == life{}.name() }) {
			err = p.gather(ctx)
		}
		err = errors.Join(err, p.runAll(ctx, parts, *parallel))
	}
	return errors.Join(err, p.report(parts, *out+".md", *docs))
}

// part is a table of the report.
type part interface {
	name() string
	arms(seeds int) []arm
}

// parts are all tables, in the order in which they are run: what says most about the guard first.
func parts() []part {
	all := []part{cleanRuns{}, life{}, faultTable{faultCases}, unseen{}}
	for _, c := range comparisons() {
		all = append(all, c)
	}
	return all
}

// choose takes the parts, or single faults, that are named.
func (p *proof) choose(only string) (chosen []part, err error) {
	if only == "" {
		return parts(), nil
	}
	for _, name := range strings.Split(only, ",") {
		n := len(chosen)
		for _, q := range parts() {
			if name == q.name() || name == strings.TrimRight(q.name(), "abcd") { // G1 is G1a and the like, and not G10
				chosen = append(chosen, q)
			}
		}
		for _, c := range faultCases {
			if strings.HasPrefix(c.fault, name+"@") {
				chosen = append(chosen, faultTable{[]faultCase{c}})
			}
		}
		if len(chosen) == n {
			return nil, fmt.Errorf("-only: there is no %q", name)
		}
	}
	return chosen, nil
}

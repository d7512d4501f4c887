// Command minutes measures what a learner makes of a few minutes on two cores: bits per byte of held-out text, beside
// n-grams and beside other programs. README.md says how. From the root of the module:
//
//	go build -o /tmp/gimbal ./cmd/gimbal
//	go -C bench run ./minutes -gimbal /tmp/gimbal                 # first round: all candidates, one corpus, one seed
//	go -C bench run ./minutes -gimbal /tmp/gimbal -round second   # its best: all corpora, three seeds
//	go -C bench run ./minutes -gimbal /tmp/gimbal -round last     # the best two: ten minutes
//	go -C bench run ./minutes -python /tmp/peers/bin/python -round peers
//
// A study that was stopped goes on where it was: finished runs and costs of steps are kept beside the report.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "minutes:", err)
		os.Exit(1)
	}
}

// study is one call of the command.
type study struct {
	gimbal, python string
	work           string
	store          *store
	log            io.Writer
	data           string // folder of texts
	refBinary      string // whose default learner is the reference; empty: gimbal
	ref            *process
}

func run(ctx context.Context, args []string, table, log io.Writer) error {
	fs := flag.NewFlagSet("minutes", flag.ContinueOnError)
	fs.SetOutput(log)
	s := &study{log: log}
	fs.StringVar(&s.gimbal, "gimbal", "gimbal", "binary to measure")
	fs.StringVar(&s.refBinary, "reference", "", "binary whose default learner is the reference; empty: that of -gimbal")
	fs.StringVar(&s.python, "python", "python3", "Python with torch and transformers, for the peers")
	fs.StringVar(&s.work, "work", filepath.Join(os.TempDir(), "minutes-work"), "folder for corpora and runs")
	build := fs.String("build", "", "name of the binary in the results; empty: the beginning of its hash")
	round := fs.String("round", "first", "first, second, last or peers")
	only := fs.String("only", "", "regular expression of candidates; empty: all of the round")
	corpora := fs.String("corpora", "", "by comma: go, shakespeare, poems; empty: those of the round")
	seeds := fs.Int("seeds", 0, "seeds of each candidate; 0: those of the round")
	budget := fs.Duration("budget", 0, "time on two quiet cores; 0: that of the round")
	fs.StringVar(&s.data, "data", filepath.Join("..", "..", "shared", "data"), "folder of texts")
	out := fs.String("out", filepath.Join("minutes", time.Now().Format(time.DateOnly)+".json"), "costs and results")
	unit := fs.Bool("calibrate", false, "measure a step of the reference, and train nothing")
	told := fs.Bool("report", false, "train nothing and print the tables of what is finished")
	if err := fs.Parse(args); err != nil {
		return err
	}
	r, ok := rounds[*round]
	match, err := regexp.Compile(*only)
	if !ok || err != nil || fs.NArg() > 0 {
		return errors.Join(fmt.Errorf("-round %s, -only %s: want one of four rounds, an expression, and no arguments",
			*round, *only), err)
	}
	if s.store, err = openStore(*out); err != nil || *told {
		return errors.Join(err, s.store.report(table))
	}
	defer func() {
		if s.ref != nil {
			s.ref.end()
		}
	}()
	if *unit {
		return s.calibrate(ctx)
	}
	r.override(*corpora, *seeds, *budget)
	if r.peers {
		*build = "peers"
	} else if *build == "" {
		if *build, err = hash(s.gimbal); err != nil {
			return err
		}
	}
	chosen := r.choose(s.store, *build)
	if *only != "" { // a person who names some knows better than the round
		chosen = matching(candidates(), match, r.peers)
	}
	jobs, err := s.jobs(ctx, r, chosen, *build)
	if err != nil {
		return err
	}
	return errors.Join(s.runAll(ctx, jobs), s.store.report(table))
}

// jobs prepares the corpora and lists the runs: seed by seed, so that a study that is stopped has something of all.
func (s *study) jobs(ctx context.Context, r round, chosen []candidate, build string) (jobs []job, err error) {
	var folders []folder
	for _, name := range r.corpora {
		f, err := s.folder(ctx, name)
		if err != nil {
			return nil, err
		}
		folders = append(folders, f)
	}
	for seed := 1; seed <= r.seeds; seed++ {
		for _, c := range chosen {
			for _, f := range folders {
				jobs = append(jobs, job{candidate: c, build: build, corpus: f, seed: seed, budget: r.budget})
			}
		}
	}
	return jobs, nil
}

// folder prepares the corpus of a name.
func (s *study) folder(ctx context.Context, name string) (folder, error) {
	t, err := findText(name)
	if err != nil {
		return folder{}, err
	}
	return split(ctx, t, s.data, s.work)
}

// runAll makes the runs that the store does not have, one at a time. One that fails does not hold up the others.
func (s *study) runAll(ctx context.Context, jobs []job) error {
	var errs []error
	for i, j := range jobs {
		if _, ok := s.store.Runs[j.key()]; ok {
			continue
		}
		o, err := s.run(ctx, j)
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", j, err))
			fmt.Fprintln(s.log, errs[len(errs)-1])
			continue
		}
		s.store.Runs[j.key()] = o
		if err := s.store.save(); err != nil {
			return err
		}
		fmt.Fprintf(s.log, "%s %d of %d: %v: %d steps, %.4f bits per byte, %.0f s of CPU, %.0f s\n",
			time.Now().Format(time.TimeOnly), i+1, len(jobs), j, o.Steps, o.Bits, o.CPU, o.Wall)
	}
	return errors.Join(errs...)
}

// hash names a binary by its content.
func hash(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return strings.ToLower(fmt.Sprintf("%x", h.Sum(nil)[:4])), err
}

// Command tune measures fine-tunings: what each rate, in full and with an adapter, gains on a new text and forgets of
// an old one. It runs the gimbal binary, and prints a table. Runs that are in the file of results are not made again.
//
//	go build -o /tmp/gimbal ./cmd/gimbal
//	go -C bench run ./tune -gimbal /tmp/gimbal -results /tmp/tune.jsonl -keep old.jsonl \
//	  -base mini=/tmp/bases/mini -text gsm8k=gsm8k.jsonl -text perlfaq=perlfaq.jsonl -rates 1e-4,3e-4,1e-3
//
// Without -rates each run takes the rate that the plan chooses.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"gimbal/internal/durable"
	"gimbal/internal/evaluate"
	"gimbal/internal/runlog"
)

// job is a run.
type job struct {
	Base, Text, Kind string
	Rate             string // empty: that of the plan
	Seed             int
}

// outcome is what a run came to, in nats per token.
type outcome struct {
	job
	Before    float64 `json:"before"`
	After     float64 `json:"after"`
	Error     float64 `json:"change_se"`
	OldBefore float64 `json:"old_before"`
	OldAfter  float64 `json:"old_after"`
	Events    int     `json:"events"`
}

// names are flags of the form NAME=PATH, in their order.
type names []struct{ name, path string }

func (n *names) String() string { return fmt.Sprint(*n) }

func (n *names) Set(s string) error {
	name, path, ok := strings.Cut(s, "=")
	if !ok {
		return errors.New("want NAME=PATH")
	}
	*n = append(*n, struct{ name, path string }{name, path})
	return nil
}

var (
	binary  = flag.String("gimbal", "gimbal", "binary to measure")
	results = flag.String("results", "tune.jsonl", "file of results, a line for each run")
	keep    = flag.String("keep", "", "old text; empty: what the model writes")
	rates   = flag.String("rates", "", "peak rates, with commas between them; of an adapter, ten times these")
	kinds   = flag.String("kinds", "full,lora", "full, lora or both")
	seeds   = flag.Int("seeds", 1, "seeds of each run")
	steps   = flag.Int("steps", 60, "updates of a run")
	batch   = flag.Int("batch", 2048, "tokens of an update")
	jobs    = flag.Int("jobs", 2, "runs at a time, a thread each; 1: one run with all threads")
	bases   names
	texts   names
)

func main() {
	flag.Var(&bases, "base", "NAME=DIR of weights to begin with; repeatable")
	flag.Var(&texts, "text", "NAME=FILE of text to learn; repeatable")
	flag.Parse()
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tune:", err)
		os.Exit(1)
	}
}

func run(w io.Writer) error {
	have, err := read(*results)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(*results, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	var mu sync.Mutex // of have, f and failed
	var failed error
	var wg sync.WaitGroup
	queue := make(chan job)
	for range *jobs {
		wg.Go(func() {
			for j := range queue {
				o, err := measure(j)
				mu.Lock()
				if err == nil {
					have = append(have, o)
					err = json.NewEncoder(f).Encode(o)
				}
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
	}
	wanted := list()
	made := slices.Clone(have)
	for _, j := range wanted {
		if !slices.ContainsFunc(made, func(o outcome) bool { return o.job == j }) {
			queue <- j
		}
	}
	close(queue)
	wg.Wait()
	table(w, wanted, have)
	return failed
}

// list is the runs that the flags ask for.
func list() (all []job) {
	for _, b := range bases {
		for _, t := range texts {
			for _, kind := range strings.Split(*kinds, ",") {
				for _, rate := range strings.Split(*rates, ",") {
					for seed := 1; seed <= *seeds; seed++ {
						all = append(all, job{Base: b.name, Text: t.name, Kind: kind, Rate: rate, Seed: seed})
					}
				}
			}
		}
	}
	return all
}

// path is that of a name.
func (n names) path(name string) string {
	return n[slices.IndexFunc(n, func(e struct{ name, path string }) bool { return e.name == name })].path
}

// measure makes a run.
func measure(j job) (o outcome, err error) {
	dir, err := os.MkdirTemp("", "tune")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(dir)
	run := filepath.Join(dir, "run")
	args := []string{"train", "--from", bases.path(j.Base), "--data", texts.path(j.Text), "--out", run, "--json", "--quiet", "--seed", fmt.Sprint(j.Seed), "--steps", fmt.Sprint(*steps)}
	set := func(key string, value any) { args = append(args, "--set", fmt.Sprintf("%s=%v", key, value)) }
	set("train.batch_tokens", *batch)
	set("eval.every", *steps)
	set("eval.samples", 1)
	set("eval.prompts", 2)
	set("checkpoint.every", *steps)
	set("judge.early_stop", "off")
	if j.Kind == "lora" {
		set("train.adapter", "lora")
	}
	if j.Rate != "" {
		rate := j.Rate
		if j.Kind == "lora" {
			rate = tenfold(rate)
		}
		set("optim.lr", rate)
	}
	if *keep != "" {
		args = append(args, "--keep", *keep)
	}
	cmd := exec.Command(*binary, args...)
	if *jobs > 1 {
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	}
	var errText bytes.Buffer
	cmd.Stderr = &errText
	out, err := cmd.Output()
	if err != nil {
		return o, fmt.Errorf("%+v: %w: %s", j, err, errText.String())
	}
	var r struct {
		Events int `json:"events"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return o, fmt.Errorf("%+v: %w", j, err)
	}
	log, err := runlog.Read(durable.OS, filepath.Join(run, "log.jsonl"))
	if err != nil {
		return o, err
	}
	evals := runlog.All[runlog.Eval](log)
	first, last := evals[0].Metrics, evals[len(evals)-1].Metrics // the last weights, whatever was chosen
	at := func(m map[string]runlog.Float, name string) float64 { return float64(m[name]) }
	return outcome{job: j, Events: r.Events, Before: at(first, evaluate.MetricSample),
		After: at(last, evaluate.MetricSample), Error: at(last, evaluate.MetricChangeError), OldBefore: at(first, evaluate.MetricOld),
		OldAfter: at(last, evaluate.MetricOld)}, nil
}

// tenfold is ten times a rate.
func tenfold(rate string) string {
	var v float64
	if _, err := fmt.Sscan(rate, &v); err != nil {
		return rate // gimbal says what is wrong with it
	}
	return fmt.Sprint(10 * v)
}

// read returns the outcomes in a file; none where there is no file.
func read(name string) (all []outcome, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var o outcome
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, o)
	}
	return all, lines.Err()
}

// table prints the runs of a setting in a row: the mean over seeds, and the gain of each with its standard error.
func table(w io.Writer, wanted []job, have []outcome) {
	fmt.Fprintln(w, "| weights | text | trained | rate | before | after | gain, each seed | old text | events |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
	for i, j := range wanted {
		if j.Seed != 1 {
			continue
		}
		var rows []outcome
		for ; i < len(wanted) && (wanted[i].Seed > 1 || wanted[i] == j); i++ {
			if k := slices.IndexFunc(have, func(o outcome) bool { return o.job == wanted[i] }); k >= 0 {
				rows = append(rows, have[k])
			}
		}
		if len(rows) == 0 {
			continue
		}
		mean := func(of func(outcome) float64) (m float64) {
			for _, r := range rows {
				m += of(r) / float64(len(rows))
			}
			return m
		}
		var gains []string
		events := 0
		for _, r := range rows {
			gains = append(gains, fmt.Sprintf("%.3f ± %.3f", r.Before-r.After, r.Error))
			events += r.Events
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %.3f | %.3f | %s | %.3f → %.3f | %d |\n", j.Base, j.Text, j.Kind,
			cmp.Or(j.Rate, "planned"), mean(func(o outcome) float64 { return o.Before }),
			mean(func(o outcome) float64 { return o.After }), strings.Join(gains, ", "),
			mean(func(o outcome) float64 { return o.OldBefore }), mean(func(o outcome) float64 { return o.OldAfter }), events)
	}
}

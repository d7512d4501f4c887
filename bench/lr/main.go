// Command lr compares the rules for the peak learning rate on small models, against each other and against a sweep, and
// writes the table of bench/lr. It runs the gimbal binary; each run is one thread, so that times do not decide
// anything.
//
//	go build -o /tmp/gimbal ./cmd/gimbal
//	texts=../../shared/data
//	nice go -C bench run ./lr -gimbal /tmp/gimbal -text $texts/tinyshakespeare.txt -chat $texts/perlfaq.jsonl
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"gimbal/internal/durable"
	"gimbal/internal/runlog"
)

// model is a shape and a size.
type model struct {
	shape         string
	width, layers int
}

// corpus is a text and how it becomes tokens.
type corpus struct{ name, path, tokenizer string }

// point is one measured run.
type point struct{ lr, loss float64 }

var (
	binary = flag.String("gimbal", "gimbal", "binary to measure")
	text   = flag.String("text", "", "first corpus, read as bytes")
	chat   = flag.String("chat", "", "second corpus, with a vocabulary of its own")
	muon   = flag.Bool("muon", false, "sweep the rate of Muon around that of the rule auto instead")
	steps  = flag.Int("steps", 500, "updates of a run")
	seeds  = flag.Int("seeds", 3, "seeds of each arm")
	ramp   = flag.Int("ramp", 200, "steps of the range test, as a run of twenty times as many would make it")
	jobs   = flag.Int("jobs", 2, "runs at a time")
	past   = flag.String("log", "", "what an earlier call said on standard error: its runs are not made again")
	skip   = flag.String("skip", "^$", "regular expression of model, corpus and rule that are left out")
)

// rules are the arms; capped is auto, but no more than the probe of the same seed.
var rules = []string{"article-literal", "article", "auto", "probe", "capped"}

var rates = []string{"5e-4", "1e-3", "2e-3", "4e-3", "8e-3", "1.6e-2", "3.2e-2"}

func main() {
	flag.Parse()
	write := report
	if *muon {
		write = reportMuon
	}
	if err := write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "lr:", err)
		os.Exit(1)
	}
}

func report(w io.Writer) error {
	var models []model
	for _, size := range []model{{"", 64, 2}, {"", 128, 4}} {
		for _, shape := range []string{"qwen3", "llama", "gpt2"} {
			models = append(models, model{shape, size.width, size.layers})
		}
	}
	corpora := []corpus{{"text, bytes", *text, "bytes"}, {"chat, bpe", *chat, "bpe"}}
	results := &table{points: map[key]point{}}
	if err := results.read(*past, models, corpora); err != nil {
		return err
	}
	var work []func() error
	for _, m := range models {
		for _, c := range corpora {
			for seed := 1; seed <= *seeds; seed++ {
				work = append(work, func() error { return arms(results, m, c, seed) })
			}
		}
		for _, lr := range rates {
			work = append(work, func() error { return results.measure(m, corpora[0], 1, "sweep "+lr, lr) })
		}
	}
	if err := each(work); err != nil {
		return err
	}

	fmt.Fprintf(w, "Validation loss in nats per token after %d steps of 768 tokens, mean ± sd of %d seeds, and the mean peak.\n\n", *steps, *seeds)
	fmt.Fprintf(w, "| model | corpus | %s |\n|---|---|%s\n", strings.Join(rules, " | "),
		strings.Repeat("---|", len(rules)))
	excess := map[string][]float64{}
	for _, m := range models {
		for _, c := range corpora {
			fmt.Fprintf(w, "| %s %d × %d | %s |", m.shape, m.layers, m.width, c.name)
			best := math.Inf(1)
			for _, rule := range rules {
				if mean, _, _ := results.mean(m, c, rule); mean > 0 {
					best = min(best, mean)
				}
			}
			for _, rule := range rules {
				mean, sd, lr := results.mean(m, c, rule)
				if mean == 0 {
					fmt.Fprint(w, " – |")
					continue
				}
				excess[rule] = append(excess[rule], mean-best)
				fmt.Fprintf(w, " %.3f ± %.3f (%.2g) |", mean, sd, lr)
			}
			fmt.Fprintln(w)
		}
	}
	fmt.Fprintf(w, "| **nats above the best rule, mean and most** | |")
	for _, rule := range rules {
		sum := 0.0
		for _, e := range excess[rule] {
			sum += e
		}
		fmt.Fprintf(w, " **%.3f**, %.3f |", sum/float64(len(excess[rule])), slices.Max(excess[rule]))
	}
	fmt.Fprintf(w, "\n\nThe sweep behind it, first corpus, seed 1:\n\n| model | %s |\n|---|%s\n",
		strings.Join(rates, " | "), strings.Repeat("---|", len(rates)))
	for _, m := range models {
		fmt.Fprintf(w, "| %s %d × %d |", m.shape, m.layers, m.width)
		for _, lr := range rates {
			if mean, _, _ := results.mean(m, corpora[0], "sweep "+lr); mean > 0 {
				fmt.Fprintf(w, " %.3f |", mean)
			} else {
				fmt.Fprint(w, " – |")
			}
		}
		fmt.Fprintln(w)
	}
	return nil
}

// arms measures every rule on one model, corpus and seed.
func arms(results *table, m model, c corpus, seed int) error {
	for _, rule := range rules {
		lr := rule
		switch rule {
		case "probe":
			if left, err := regexp.MatchString(*skip, fmt.Sprint(m, c.name, rule)); left || err != nil ||
				results.get(m, c, seed, rule).loss > 0 {
				continue
			}
			probed, err := probe(m, c, seed)
			if err != nil {
				return err
			}
			lr = strconv.FormatFloat(probed, 'g', -1, 64)
		case "capped":
			auto, probed := results.get(m, c, seed, "auto"), results.get(m, c, seed, "probe")
			if auto.lr > probed.lr {
				auto = probed
			}
			results.add(m, c, seed, rule, auto)
			continue
		case "article-literal":
			if seed > 1 {
				continue // one is enough to see where it lies
			}
		}
		if err := results.measure(m, c, seed, rule, lr); err != nil {
			return err
		}
	}
	return nil
}

// table holds the point of each model, corpus, rule and seed.
type table struct {
	sync.Mutex
	points map[key]point
}

type key struct {
	m            model
	corpus, rule string
	seed         int
}

func (t *table) add(m model, c corpus, seed int, rule string, p point) {
	t.Lock()
	defer t.Unlock()
	t.points[key{m, c.name, rule, seed}] = p
}

func (t *table) get(m model, c corpus, seed int, rule string) point {
	t.Lock()
	defer t.Unlock()
	return t.points[key{m, c.name, rule, seed}]
}

// line is what is said of a point on standard error, and read back from a log.
var line = regexp.MustCompile(`^(\{.*\}), (.*), seed (\d+), (.*): peak ([^ ]+), loss ([0-9.]+)$`)

func (t *table) read(log string, models []model, corpora []corpus) error {
	if log == "" {
		return nil
	}
	raw, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	for text := range strings.Lines(string(raw)) {
		f := line.FindStringSubmatch(strings.TrimSpace(text))
		if f == nil {
			continue
		}
		seed, err1 := strconv.Atoi(f[3])
		lr, err2 := strconv.ParseFloat(f[5], 64)
		loss, err3 := strconv.ParseFloat(f[6], 64)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		for _, m := range models {
			for _, c := range corpora {
				if fmt.Sprint(m) == f[1] && c.name == f[2] {
					t.add(m, c, seed, f[4], point{lr, loss})
				}
			}
		}
	}
	return nil
}

func (t *table) mean(m model, c corpus, rule string) (mean, sd, lr float64) {
	var list []point
	for seed := 1; seed <= *seeds; seed++ {
		if p := t.get(m, c, seed, rule); p.loss > 0 {
			list = append(list, p)
		}
	}
	for _, p := range list {
		mean, lr = mean+p.loss/float64(len(list)), lr+p.lr/float64(len(list))
	}
	for _, p := range list {
		sd += (p.loss - mean) * (p.loss - mean) / float64(max(1, len(list)-1))
	}
	return mean, math.Sqrt(sd), lr
}

// command is a run of the binary that nothing but the learning rate is to decide: the guard looks on, the judge does
// not stop. Settings come last, over those of all runs.
func command(ctx context.Context, m model, c corpus, seed, steps int, lr, out string, settings ...string) *exec.Cmd {
	args := []string{"train", "--json", "--data", c.path, "--out", out, "--steps", strconv.Itoa(steps), "--seed",
		strconv.Itoa(seed)}
	for _, set := range append([]string{"optim.lr=" + lr, "tokenizer.kind=" + c.tokenizer, "model.shape=" + m.shape,
		fmt.Sprint("model.width=", m.width), fmt.Sprint("model.layers=", m.layers),
		"train.context=64", "train.batch_tokens=768", "guard.mode=observe", "judge.early_stop=off",
		fmt.Sprint("eval.every=", steps), "eval.prompts=1", "eval.samples=1", "eval.max_tokens=1"}, settings...) {
		args = append(args, "--set", set)
	}
	cmd := exec.CommandContext(ctx, *binary, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	return cmd
}

func (t *table) measure(m model, c corpus, seed int, rule, lr string) error {
	if left, err := regexp.MatchString(*skip, fmt.Sprint(m, c.name, rule)); left || err != nil ||
		t.get(m, c, seed, rule).loss > 0 {
		return err
	}
	p, err := train(m, c, seed, lr)
	if err != nil {
		return fmt.Errorf("%v, %s, seed %d, %s: %w", m, c.name, seed, rule, err)
	}
	fmt.Fprintf(os.Stderr, "%v, %s, seed %d, %s: peak %g, loss %.4f\n", m, c.name, seed, rule, p.lr, p.loss)
	t.add(m, c, seed, rule, p)
	return nil
}

// train makes a run: its peak and its loss on the held-out part.
func train(m model, c corpus, seed int, lr string, settings ...string) (p point, err error) {
	dir, err := os.MkdirTemp("", "lr-")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(dir)
	var messages strings.Builder
	cmd := command(context.Background(), m, c, seed, *steps, lr, filepath.Join(dir, "run"), settings...)
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		return p, fmt.Errorf("%w\n%s", err, messages.String())
	}
	var r struct {
		Loss float64 `json:"val_loss"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return p, err
	}
	log, err := runlog.Read(durable.OS, filepath.Join(dir, "run", "log.jsonl"))
	if err != nil {
		return p, err
	}
	for _, s := range runlog.All[runlog.Step](log) {
		p.lr = max(p.lr, float64(s.LR))
	}
	if p.loss = r.Loss; !(p.lr > 0 && p.loss > 0) {
		return p, fmt.Errorf("peak %g and loss %g", p.lr, p.loss)
	}
	return p, nil
}

// probe starts a run of twenty ramps, reads what its range test recommends, and ends it.
func probe(m model, c corpus, seed int) (float64, error) {
	dir, err := os.MkdirTemp("", "lr-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := command(ctx, m, c, seed, 20**ramp, "probe", filepath.Join(dir, "run"))
	messages, err := cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	said := regexp.MustCompile(`peak learning rate ([0-9.e-]+): `)
	lr, lines := 0.0, bufio.NewScanner(messages)
	for lr == 0 && lines.Scan() {
		if found := said.FindStringSubmatch(lines.Text()); found != nil {
			lr, err = strconv.ParseFloat(found[1], 64)
		}
	}
	cancel()
	cmd.Wait() // killed: its error says nothing
	if err != nil || lr == 0 {
		return 0, fmt.Errorf("%v, %s, seed %d: the probe recommended nothing: %v", m, c.name, seed, err)
	}
	return lr, nil
}

// each does the work, a few at a time in its order, and returns the first error.
func each(work []func() error) error {
	next, errs := make(chan func() error), make(chan error, len(work))
	var wg sync.WaitGroup
	for range *jobs {
		wg.Go(func() {
			for f := range next {
				errs <- f()
			}
		})
	}
	for _, f := range work {
		next <- f
	}
	close(next)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Command kills ends gimbal at random moments and in chosen system calls, again and again, and compares what comes
// of it with a run that was left alone: weights, moments, log, marks, report, what is kept, and that nothing is left
// over.
// From the root of the module:
//
//	go -C bench run ./kills -kills 2000            # as many kills
//	go -C bench run ./kills -kills 2000 -for 25m   # but no longer; the same command goes on later
//	go -C bench run ./kills -only mirror -seed 7
//
// Results are kept in OUT, by scenario, seed and trial. Where strace is missing there are only random moments.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "kills:", err)
		os.Exit(1)
	}
}

// result is what came of one trial: a run that was killed several times.
type result struct {
	Scenario string   `json:"scenario"`
	Kills    int      `json:"kills"`    // processes that were killed
	InCalls  int      `json:"in_calls"` // of them in a chosen system call
	Lives    int      `json:"lives"`    // processes
	Wrong    []string `json:"wrong,omitempty"`
}

// book is the file of results.
type book struct {
	mu     sync.Mutex
	path   string
	Trials map[string]result `json:"trials"`
}

func openBook(path string) (*book, error) {
	b := &book{path: path, Trials: map[string]result{}}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, b)
	}
	return b, err
}

func (b *book) put(key string, r result) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Trials[key] = r
	raw, err := json.MarshalIndent(b, "", " ")
	if err == nil {
		err = os.WriteFile(b.path+".new", append(raw, '\n'), 0o666)
	}
	if err == nil {
		err = os.Rename(b.path+".new", b.path)
	}
	return err
}

// kills counts those of all trials.
func (b *book) kills() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.Trials {
		n += r.Kills
	}
	return n
}

func run(ctx context.Context, args []string, log io.Writer) error {
	fs := flag.NewFlagSet("kills", flag.ContinueOnError)
	fs.SetOutput(log)
	kills := fs.Int("kills", 2000, "processes to kill, those of earlier commands included")
	long := fs.Duration("for", 24*time.Hour, "longest time")
	seed := fs.Uint64("seed", 1, "of where processes are killed")
	only := fs.String("only", "", "scenarios, by comma; empty: all")
	out := fs.String("out", filepath.Join("kills", time.Now().Format(time.DateOnly)+".json"), "results")
	parallel := fs.Int("parallel", 1, "trials at a time")
	binary := fs.String("gimbal", "", "program to kill; empty: it is built")
	if err := fs.Parse(args); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "kills-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	h := &harness{work: work, gimbal: *binary, seed: *seed, log: log}
	if h.strace, err = exec.LookPath("strace"); err != nil {
		fmt.Fprintln(log, "strace is missing: only random moments")
	}
	if h.gimbal == "" {
		h.gimbal = filepath.Join(work, "gimbal")
		build := exec.CommandContext(ctx, "go", "build", "-o", h.gimbal, "./cmd/gimbal")
		build.Dir, build.Stderr = "..", log
		if err := build.Run(); err != nil {
			return err
		}
	}
	b, err := openBook(*out)
	if err != nil {
		return err
	}
	if err := h.prepare(ctx); err != nil {
		return err
	}
	defer h.close()
	chosen := scenarios
	if *only != "" {
		chosen = slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool {
			return !slices.Contains(strings.Split(*only, ","), s.name)
		})
	}
	if len(chosen) == 0 {
		return fmt.Errorf("-only: there is no %q", *only)
	}
	until := time.Now().Add(*long)
	var wg sync.WaitGroup
	var next sync.Mutex
	n := 0
	errs := make([]error, *parallel)
	for w := range *parallel {
		wg.Go(func() {
			for ctx.Err() == nil && time.Now().Before(until) && b.kills() < *kills {
				next.Lock()
				s, trial := chosen[n%len(chosen)], n/len(chosen)
				n++
				next.Unlock()
				key := fmt.Sprintf("%s/%d/%d", s.name, *seed, trial)
				if _, done := b.Trials[key]; done {
					continue
				}
				r := h.trial(ctx, s, trial)
				if ctx.Err() != nil {
					return
				}
				for _, wrong := range r.Wrong {
					fmt.Fprintf(log, "%s: %s\n", key, wrong)
				}
				if errs[w] = b.put(key, r); errs[w] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	b.tell(log)
	return errors.Join(errs...)
}

// tell writes the table of results.
func (b *book) tell(w io.Writer) {
	sums := map[string]result{}
	trials := map[string]int{}
	for _, r := range b.Trials {
		for _, name := range []string{r.Scenario, "~ all"} {
			s := sums[name]
			s.Kills, s.InCalls, s.Lives = s.Kills+r.Kills, s.InCalls+r.InCalls, s.Lives+r.Lives
			s.Wrong = append(s.Wrong, r.Wrong...)
			sums[name] = s
			trials[name]++
		}
	}
	fmt.Fprint(w, "| scenario | trials | kills | in system calls | processes | differences |\n"+
		"|---|---|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		s := sums[name]
		fmt.Fprintf(w, "| %s | %d | %d | %d | %d | %d |\n", strings.TrimPrefix(name, "~ "), trials[name], s.Kills,
			s.InCalls, s.Lives, len(s.Wrong))
	}
}

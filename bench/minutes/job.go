package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	workers = 2 // threads of every learner, and cores of the budget

	exitGuard = 3 // of gimbal
)

// job is a candidate on a corpus with a seed, for a budget of time on as many quiet cores as there are workers.
type job struct {
	candidate
	build  string
	corpus folder
	seed   int
	budget time.Duration
}

func (j job) String() string {
	return fmt.Sprintf("%s, %s, %s, seed %d, %s", j.name, j.build, j.corpus.name, j.seed, j.budget)
}

// steps is what a budget buys. A step costs processor time, so that other programs do not make it dearer.
func steps(budget time.Duration, stepCPU float64) int64 {
	return max(1, int64(math.Floor(workers*budget.Seconds()/stepCPU)))
}

// command is a process of the machine's two cores.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	n := strconv.Itoa(workers)
	// A thread of OpenMP that waits is to sleep: its spinning would count as work.
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+n, "OMP_NUM_THREADS="+n, "OMP_WAIT_POLICY=PASSIVE",
		"TOKENIZERS_PARALLELISM=false", "HF_HUB_OFFLINE=1")
	return cmd
}

// train is the command that trains with gimbal. It measures once, at the end.
func (s *study) train(ctx context.Context, j job, steps int64, dir string) *exec.Cmd {
	n := strconv.FormatInt(steps, 10)
	args := []string{"train", "--json", "--data", j.corpus.dir, "--out", dir, "--steps", n,
		"--seed", strconv.Itoa(j.seed)}
	for _, kv := range append(j.settings(j.corpus.text), "eval.every="+n) {
		args = append(args, "--set", kv)
	}
	return command(ctx, s.gimbal, args...)
}

// peer is the command that trains with another program.
func (s *study) peer(ctx context.Context, j job, args ...string) (*exec.Cmd, error) {
	tok, err := s.tokenizer(ctx, j.corpus)
	if err != nil {
		return nil, err
	}
	args = append([]string{filepath.Join("minutes", "peers.py"), j.peer, "--corpus", j.corpus.dir, "--tokenizer", tok,
		"--threads", strconv.Itoa(workers), "--seed", strconv.Itoa(j.seed)}, args...)
	return command(ctx, s.python, args...), nil
}

// run trains a job and measures it.
func (s *study) run(ctx context.Context, j job) (outcome, error) {
	c, err := s.cost(ctx, j)
	if err != nil {
		return outcome{}, err
	}
	o := outcome{Candidate: j.name, Build: j.build, Corpus: j.corpus.name, Seed: j.seed, Budget: j.budget,
		StepCost: c.CPU, Steps: steps(j.budget, c.CPU)}
	dir, err := os.MkdirTemp(s.work, "run-")
	if err != nil {
		return outcome{}, err
	}
	defer os.RemoveAll(dir)
	cmd := s.train(ctx, j, o.Steps, filepath.Join(dir, "run"))
	if j.peer != "" {
		if cmd, err = s.peer(ctx, j, "--steps", strconv.FormatInt(o.Steps, 10)); err != nil {
			return outcome{}, err
		}
	}
	began := time.Now()
	out, err := output(cmd)
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == exitGuard {
		o.Stopped = "by the guard"
		return o, nil
	}
	if err != nil {
		return outcome{}, err
	}
	o.Wall = time.Since(began).Seconds()
	o.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return o, o.read(out, j.corpus)
}

// read takes what a learner printed. It refuses what was measured on other bytes than the rest of the study, and a run
// of other steps.
func (o *outcome) read(out []byte, f folder) error {
	done := struct {
		*outcome
		Step int64 `json:"step"`
	}{outcome: o}
	if err := json.Unmarshal(out, &done); err != nil {
		return err
	}
	bytes := o.Loss * float64(o.ValTokens) / (math.Ln2 * o.Bits)
	if !(math.Abs(bytes-float64(f.valBytes)) < 0.5) {
		return fmt.Errorf("%.1f held-out bytes were measured, not the %d of %s", bytes, f.valBytes, f.name)
	}
	if done.Step != o.Steps {
		return fmt.Errorf("%d steps were made, not %d", done.Step, o.Steps)
	}
	return nil
}

// output runs a command and returns what it printed. Its error ends with the last lines of its messages.
func output(cmd *exec.Cmd) ([]byte, error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return nil, fmt.Errorf("%w\n%s", err, strings.Join(lines[max(0, len(lines)-8):], "\n"))
	}
	return out, nil
}

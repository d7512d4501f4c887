package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gimbal"
	"gimbal/internal/durable"
	"gimbal/internal/runlog"
)

// runAll runs the arms of the parts that have no result yet, as many at a time as parallel says.
func (p *proof) runAll(ctx context.Context, parts []part, parallel int) error {
	var todo []arm
	for n := 1; n <= p.seeds; n++ { // of all comparisons one seed before the next
		for _, q := range parts {
			for _, a := range q.arms(n) {
				a = p.version(a)
				known := slices.ContainsFunc(todo, func(b arm) bool { return b.key() == a.key() })
				if _, done := p.store.get(a); !done && !known {
					todo = append(todo, a)
				}
			}
		}
	}
	fmt.Fprintf(p.log, "%d runs to do\n", len(todo))
	queue := make(chan arm)
	errs := make([][]error, parallel)
	var wg sync.WaitGroup
	for w := range parallel {
		wg.Go(func() {
			for a := range queue {
				if ctx.Err() != nil {
					continue
				}
				if err := p.trial(ctx, a); err != nil && ctx.Err() == nil {
					fmt.Fprintf(p.log, "%s: %v\n", a.label, err)
					errs[w] = append(errs[w], fmt.Errorf("%s: %w", a.label, err))
				}
			}
		})
	}
	for _, a := range todo {
		queue <- a
	}
	close(queue)
	wg.Wait()
	return errors.Join(append(slices.Concat(errs...), ctx.Err())...)
}

// trial runs one arm and keeps what became of it. A run that fails because of its fault is a result; one that cannot be
// started, or is interrupted, is an error.
func (p *proof) trial(ctx context.Context, a arm) error {
	dir, err := os.MkdirTemp(p.work, "arm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := &runner{texts: p.texts, arm: a, dir: filepath.Join(dir, "run")}
	began := time.Now()
	o, err := r.run(ctx)
	if err != nil {
		return err
	}
	o.Seconds = math.Round(10*time.Since(began).Seconds()) / 10
	fmt.Fprintf(p.log, "%s  %-44s loss %.4f  %s  %s  (%.0f s)\n", time.Now().Format("15:04:05"), a.label,
		float64(o.Loss), o.Reason, o.codes(), o.Seconds)
	return p.store.put(a, o)
}

// runner runs one arm in one directory.
type runner struct {
	texts texts
	arm   arm
	dir   string
}

func (r *runner) run(ctx context.Context) (outcome, error) {
	switch r.arm.How {
	case howKill:
		return r.killed(ctx)
	case howRestart:
		return r.restarted(ctx)
	}
	res, err := r.train(ctx, r.dir, r.arm)
	var refused *gimbal.RefusedError
	switch {
	case errors.As(err, &refused):
		return outcome{Loss: runlog.Float(math.NaN()), Reason: "refused: " + refused.Failed[0].Code, Scale: 1}, nil
	case res == nil:
		return outcome{}, err
	}
	if ctx.Err() != nil {
		return outcome{}, ctx.Err()
	}
	return r.measure(ctx, res)
}

// train runs an arm in this process. The result is nil where it could not be started.
func (r *runner) train(ctx context.Context, dir string, a arm) (*gimbal.Result, error) {
	opt := gimbal.TrainOptions{Set: r.texts.fill(a.Set), Out: dir, Inject: a.Inject, Workers: 1}
	if len(a.Base) > 0 {
		opt.From = dir + "-base"
		if res, err := r.train(ctx, opt.From, arm{Set: a.Base}); err != nil {
			return res, err
		}
	}
	res, err := gimbal.Train(ctx, opt)
	var faults *gimbal.ConfigError
	if res == nil && errors.As(err, &faults) && strings.Contains(err.Error(), "no such fault") {
		err = fmt.Errorf("%w (the mistakes that construction forbids need -tags planted)", err)
	}
	return res, err
}

// measure reads what became of a run from its directory.
func (r *runner) measure(ctx context.Context, res *gimbal.Result) (outcome, error) {
	o := outcome{Loss: runlog.Float(math.NaN()), Reason: res.Reason, Step: res.Step}
	l, err := runlog.Read(durable.OS, filepath.Join(r.dir, "log.jsonl"))
	if err != nil {
		return o, err
	}
	o.read(l)
	switch {
	case res.Reason == "done" && res.ValLoss > 0:
		o.Loss = runlog.Float(res.ValLoss)
	case res.Reason == "done" || res.Reason == "stopped early":
		last, err := gimbal.Evaluate(ctx, r.dir, gimbal.EvalOptions{Checkpoint: "last", Workers: 1})
		if err != nil {
			return o, err
		}
		o.Loss = runlog.Float(last.Loss)
	}
	if slices.ContainsFunc(r.arm.Set, func(s string) bool { return strings.HasPrefix(s, "judge.select") }) {
		chosen, err := gimbal.Evaluate(ctx, r.dir, gimbal.EvalOptions{Workers: 1})
		if err != nil {
			return o, err
		}
		o.Stable = runlog.Float(chosen.Loss)
	}
	if slices.Contains(r.arm.Set, "data.paths=$grammar") && !math.IsNaN(float64(o.Loss)) {
		if err := o.write(ctx, r.dir); err != nil {
			return o, err
		}
	}
	o.Whole, err = wholeCheckpoints(r.dir)
	return o, err
}

// read takes from the log what a table may tell.
func (o *outcome) read(l *runlog.Log) {
	var speeds []float64
	o.Scale = 1
	for _, s := range runlog.All[runlog.Step](l) {
		o.Made++
		o.Tokens = s.Tokens
		o.Peak = max(o.Peak, s.LR)
		speeds = append(speeds, float64(s.TokensPerSecond))
		if o.Scale = 1; s.LRScale != 0 {
			o.Scale = s.LRScale
		}
	}
	o.Refused = len(runlog.All[runlog.Refused](l))
	o.Made += int64(o.Refused)
	o.Rewinds = len(runlog.All[runlog.Rewind](l))
	for _, e := range runlog.All[runlog.Event](l) {
		o.Events = append(o.Events, seen{e.Code, e.Severity, e.Step, e.Injected, e.Tensor, e.Message})
	}
	if evals := runlog.All[runlog.Eval](l); len(evals) > 0 {
		o.Metrics = map[string]runlog.Float{}
		for _, name := range []string{"rep3", "rep4", "finish_rate", "consistency"} {
			if v, ok := evals[len(evals)-1].Metrics[name]; ok {
				o.Metrics[name] = v
			}
		}
	}
	if len(speeds) > 0 {
		slices.Sort(speeds)
		o.Speed = math.Round(speeds[len(speeds)-1-len(speeds)/10])
	}
}

// write lets the model write documents of the grammar, and counts the right ones that end.
func (o *outcome) write(ctx context.Context, dir string) error {
	m, err := gimbal.Open(dir, gimbal.OpenOptions{Checkpoint: "last"})
	if err != nil {
		return err
	}
	defer m.Close()
	const samples = 300
	list, err := m.Generate(ctx, "", gimbal.GenerateOptions{Samples: samples, TopK: -1, Temperature: 0.5, MaxTokens: 60,
		Seed: 1})
	if err != nil {
		return err
	}
	n := 0
	for _, t := range list {
		if t.Finish == "eos" && right(t.Text) {
			n++
		}
	}
	o.Right = runlog.Float(float64(n) / samples)
	return nil
}

// wholeCheckpoints counts the checkpoints that can be opened, which verifies them.
func wholeCheckpoints(dir string) (n int, err error) {
	list, err := filepath.Glob(filepath.Join(dir, "checkpoints", "step-*"))
	if err != nil {
		return 0, err
	}
	for _, path := range list {
		m, err := gimbal.Open(path, gimbal.OpenOptions{})
		var broken *gimbal.CheckpointError
		if errors.As(err, &broken) {
			continue
		}
		if err != nil {
			return 0, err
		}
		m.Close()
		n++
	}
	return n, nil
}

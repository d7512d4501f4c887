package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	costWindow = 10 // steps that are timed at a time
	costTimes  = 7  // windows of a learner, each beside one of the reference
	costUnit   = 20 // windows of the reference alone; the cheapest counts, because what disturbs only adds
)

// free are the beginnings of settings that a step costs the same with: learners that differ in nothing else share a
// cost, and so make the same number of steps.
var free = []string{"schedule.", "optim.lr=", "optim.beta", "optim.weight_decay=", "optim.clip=",
	"optim.momentum="}

// costKey names all that a step's cost depends on, beside the machine. Names of candidates are not in it.
func (j job) costKey() string {
	return strings.Join([]string{j.build, strings.Join(slices.DeleteFunc(j.what(), func(s string) bool {
		return slices.ContainsFunc(free, func(p string) bool { return strings.HasPrefix(s, p) })
	}), " "), j.corpus.name}, " | ")
}

// what is the recipe of a peer, or the settings of a run.
func (j job) what() []string {
	if j.peer != "" {
		return []string{j.peer}
	}
	return j.settings(j.corpus.text)
}

// cost returns what a step of a learner takes, from the store or measured now: its CPU time over that of the
// reference, window by window in turn, times what a step of the reference takes on a quiet machine. So other programs,
// which make every step dearer, do not matter.
func (s *study) cost(ctx context.Context, j job) (cost, error) {
	if c, ok := s.store.Costs[j.costKey()]; ok {
		return c, nil
	}
	if s.store.Unit.CPU == 0 {
		return cost{}, errors.New("no step of the reference was measured yet: use -calibrate on a quiet machine first")
	}
	c := newCost()
	usual := job{candidate: learners[0], build: j.build, corpus: folder{text: texts[0]}}
	if j.costKey() == usual.costKey() && cmp.Or(s.refBinary, s.gimbal) == s.gimbal {
		c.Ratio, c.CPU = 1, s.store.Unit.CPU // the reference itself
		s.store.Costs[j.costKey()] = c
		return c, s.store.save()
	}
	ref, err := s.reference(ctx)
	if err != nil {
		return c, fmt.Errorf("reference: %w", err)
	}
	p, err := s.start(ctx, j)
	if err != nil {
		return c, err
	}
	defer p.end()
	var ratios []float64
	for range costTimes {
		theirs, err := ref.window(ctx, costWindow)
		if err != nil {
			return c, err
		}
		own, err := p.window(ctx, costWindow)
		if err != nil {
			return c, err
		}
		ratios = append(ratios, own/theirs)
	}
	slices.Sort(ratios)
	c.Ratio, c.Low, c.High = ratios[costTimes/2], ratios[costTimes/4], ratios[costTimes-1-costTimes/4]
	c.CPU = c.Ratio * s.store.Unit.CPU
	fmt.Fprintf(s.log, "%s on %s: a step costs %.4f s of CPU, %.3f (%.3f to %.3f) of the reference, load %s\n", j.name,
		j.corpus.name, c.CPU, c.Ratio, c.Low, c.High, c.Load)
	s.store.Costs[j.costKey()] = c
	return c, s.store.save()
}

// calibrate measures a step of the reference. What was measured before stays if it was cheaper, because that machine
// was quieter.
func (s *study) calibrate(ctx context.Context) error {
	if len(s.store.Runs) > 0 {
		return errors.New("-calibrate: there are runs already, whose budgets it would change; use another -out")
	}
	c := newCost()
	ref, err := s.reference(ctx)
	if err != nil {
		return err
	}
	c.CPU = math.Inf(1)
	for range costUnit {
		cpu, err := ref.window(ctx, costWindow)
		if err != nil {
			return err
		}
		c.CPU = min(c.CPU, cpu/costWindow)
	}
	fmt.Fprintf(s.log, "a step of the reference costs %.4f s of CPU, load %s; before: %.4f\n", c.CPU, c.Load,
		s.store.Unit.CPU)
	if s.store.Unit.CPU == 0 || c.CPU < s.store.Unit.CPU {
		c.Ratio = 1
		s.store.Unit = c
	}
	return s.store.save()
}

// reference is the default learner on the Go source. It sleeps between measurements, until the command ends.
func (s *study) reference(ctx context.Context) (*process, error) {
	if s.ref != nil {
		return s.ref, nil
	}
	f, err := s.folder(ctx, texts[0].name)
	if err != nil {
		return nil, err
	}
	with := *s
	with.gimbal = cmp.Or(s.refBinary, s.gimbal)
	s.ref, err = with.start(ctx, job{candidate: learners[0], corpus: f, seed: 1})
	return s.ref, err
}

// tokenizer is Gimbal's for a corpus, which the peers read too. It is made where it is not there.
func (s *study) tokenizer(ctx context.Context, f folder) (string, error) {
	path := filepath.Join(s.work, f.name+"-tokenizer.json")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	p, err := s.start(ctx, job{candidate: learners[0], corpus: f, seed: 1})
	if err != nil {
		return "", err
	}
	defer p.end()
	raw, err := os.ReadFile(filepath.Join(p.dir, "run", "tokenizer.json"))
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, raw, 0o666)
}

func newCost() cost {
	return cost{Load: load(), When: time.Now().UTC().Format("2006-01-02 15:04"), On: processor()}
}

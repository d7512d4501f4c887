package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gimbal"
	"gimbal/internal/durable"
	"gimbal/internal/runlog"
)

// childFlag makes the command train one arm and end: what is killed must be a process.
const childFlag = "-child"

// order is what a child does.
type order struct {
	Texts  texts
	Arm    arm
	Dir    string
	Resume bool
}

func child(ctx context.Context, path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var o order
	if err := json.Unmarshal(raw, &o); err != nil {
		return err
	}
	if o.Resume {
		_, err = gimbal.Resume(ctx, o.Dir, gimbal.ResumeOptions{Workers: 1})
		return err
	}
	r := &runner{texts: o.Texts}
	_, err = r.train(ctx, o.Dir, o.Arm)
	return err
}

// kill lets a child train, and kills it when its log has come to a step; 0 lets it end.
func (r *runner) kill(ctx context.Context, resume bool, step int64) error {
	raw, err := json.Marshal(order{r.texts, arm{Set: r.arm.Set, Inject: r.arm.Inject}, r.dir, resume})
	if err != nil {
		return err
	}
	path := r.dir + ".order"
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, self, childFlag, path)
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil || step > 0 {
				return fmt.Errorf("the child ended by itself before step %d: %v: %s", step, err, &said)
			}
			return nil
		case <-tick.C:
			if step > 0 && lastStep(r.dir) >= step {
				if err := cmd.Process.Kill(); err != nil {
					return err
				}
				<-ended
				return nil
			}
		}
	}
}

// lastStep is the last whole step in the log of a run, which may not be there yet.
func lastStep(dir string) int64 {
	raw, err := os.ReadFile(filepath.Join(dir, "log.jsonl"))
	if err != nil {
		return 0
	}
	last := int64(0)
	for line := range bytes.Lines(raw) {
		var s runlog.Step
		if json.Unmarshal(line, &s) == nil && s.Kind == "step" {
			last = s.Step
		}
	}
	return last
}

// killed runs an arm that is killed twice and resumed, beside the same one left alone, and compares the two.
func (r *runner) killed(ctx context.Context) (outcome, error) {
	alone := *r
	alone.dir, alone.arm.How = r.dir+"-alone", ""
	if res, err := alone.train(ctx, alone.dir, alone.arm); err != nil {
		return outcome{}, fmt.Errorf("%v: %w", res, err)
	}
	for i, at := range []int64{r.arm.At, r.arm.At + r.arm.At/3, 0} {
		if err := r.kill(ctx, i > 0, at); err != nil {
			return outcome{}, err
		}
	}
	o, err := r.measure(ctx, &gimbal.Result{Reason: "done", Step: lastStep(r.dir)})
	if err != nil {
		return o, err
	}
	o.Processes = 3
	o.Same, err = sameRuns(alone.dir, r.dir)
	return o, err
}

// sameRuns compares weights and moments of the last checkpoints byte by byte, and the logs as docs/format/log.md says.
func sameRuns(a, b string) (bool, error) {
	last := func(dir string) string {
		return filepath.Join(dir, "checkpoints", fmt.Sprintf("step-%d", lastStep(dir)))
	}
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		x, err := os.ReadFile(filepath.Join(last(a), name))
		if err != nil {
			return false, err
		}
		y, err := os.ReadFile(filepath.Join(last(b), name))
		if err != nil {
			return false, err
		}
		if !bytes.Equal(x, y) {
			return false, nil
		}
	}
	var logs [2]*runlog.Log
	for i, dir := range []string{a, b} {
		var err error
		if logs[i], err = runlog.Read(durable.OS, filepath.Join(dir, "log.jsonl")); err != nil {
			return false, err
		}
	}
	return runlog.Identical(logs[0], logs[1]) == nil, nil
}

// restarted kills a run and trains the rest of its steps from its newest weights, as one does who saved nothing else:
// new moments, a new schedule, the data from the beginning.
func (r *runner) restarted(ctx context.Context) (outcome, error) {
	if err := r.kill(ctx, false, r.arm.At); err != nil {
		return outcome{}, err
	}
	m, err := gimbal.Open(r.dir, gimbal.OpenOptions{Checkpoint: "last"})
	if err != nil {
		return outcome{}, err
	}
	step := m.Info().Step
	m.Close()
	set := slices.Clone(r.arm.Set)
	i := slices.IndexFunc(set, func(s string) bool { return strings.HasPrefix(s, "train.steps=") })
	var steps int64
	if _, err := fmt.Sscanf(set[i], "train.steps=%d", &steps); err != nil {
		return outcome{}, err
	}
	set[i] = fmt.Sprintf("train.steps=%d", steps-step)
	set = slices.DeleteFunc(set, func(s string) bool { // the checkpoint says these
		return strings.HasPrefix(s, "model.") || strings.HasPrefix(s, "tokenizer.")
	})
	rest := *r
	rest.dir = r.dir + "-rest"
	res, err := gimbal.Train(ctx, gimbal.TrainOptions{Set: r.texts.fill(set), Out: rest.dir, From: r.dir, Workers: 1})
	if err != nil {
		return outcome{}, err
	}
	o, err := rest.measure(ctx, res)
	o.Processes = 2
	return o, err
}

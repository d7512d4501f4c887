package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// scenario is what is killed.
type scenario struct {
	name   string
	set    []string // settings of a run, over those of all
	inject string
	mirror bool     // it has a second copy, which stands in where the machine is lost
	tool   []string // a command that makes directory OUT of the directory in its place FROM; nil: training
}

// common are settings of all runs: a moment long, with many saves.
var common = []string{`data.separator="\n\n"`, "tokenizer.kind=bytes", "model.layers=1", "model.width=16",
	"model.heads=1", "model.mlp=32", "train.context=32", "train.batch_tokens=128", "optim.lr=1e-3",
	"checkpoint.keep=2", "eval.prompts=1",
	"eval.samples=1", "eval.max_tokens=4", "numeric.mode=fp32", "judge.early_stop=off", "data.val_fraction=0.05"}

var scenarios = []scenario{
	{name: "training", set: []string{"train.steps=40", "checkpoint.every=2", "eval.every=20"}},
	{name: "beside", set: []string{"train.steps=60", "checkpoint.every=1", "eval.every=60", "model.width=128",
		"model.mlp=256"}},
	{name: "evaluation", set: []string{"train.steps=12", "checkpoint.every=12", "eval.every=2", "eval.prompts=4",
		"eval.samples=4", "eval.max_tokens=24"}},
	{name: "rewind", inject: "poison-batches@80", set: []string{"train.steps=130", "train.batch_tokens=768",
		"schedule.warmup=20", "optim.lr=0.003", "eval.every=1000", "checkpoint.every=20", "model.layers=2",
		"model.heads=2"}},
	{name: "export", tool: []string{"export", "FROM", "OUT"}},
	{name: "import", tool: []string{"import", "FROM", "--out", "OUT"}},
	{name: "mirror", mirror: true, set: []string{"train.steps=30", "checkpoint.every=5", "eval.every=15"}},
}

const (
	killsOfTrial = 8
	stuck        = 5 * time.Minute // longer than any life on a busy machine
)

// calls are those in which a process is killed: the ones that change the disk.
var calls = []string{"openat", "write", "fsync", "renameat", "renameat2", "unlinkat", "mkdirat", "close", "flock"}

type harness struct {
	work, gimbal, strace string
	seed                 uint64
	log                  io.Writer
	server               *httptest.Server
	alone                map[string]string        // what was made without a kill, by scenario
	took                 map[string]time.Duration // by such a process
}

// prepare makes what is compared with.
func (h *harness) prepare(ctx context.Context) error {
	var text strings.Builder
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 900 {
		fmt.Fprintf(&text, "%d: %s sees %d %s.\n\n", i, []string{"ann", "bob", "eve"}[r.IntN(3)], r.IntN(90),
			[]string{"cats", "dogs", "old houses by the sea"}[r.IntN(3)])
	}
	if err := os.WriteFile(filepath.Join(h.work, "text.txt"), []byte(text.String()), 0o666); err != nil {
		return err
	}
	h.server = httptest.NewServer(gofakes3.New(s3mem.New(), gofakes3.WithAutoBucket(true)).Server())
	h.alone, h.took = map[string]string{}, map[string]time.Duration{}
	for _, s := range scenarios {
		dir := filepath.Join(h.work, s.name+"-alone", "made")
		if err := os.Mkdir(filepath.Dir(dir), 0o777); err != nil {
			return err
		}
		h.alone[s.name] = dir
		began := time.Now()
		said, err := h.start(ctx, "", s.command(h, dir, "alone")...).end(0)
		if err != nil {
			return fmt.Errorf("%s: %w: %s", s.name, err, said)
		}
		h.took[s.name] = time.Since(began)
		raw, _ := os.ReadFile(filepath.Join(dir, "log.jsonl"))
		if s.inject != "" && !bytes.Contains(raw, []byte(`"kind":"rewind"`)) {
			return fmt.Errorf("%s: there was none", s.name)
		}
	}
	return nil
}

func (h *harness) close() { h.server.Close() }

func (s scenario) url(id string) string { return "s3://kills/" + s.name + "/" + id }

// command begins a scenario in dir.
func (s scenario) command(h *harness, dir, id string) []string {
	if s.tool != nil {
		from := h.alone["training"]
		if s.name == "import" {
			from = h.alone["export"]
		}
		return strings.Split(strings.NewReplacer("FROM", from, "OUT", dir).Replace(strings.Join(s.tool, "\x00")),
			"\x00")
	}
	args := []string{"train", filepath.Join(h.work, "text.txt"), "--out", dir}
	if s.inject != "" {
		args = append(args, "--inject", s.inject)
	}
	all := slices.Concat(common, s.set)
	if s.mirror {
		all = append(all, "checkpoint.mirror="+s.url(id))
	}
	for _, set := range all {
		args = append(args, "--set", set)
	}
	return args
}

// life is a process.
type life struct {
	cmd  *exec.Cmd
	said *bytes.Buffer
	err  error
}

// start begins a life, in which call is where it is killed, as strace writes it; empty: nowhere.
func (h *harness) start(ctx context.Context, call string, args ...string) *life {
	all := append([]string{h.gimbal}, args...)
	if call != "" {
		all = append([]string{h.strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace=" + strings.SplitN(call, ":", 2)[0],
			"-e", "inject=" + call}, all...)
	}
	l := &life{cmd: exec.CommandContext(ctx, all[0], all[1:]...), said: &bytes.Buffer{}}
	l.cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(h.work, "cache"), "AWS_ENDPOINT_URL="+h.server.URL,
		"AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=us-east-1")
	l.cmd.Stdout, l.cmd.Stderr = l.said, l.said
	l.err = l.cmd.Start()
	return l
}

var errStuck = errors.New("stuck")

// end waits for a life, and ends it after a while; 0: when it is stuck.
func (l *life) end(after time.Duration) (said string, err error) {
	if l.err != nil {
		return "", l.err
	}
	limit := after
	if limit == 0 {
		limit = stuck
	}
	timer := time.AfterFunc(limit, func() { l.cmd.Process.Kill() })
	err = l.cmd.Wait()
	if !timer.Stop() && after == 0 {
		err = errStuck
	}
	return l.said.String(), err
}

// killed reports whether a life did not end by itself.
func killed(err error) bool {
	var e *exec.ExitError
	return errors.As(err, &e) && (e.ExitCode() == -1 || e.ExitCode() == 137)
}

// trial kills a scenario several times, lets it end, and compares.
func (h *harness) trial(ctx context.Context, s scenario, n int) (r result) {
	r.Scenario = s.name
	rnd := rand.New(rand.NewPCG(h.seed, uint64(n)<<8+uint64(len(s.name))<<1+uint64(s.name[0])))
	parent := filepath.Join(h.work, fmt.Sprintf("%s-%d", s.name, n))
	dir, id := filepath.Join(parent, "made"), fmt.Sprint(n)
	wrong := func(format string, args ...any) { r.Wrong = append(r.Wrong, fmt.Sprintf(format, args...)) }
	if err := os.Mkdir(parent, 0o777); err != nil {
		wrong("%v", err)
		return r
	}
	defer os.RemoveAll(parent)
	for lost := false; ; {
		if s.mirror && r.Kills > 0 && !lost && rnd.IntN(3) == 0 { // the machine is lost
			lost = true
			if err := os.RemoveAll(dir); err != nil {
				wrong("%v", err)
			}
		}
		if _, err := os.Stat(dir); err == nil {
			lost = false
		}
		args := s.next(h, dir, id)
		if lost {
			args = []string{"resume", s.url(id), "--out", dir}
		}
		call, after := "", time.Duration(0)
		if r.Kills < killsOfTrial {
			if h.strace != "" && rnd.IntN(2) == 0 {
				call = fmt.Sprintf("%s:signal=KILL:when=%d", calls[rnd.IntN(len(calls))], 1+rnd.IntN(1+rnd.IntN(30)))
			} else {
				after = time.Duration(float64(h.took[s.name]) * (0.05 + 0.95*rnd.Float64()))
			}
		}
		said, err := h.start(ctx, call, args...).end(after)
		r.Lives++
		switch {
		case ctx.Err() != nil:
			return r
		case errors.Is(err, errStuck):
			wrong("%q is stuck: %s", args, said)
			return r
		case killed(err):
			if r.Kills++; call != "" {
				r.InCalls++
			}
			continue
		case err != nil && s.tool != nil && r.Kills > 0 && (strings.Contains(said, "is there already") ||
			strings.Contains(said, "exists and is not empty")):
			// it was killed after it had made everything, which the comparison will show
		case err != nil && lost && strings.Contains(said, "no valid checkpoint"): // the machine was lost too early
			id, lost = id+"x", false
			continue
		case err != nil:
			wrong("after %d kills %q ends with %v: %s", r.Kills, args, err, said)
			return r
		}
		break
	}
	if s.tool != nil { // the next start: it finds no litter, and does not touch what is whole
		if said, err := h.start(ctx, "", s.command(h, filepath.Join(parent, "again"), id)...).end(0); err != nil {
			wrong("again: %v: %s", err, said)
		}
		os.RemoveAll(filepath.Join(parent, "again"))
	}
	r.Wrong = append(r.Wrong, compare(h.alone[s.name], dir, s.tool != nil)...)
	if s.mirror {
		back := filepath.Join(parent, "back", "made")
		if said, err := h.start(ctx, "", "resume", s.url(id), "--out", back).end(0); err != nil {
			wrong("from the copy: %v: %s", err, said)
		}
		r.Wrong = append(r.Wrong, compare(h.alone[s.name], back, false)...)
	}
	r.Wrong = append(r.Wrong, litter(parent)...)
	return r
}

// next is the command that goes on with what is in dir.
func (s scenario) next(h *harness, dir, id string) []string {
	if saved, _ := filepath.Glob(filepath.Join(dir, "checkpoints", "step-*")); s.tool == nil && len(saved) > 0 {
		return []string{"resume", dir}
	}
	return s.command(h, dir, id)
}
